"""What every part stands on: errors, the clock, waiting, locks, paths, and the one way to run a program. Knows nothing of labs."""
