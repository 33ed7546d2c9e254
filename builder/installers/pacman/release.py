"""Which release of pacman this host has."""

from __future__ import annotations

from builder.distributions.pacman import OLDEST, PacmanRelease, parse_version
from builder.errors import HostError
from builder.system.sandbox.sandbox import Sandbox


def release_of(sandbox: Sandbox) -> PacmanRelease:
    """What it says of itself; HostError where that is not understood, or too old."""
    text = sandbox.run(["pacman", "--version"], capture=True, log_output=False)
    release = parse_version(text)
    if release is None or release < OLDEST:
        said = (text.strip() or "no output").splitlines()[0]
        raise HostError(
            f"this host's pacman is not understood: {said}",
            f"install pacman {OLDEST[0]}.{OLDEST[1]} or newer",
        )
    return release
