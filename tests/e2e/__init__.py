"""Guests boot what was built."""
