"""The distribution's newest keyring package, and who vouches for it: never its own keys alone."""
