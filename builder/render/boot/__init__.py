"""Texts that a boot loader reads."""
