"""The tests of diskless."""
