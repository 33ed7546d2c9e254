"""What only looks at a store: who uses what, how old it is, what is wrong with it."""
