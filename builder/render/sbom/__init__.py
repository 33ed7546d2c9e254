"""Bills of materials, made from manifests."""
