"""What keeps a guest in the lab: file systems of its own, what its servers see, and who they are."""
