"""With root: namespaces, packages, archives."""
