"""Verifications of the lab: read-only checks, the tutorial's storage chain and the power-off of a node."""
