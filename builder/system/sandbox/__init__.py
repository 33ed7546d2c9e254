"""Where the programs of a build run: namespaces of their own, of which the host is no part."""
