"""Programs that a recipe might bring: what they do inside a sandbox must not be seen outside."""
