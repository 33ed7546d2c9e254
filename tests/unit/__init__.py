"""No root, no network, seconds."""
