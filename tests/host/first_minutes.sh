#!/bin/bash
# The README's two commands on a machine that has nothing, in the checkout $1: the first one is interrupted as soon as the mirror's Go has fetched a module.
# Each part of the output begins with a line of its name.
set -um # m: `make lab` gets a process group of its own, as a terminal gives it one
cd "$1" || exit
on_path() { for each in go kubectl vagrant; do command -v "$each" >/dev/null && echo "$each"; done; }
go=~/.cache/outlive/go
fetched() { find "$go/mod/cache/download" -name '*.zip' 2>/dev/null | grep .; }

echo "--- path before"
on_path
echo "--- lab"
make lab 2>&1 &
lab=$!
until fetched >/dev/null; do
	kill -0 "$lab" 2>/dev/null || break
	sleep 0.2
done
kill -INT -- "-$lab" 2>/dev/null
wait "$lab"
status=$?
echo "--- status"
echo "$status"
echo "--- left"
cat /proc/[0-9]*/comm
echo "--- compiled"
fetched | head -1
printf 'package main\n\nfunc main() { println("compiled") }\n' >/tmp/hello.go
GOCACHE=$go/build CGO_ENABLED=0 "$go"/*/go/bin/go run /tmp/hello.go 2>&1
rm /tmp/hello.go
echo "--- activate"
# shellcheck source=/dev/null
. .venv/bin/activate
outlive --version
echo "--- doctor"
make doctor 2>&1
echo "--- second"
make setup 2>&1
echo "--- path after"
on_path
