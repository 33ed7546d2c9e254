"""apt and dpkg: the installer of Debian."""
