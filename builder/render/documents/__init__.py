"""References, schemas and first files, made from the model."""
