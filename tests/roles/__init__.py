"""Tests of the roles that need no machine."""
