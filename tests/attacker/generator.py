"""Hostile handles without end: the same ones for the same seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from tests.attacker import ganesha_handles, kernel_handles
from tests.attacker.objects import Known

_WORDS = (0, 1, 2, 5, 11, 0x80, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_LONGEST = 128


class Generator:
    """Makes handles out of what a server gave (`honest`) and what it keeps to itself (`objects`)."""

    def __init__(self, seed: int, kind: str, honest: Sequence[bytes], objects: Sequence[Known]) -> None:
        self._random = random.Random(seed)
        self._kind = kind
        self._honest = list(honest)
        self._objects = list(objects)
        self._ways: tuple[Callable[[], bytes], ...] = (
            self._flip,
            self._cut,
            self._splice,
            self._set_word,
            self._exchange,
            self._build,
            self._noise,
        )

    def handle(self) -> bytes:
        """The next one."""
        made = self._random.choice(self._ways)()
        while self._random.random() < 0.2:
            made = self._flipped(made)
        # one call with such a handle ends nfs-ganesha, whatever is exported; nothing is learnt from that twice
        return self.handle() if ganesha_handles.ends_ganesha(made) else made

    def choose(self, values: Sequence[str]) -> str:
        """One of some words."""
        return self._random.choice(values)

    def happens(self, chance: float) -> bool:
        """Whether something that is so likely is to be done now."""
        return self._random.random() < chance

    def _any(self) -> bytes:
        return self._random.choice(self._honest)

    def _flip(self) -> bytes:
        return self._flipped(self._any())

    def _flipped(self, handle: bytes) -> bytes:
        changed = bytearray(handle)
        for _ in range(self._random.randint(1, 8) if changed else 0):
            changed[self._random.randrange(len(changed))] ^= 1 << self._random.randrange(8)
        return bytes(changed)

    def _cut(self) -> bytes:
        """Of any length: cut short, or filled up."""
        length = self._random.randint(0, _LONGEST)
        return (self._any() + self._random.randbytes(_LONGEST))[:length]

    def _splice(self) -> bytes:
        first, second = self._any(), self._any()
        at = self._random.randrange(len(first) + 1)
        return (first[:at] + second[self._random.choice((at, 0, 4, 8)) :])[:_LONGEST]

    def _set_word(self) -> bytes:
        handle = bytearray(self._any())
        at = self._random.randrange(max(1, len(handle) - 3))
        handle[at : at + 4] = self._word()
        return bytes(handle[:_LONGEST])

    def _word(self) -> bytes:
        wanted = self._random.choice(self._objects)
        values = (*_WORDS, wanted.inode, wanted.generation, wanted.inode + 1, self._random.getrandbits(32))
        return (self._random.choice(values) & 0xFFFFFFFF).to_bytes(4, "little")

    def _exchange(self) -> bytes:
        """An honest handle whose end is the kernel's handle of something else."""
        handle, wanted = self._any(), self._random.choice(self._objects)
        size = len(wanted.handle)
        tail = self._random.choice((wanted.handle, wanted.handle[:4] + bytes(size - 4)))
        return handle[: max(0, len(handle) - size - self._random.choice((0, 0, 1, 2, 3)))] + tail

    def _build(self) -> bytes:
        wanted, other = self._random.choice(self._objects), self._random.choice(self._objects)
        if self._kind == "kernel":
            fsids = [*kernel_handles.fsids_of(other), *map(kernel_handles.numbered_fsid, range(9))]
            fileids = [*kernel_handles.fileids_of(wanted), *kernel_handles.special()]
            made = kernel_handles.kernel_handle(self._random.choice(fsids), self._random.choice(fileids))
            return made if self.happens(0.7) else bytes([*made[:2], self._random.randrange(256), *made[3:]])
        wires = [wire for handle in self._honest if (wire := ganesha_handles.try_parse(handle)) is not None]
        fsids = [*(wire.fsid for wire in wires), *ganesha_handles.fsids_of_volume(other.volume)]
        export = self._random.choice([*(wire.export for wire in wires), 0, 1, 2, 9, self._random.randrange(1 << 16)])
        base = self._random.choice(wires)
        choices = list(ganesha_handles.wires(base, export, self._random.choice(fsids), wanted))
        return self._random.choice(choices).packed(aligned=self.happens(0.5))

    def _noise(self) -> bytes:
        head = self._any()[: self._random.choice((0, 1, 4, 5))]
        return (head + self._random.randbytes(self._random.randint(0, _LONGEST)))[:_LONGEST]
