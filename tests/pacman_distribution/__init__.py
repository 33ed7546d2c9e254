"""A small pacman distribution for the tests: Debian's packages in Arch's shape, signed, made where the tests run."""
