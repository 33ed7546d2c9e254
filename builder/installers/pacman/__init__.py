"""pacman: the installer of Arch Linux."""
