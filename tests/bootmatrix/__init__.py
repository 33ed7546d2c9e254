"""Every firmware, loader, distribution and root that go together, booted in the lab."""
