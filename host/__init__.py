"""The host's side of the lab: tools it needs, where its VMs run, and the one command that does it all.

Nothing in here knows Kubernetes: that is the business of `roles/` (make it so) and `verify/` (see that it is so).
"""
