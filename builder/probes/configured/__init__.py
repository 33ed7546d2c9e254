"""What the programs of a server are configured for already, read as they read it."""
