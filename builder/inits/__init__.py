"""What starts the services of an image: a new init is a file here, a line in the table and a name in the recipe."""
