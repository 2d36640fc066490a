#!/bin/bash
# Does on a bare Debian what the roles do of it that asks somebody: installs containerd and the Kubernetes packages ($2: version) from the upstream's
# repositories ($1: the Kubernetes one), and has containerd pull the images, Kubernetes' own by kubeadm ($3: version) and the others given.
set -euo pipefail
repository=$1 package=$2 kubernetes=$3
shift 3

# No service is to be started in here.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod +x /usr/sbin/policy-rc.d
update-ca-certificates
apt-get --quiet update
apt-get --quiet --yes --no-install-recommends install containerd crun nfs-kernel-server
mkdir -p /etc/apt/keyrings
curl --silent --show-error --fail "${repository}Release.key" --output /etc/apt/keyrings/kubernetes.asc
printf 'Types: deb\nURIs: %s\nSuites: /\nSigned-By: /etc/apt/keyrings/kubernetes.asc\n' "$repository" >/etc/apt/sources.list.d/kubernetes.sources
apt-get --quiet update
apt-get --quiet --yes --no-install-recommends install "kubeadm=$package" "kubelet=$package" "kubectl=$package"

# Debian's own configuration; no registry is named in it.
containerd >/tmp/containerd.log 2>&1 &
daemon=$!
until ctr version >/dev/null 2>&1; do
	kill -0 "$daemon"
	sleep 0.1
done
kubeadm config images pull --kubernetes-version "v$kubernetes" --cri-socket unix:///run/containerd/containerd.sock
for image in "$@"; do
	ctr --namespace k8s.io images pull "$image" >/dev/null
done
echo "--- images"
ctr --namespace k8s.io images list --quiet
echo "--- mirrors"
find /etc/containerd -name hosts.toml
grep --ignore-case mirror /etc/containerd/config.toml || true
kill "$daemon"
wait "$daemon" || true
