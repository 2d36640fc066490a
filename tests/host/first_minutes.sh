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
echo "--- libvirt"
# In a terminal that is closed then; the lab's own libvirt stays.
script --quiet --command "outlive run sh -c 'id -un; virsh uri; touch .lab/seen'" /dev/null </dev/null 2>&1 | tr -d '\r'
echo "--- found"
outlive status
echo "--- interrupted"
outlive run bash -c 'trap "echo told >>.lab/told" INT; touch .lab/waits; until [ -e .lab/enough ]; do sleep 0.1; done' 2>&1 &
command=$!
until [ -e .lab/waits ]; do
	kill -0 "$command" 2>/dev/null || break
	sleep 0.2
done
kill -TERM "$command"
until [ -e .lab/told ]; do
	kill -0 "$command" 2>/dev/null || break
	sleep 0.2
done
sleep 1 # a second interrupt would be there by now
touch .lab/enough
wait "$command"
echo "status $?"
cat .lab/told
echo "--- foreign"
find . ~/.cache -path ./.lab/private -prune -o ! -user "$(id -un)" -print
echo "--- destroy"
outlive destroy 2>&1
ls -A .lab 2>/dev/null
[ "$(id -u)" = 0 ] && exit
# From here on sudo wants a password.
sudo sh -c "echo '$USER:secret' | chpasswd && sed -i 's/NOPASSWD: //' '/etc/sudoers.d/$USER'"
echo "--- password"
python3 - 2>&1 <<'EOF' | tr -d '\r'
import os, pty

def typed(terminal):
    shown = os.read(terminal, 1024)
    if b"[sudo] password" in shown:
        os.write(terminal, b"secret\n")
    return shown

pty.spawn(["sh", "-c", "outlive run id -un && outlive destroy; echo status $?"], typed)
EOF
echo "--- at the end"
cat /proc/[0-9]*/comm
