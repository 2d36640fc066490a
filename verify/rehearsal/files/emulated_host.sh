#!/bin/bash
# Makes the machine of a user who has KVM, in a clean Debian: root installs what every Debian host has, the user clones the checkout ($1.bundle) into $1
# and has `make setup` install the rest. At the host's speed, in namespaces; the machine is booted afterwards.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
	export DEBIAN_FRONTEND=noninteractive
	# What its disk needs before the root file system can be mounted, and no more: an emulated processor unpacks it at each start.
	mkdir -p /etc/initramfs-tools/conf.d
	echo 'MODULES=list' >/etc/initramfs-tools/conf.d/emulated-host
	apt-get -qq update
	apt-get -yqq --no-install-recommends install initramfs-tools-core
	printf '%s\n' virtio_pci virtio_blk ext4 >>/etc/initramfs-tools/modules
	apt-get -yqq --no-install-recommends install systemd-sysv dbus udev libpam-systemd kmod iproute2 procps openssh-server linux-image-cloud-amd64 initramfs-tools
	printf '[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n' >/etc/systemd/network/10-wired.network
	systemctl enable systemd-networkd ssh
	echo emulated >/etc/hostname
	sed -i '1s/$/ emulated/' /etc/hosts
	echo '/dev/vda / ext4 errors=remount-ro 0 1' >/etc/fstab
else
	git clone --quiet "$1.bundle" "$1"
	rm "$1.bundle"
	cd "$1"
	# What the machine will be is said to it, since it isn't that yet.
	OUTLIVE_PROVIDER=libvirt OUTLIVE_DRIVER=kvm OUTLIVE_LIBVIRT=system OUTLIVE_SOURCES=upstream make setup
	sudo apt-get clean
	echo "$0: made"
fi
