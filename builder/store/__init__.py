"""Versions and generations on a server: what is there, what is served, and the one commit point between them."""
