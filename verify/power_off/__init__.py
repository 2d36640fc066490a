"""Tests that break a node and heal it again; they run only when asked for."""
