"""The lab against the CIS Kubernetes Benchmark, by its scanner."""
