"""The file systems that roots lie on: made, mounted, grown, and filled with what older stores have elsewhere."""
