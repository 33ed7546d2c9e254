"""Versions: what names one build of an image."""

from __future__ import annotations

import datetime
from typing import Self

from builder.model.syntax import Syntax

VERSION = Syntax("version", r"[0-9]{8}-[0-9a-f]{8}", "20261101-0123abcd")


class Version(str):
    """YYYYMMDD-, the day that no file of the image is younger than, and the first 8 digits of the root digest.

    ValueError for a text that is not such a name: a version is the name of a directory wherever it goes.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """The version that a text names."""
        if not VERSION.accepts(text):
            raise ValueError(f"{text!r} is not a {VERSION.name}: {VERSION.hint(text)}")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, epoch: int, root_digest: str) -> Self:
        """The version of an image whose newest file is of `epoch`, seconds since 1970."""
        day = datetime.datetime.fromtimestamp(epoch, datetime.UTC).strftime("%Y%m%d")
        return cls(f"{day}-{root_digest[:8]}")

    def is_of(self, root_digest: str) -> bool:
        """Whether it names what has this root digest, as far as its digits tell."""
        return self.endswith(f"-{root_digest[:8]}")


# how one of several images is named inside a store
ImageVersion = tuple[str, Version]
