"""Commands for those who make images."""
