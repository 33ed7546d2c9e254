"""Plain frozen data: what a recipe, a version and a manifest are. No I/O."""
