"""Adapters of package managers behind one contract."""
