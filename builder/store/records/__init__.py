"""What a store remembers of itself in small files: that it is one, and what an operator decided."""
