"""The versions of everything besides packages that decides the bytes of a version."""

from __future__ import annotations

import importlib.metadata

import libarchive.ffi
import zstandard

from builder.stages.context import Context


def packing_versions() -> dict[str, str]:
    """Of what decides the bytes of the artifacts."""
    number = libarchive.ffi.version_number()
    return {
        "diskless": importlib.metadata.version("diskless"),
        "libarchive": f"{number // 1000000}.{number // 1000 % 1000}.{number % 1000}",
        "zstandard": zstandard.__version__,
        "zstd": ".".join(map(str, zstandard.ZSTD_VERSION)),
    }


def program_versions(context: Context) -> dict[str, str]:
    """The same, and of the host's programs that install packages."""
    return {**packing_versions(), **context.installer.versions()}
