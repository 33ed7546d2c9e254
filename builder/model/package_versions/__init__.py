"""How versions of packages sort, by the rules of each package manager."""
