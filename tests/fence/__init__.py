"""Tests of the watcher, without VMs, API server and NFS server."""
