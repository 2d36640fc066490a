"""The tutorial's pages, run block after block."""
