#!/bin/bash
# Makes the machine of a user whose processor has virtualization, in a clean Debian: root installs what every Debian host has, and the packages that the user
# wanted ($PACKAGES); the user clones the checkout ($1.bundle) into $1. At the host's speed, in namespaces; the machine is booted afterwards.
set -euo pipefail
if [ "$(id -u)" = 0 ]; then
	echo "--- system"
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
	if [ -n "$PACKAGES" ]; then
		# shellcheck disable=SC2086 # a list
		apt-get -yqq --no-install-recommends install $PACKAGES
	fi
else
	echo "--- clone"
	git clone --quiet "$1.bundle" "$1"
	rm "$1.bundle"
fi
echo "status 0"
