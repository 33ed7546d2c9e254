"""YAML files that people write: recipes and sites, and the locks beside recipes. The only importer of yaml."""

from builder.reading.recipe import RecipeFile, load_recipe
from builder.reading.site import load_site

__all__ = ["RecipeFile", "load_recipe", "load_site"]
