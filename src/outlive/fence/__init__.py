"""Fencing: proves that a lost node's VM is off, and only then takes its storage and its pods away. See docs/fencing.md."""
