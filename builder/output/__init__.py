"""What output/ holds: versions of images, their signatures, and where a version is read from."""
