"""Drills: one thing is broken under load, and every write that MySQL acknowledged is accounted for."""
