"""Boot loaders: a new one is a file here and a line in the table."""
