"""How values look as text, and text as values. Pure."""
