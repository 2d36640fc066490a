"""Read-only checks of a running lab."""
