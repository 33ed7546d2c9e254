"""Comparisons with peers, as ratios within one run."""
