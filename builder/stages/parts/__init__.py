"""What several stages have in common, or one is too long for."""
