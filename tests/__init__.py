"""Tests of the library that need no lab."""
