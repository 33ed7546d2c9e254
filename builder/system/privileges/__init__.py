"""What a process may do here: tried beforehand, explained where it is refused, taken away where it is not needed."""
