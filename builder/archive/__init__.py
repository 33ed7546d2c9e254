"""The file format of an image: members, headers, frames; writing an archive and unpacking it."""
