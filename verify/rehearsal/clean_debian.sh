#!/bin/bash
# Makes a root file system ($1) a machine to work on, and runs a bash script in it ($4) by one user after the other (USER FOLDER USER FOLDER …), each
# with a folder of his as its argument, and with the variables named in $2 (by commas) kept. $3 is the folder that keeps what apt downloads. Run in
# mount, process, IPC and UTS namespaces of its own, so that nothing of it outlives this script; the network is the host's, or ($5: own) another one.
set -euo pipefail
root=$1 variables=$2 kept=$3 script=$4 network=$5
shift 5

hostname fresh
# It is thrown away, so nothing has to reach the disk: dpkg waits for that after each package. Not every file system can lie below an overlay.
# The kernel's mark that an earlier run did so too would keep what that run has left from being used.
rm -rf "$root.work"/*/incompat
mount -t overlay -o "lowerdir=$root,upperdir=$root.upper,workdir=$root.work,volatile" overlay "$root" || mount --bind "$root" "$root"
cd /
install -m 0755 "$script" "$root/tmp/script"
install -m 0644 "$(dirname "$0")/files/parts.sh" "$root/tmp/parts.sh"
mount --bind "$kept" "$root/var/cache/apt/archives"

# No /dev/kvm, whatever the host has: the way without it is the longest one.
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty; do
	touch "$root/dev/$node"
	mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t proc proc "$root/proc"
# What packages set of the kernel would be the host's, but for what each network has of its own.
mount --bind "$root/proc/sys" "$root/proc/sys"
if [ "$network" = own ]; then
	mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
	mount -t sysfs sysfs "$root/sys"
	mkdir "$root/dev/net"
	touch "$root/dev/net/tun"
	mount --bind /dev/net/tun "$root/dev/net/tun"
else
	mount -t sysfs -o ro sysfs "$root/sys"
fi
mount -o remount,bind,ro "$root/proc/sys"

# As a login does it: with the folders that this user has on PATH.
while [ "$#" -gt 0 ]; do
	echo "=== $1"
	chroot "$root" runuser --login --whitelist-environment="$variables" "$1" --command="$(printf '%q ' bash /tmp/script "$2")" || true
	shift 2
done
