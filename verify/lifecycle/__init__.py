"""The life of a lab: what happens to one that is kept for more than a day, and what the lab held is there afterwards."""
