"""What a version says of itself: manifest, index, lock, and what is read out of them."""
