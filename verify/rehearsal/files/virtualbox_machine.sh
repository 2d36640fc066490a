#!/bin/bash
# The way to a machine of VirtualBox up to its start, in the checkout $1: no kernel module is there, and nothing leads out. The box is the mirror's for libvirt
# (~/mirror.box), made one for VirtualBox as Vagrant does it. HOST_ONLY is this host's address in the lab's network. The parts of the output are those of parts.sh.
set -uo pipefail
cd "$1" || exit
# shellcheck source=parts.sh
. /tmp/parts.sh
node=k8s-node1
export PATH=~/as-7.0:$PATH VAGRANT_DEFAULT_PROVIDER=virtualbox

# A device that nothing answers, and a bridge by the name of VirtualBox' own: without its modules it makes none, and takes this one for it.
sudo mknod --mode=666 /dev/vboxdrv c 60 0
sudo ip link add vboxnet0 type bridge
sudo ip address add "$HOST_ONLY" dev vboxnet0
sudo ip link set vboxnet0 up

make_box() (
	set -e
	mkdir ~/box
	cd ~/box
	tar --extract --file ../mirror.box box.img
	qemu-img convert -O vdi box.img base.vdi
	rm ../mirror.box box.img
	VBoxManage createvm --name outlive-base --ostype Debian_64 --register
	VBoxManage modifyvm outlive-base --memory 512 --nic1 nat
	VBoxManage storagectl outlive-base --name SATA --add sata --portcount 2
	VBoxManage storageattach outlive-base --storagectl SATA --port 0 --type hdd --medium base.vdi
	vagrant package --base outlive-base --output virtualbox.box
	VBoxManage unregistervm outlive-base --delete
	# By the public box's name, so that the lab's own settings find it.
	vagrant box add --no-tty --name cloud-image/debian-13 virtualbox.box
	rm -r ~/box
)
part "host-only network" VBoxManage list hostonlyifs
part "box" make_box || exit
part "machine" vagrant up --no-tty "$node"
id=$(cat ".vagrant/machines/$node/virtualbox/id")
part "definition" VBoxManage showvminfo "$id" --machinereadable
part "start" VBoxHeadless --startvm "$id"
part "destroy" vagrant destroy --force
part "left" VBoxManage list vms
