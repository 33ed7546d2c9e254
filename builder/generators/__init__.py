"""Generators of the initramfs: a new one is a file here, a line in the table, and how a build runs it in stages/."""
