"""Texts that go into an image."""
