"""Comparisons with peers in the same run; only the ratios mean something."""
