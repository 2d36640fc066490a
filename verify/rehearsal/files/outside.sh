#!/bin/bash
# Starts the upstream's stand-in ($1: its folder) beside a root file system ($2), leads the names to it in there, and runs inside.sh in it with the
# other arguments. Run in network, mount and process namespaces of its own, so that nothing of it outlives this script.
set -euo pipefail
folder=$1 root=$2 names=$3
shift 3
here=$(dirname "$0")

ip link set lo up
"$PYTHON" -m outlive mirror stand-in --address 127.0.0.1 --folder "$folder" >"$folder/stand-in.log" 2>&1 &
server=$!
until grep --quiet '^standing in' "$folder/stand-in.log"; do
	kill -0 "$server" # set -e ends the script if it died
	sleep 0.1
done

# All that the system is told: whom to trust.
cp "$folder/authority.crt" "$root/usr/local/share/ca-certificates/rehearsal.crt"
cp "$folder/debian.gpg" "$root/usr/share/keyrings/debian-archive-keyring.gpg"
for name in localhost $names; do echo "127.0.0.1 $name"; done >"$root/etc/hosts"

mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
cp "$here/inside.sh" "$root/tmp/inside.sh"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$root" bash /tmp/inside.sh "$@"
