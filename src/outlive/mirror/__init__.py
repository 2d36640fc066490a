"""The offline mirror: packages, images and boxes for the lab, built on the host from one lock file."""
