"""Contradictions: recipes and sites whose every value is well formed and that still cannot work."""
