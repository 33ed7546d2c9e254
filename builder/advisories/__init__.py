"""What trackers of security say, and what of it is true of a version."""
