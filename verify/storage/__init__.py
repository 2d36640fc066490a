"""The chapters of the tutorial, as tests."""
