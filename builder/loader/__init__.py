"""YAML files that people write: recipes and sites. The only importer of yaml."""

from builder.loader.recipe import RecipeFile, load_recipe
from builder.loader.site import load_site

__all__ = ["RecipeFile", "load_recipe", "load_site"]
