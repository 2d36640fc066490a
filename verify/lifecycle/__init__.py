"""The life of a lab: it is switched off and on again, and what it held is there."""
