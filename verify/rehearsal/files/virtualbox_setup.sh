#!/bin/bash
# What a user does who has VirtualBox 7.2, in the checkout $1, while something leads out: the README's first command, the Vagrant that takes this VirtualBox
# ($VAGRANT, the version), and a look at both. The parts of the output are those of parts.sh.
set -uo pipefail
cd "$1" || exit
# shellcheck source=parts.sh
. /tmp/parts.sh

# VirtualBox 7.2 can share the processor's virtualization with KVM; what is seen is to be VirtualBox alone.
echo 'blacklist kvm_amd' | sudo tee /etc/modprobe.d/rehearsal.conf >/dev/null

part "module" find /lib/modules -name 'vboxdrv.ko*'
part "setup without Vagrant" make setup
part "packages" dpkg-query --show --showformat '${Package} ${Version} ${db:Status-Status}\n' virtualbox

makers() (
	set -e
	/usr/lib/apt/apt-helper download-file "https://releases.hashicorp.com/vagrant/$VAGRANT/vagrant_$VAGRANT-1_amd64.deb" /tmp/vagrant.deb
	sudo apt-get -yqq install /tmp/vagrant.deb
)
# Debian's, from which only the table of versions keeps VirtualBox 7.2: Vagrant 2.4.9 has for it the driver for 7.0, with nothing changed (version_7_1.rb
# and version_7_2.rb are empty classes of its). As a package it and VirtualBox exclude each other. What is told of 7.0 is Vagrant alone.
debians() (
	set -e
	cd /tmp
	apt-get -qq download vagrant
	sudo apt-get -yqq --no-install-recommends satisfy "$(dpkg-deb --field vagrant_*.deb Depends)"
	sudo dpkg-deb --extract vagrant_*.deb /
	mkdir ~/as-7.0
	cat >~/as-7.0/VBoxManage <<'EOF'
#!/bin/sh
if [ "$*" = --version ]; then /usr/bin/VBoxManage --version | sed 's/^7\.[12]\./7.0./'; else exec /usr/bin/VBoxManage "$@"; fi
EOF
	chmod +x ~/as-7.0/VBoxManage
)
part "Vagrant of its maker" makers || part "Vagrant of Debian" debians || exit

part "setup without the module" make setup
# A device that nothing answers: programs see that there is one, and only what starts a machine opens it.
sudo mknod --mode=666 /dev/vboxdrv c 60 0
part "setup" make setup
part "versions" sh -c 'vagrant --version; VBoxManage --version'
part "doctor" make doctor
part "up" .venv/bin/outlive up
part "pair" env VAGRANT_DEFAULT_PROVIDER=virtualbox vagrant validate
export PATH=~/as-7.0:$PATH
part "validate" env VAGRANT_DEFAULT_PROVIDER=virtualbox vagrant validate
