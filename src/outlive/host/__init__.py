"""The host's side of the lab: its tools, where its machines run, and the order of the steps. Nothing in here knows Kubernetes."""
