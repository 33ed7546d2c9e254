"""A stranger's machine: a minimal root of a Debian release in namespaces, in which the README's commands are run."""
