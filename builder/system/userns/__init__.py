"""The user namespace of a build: the owners of an image are ids that nobody else on the host has."""
