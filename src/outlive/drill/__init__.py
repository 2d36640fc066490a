"""Drills: a fault, a workload and a checker, kept apart, on a lab that is steady before and after."""
