"""Tests of the mirror that need neither a network nor VMs."""
