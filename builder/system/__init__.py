"""Side effects, each in one place: processes, files, namespaces, archives, the terminal."""
