"""The life of a lab: a node leaves and joins again, all machines are switched off and on, and what the lab held is there."""
