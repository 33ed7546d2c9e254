"""Distributions: a new one is a file here, a line in the table, its keys in the recipe's model, its packages' names."""
