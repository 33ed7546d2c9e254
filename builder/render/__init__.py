"""Pure functions from the model to the text of files."""
