#!/bin/bash
# A student's way in the class room, in the checkout $1, with the system's libvirt: first as a member of nothing, then ($2: member) of its group. The
# parts of the output are those of parts.sh.
set -uo pipefail
cd "$1" || exit
# shellcheck source=parts.sh
. /tmp/parts.sh
in_terminal() { script --quiet --return --command "$1" /dev/null </dev/null | tr -d '\r'; }
# shellcheck source=/dev/null
. .venv/bin/activate

if [ "${2-}" != member ]; then
	# The /dev that libvirt makes for each VM lacks its pts in a chroot.
	echo 'namespaces = []' | sudo tee --append /etc/libvirt/qemu.conf >/dev/null
	# What init would start: libvirt, and what says who may use it (polkitd comes by D-Bus).
	sudo sh -c 'mkdir /run/dbus && dbus-uuidgen --ensure && dbus-daemon --system --fork && virtlogd --daemon && libvirtd --daemon'
	part "groups" id --name --groups
	part "kubectl" command -v kubectl
	part "no member" in_terminal "outlive up"
	part "no member's doctor" in_terminal "outlive doctor"
	sudo usermod --append --groups libvirt "$USER"
	# To log in anew.
	exec sudo --preserve-env --user="$USER" bash "$0" "$1" member
fi

left() {
	virsh -c qemu:///system --quiet list --all --name
	virsh -c qemu:///system --quiet net-list --all --name | grep --invert-match '^default$' # Debian's own
	virsh -c qemu:///system --quiet vol-list default | awk '{print $1}'
	ls -A .lab .vagrant 2>/dev/null
	return 0
}
part "groups again" id --name --groups
part "doctor" outlive doctor || exit
part "up" outlive up || exit
part "provision" outlive provision || exit
part "run" outlive run kubectl get nodes --no-headers
part "shell" script --quiet --return --command "outlive shell" /dev/null <<<"kubectl get nodes --no-headers; exit"
part "snapshot" outlive run vagrant snapshot save fresh
part "reset" outlive reset
part "run again" outlive run kubectl get nodes --no-headers
part "foreign" find "$1" ~ ! -user "$USER"
part "destroy" outlive destroy
part "left" left
