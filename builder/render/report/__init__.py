"""The report of a build and the summary of a difference."""
