"""How a client comes to its kernel and to its root."""

from __future__ import annotations

from dataclasses import dataclass

from builder.model.recipe.choices import LoaderName, NfsVersion, OnFailure, RootMode
from builder.model.syntax import KernelArgument, MemorySize, NfsOption, key


@dataclass(frozen=True, kw_only=True)
class Nfs:
    """How the root is mounted."""

    version: NfsVersion = key("the protocol version", NfsVersion.V3)
    options: tuple[NfsOption, ...] = key("further mount options: of nfs(5) those that what mounts the root knows", ())


@dataclass(frozen=True, kw_only=True)
class Root:
    """The root file system as clients see it."""

    mode: RootMode = key(
        "rw: one root that clients write to; overlay: read-only and shared, each client's changes stay in its memory",
        RootMode.RW,
    )
    overlay_size: MemorySize | None = key(
        "overlay only: how much a client may write, of its memory or with k, m, g; left out: 50%", None
    )
    nfs: Nfs = key("the mount", Nfs)


@dataclass(frozen=True, kw_only=True)
class Boot:
    """How clients get from their firmware to the kernel."""

    loaders: tuple[LoaderName, ...] | None = key(
        "the loaders in the bundle; left out: all that the distribution has", None
    )
    on_failure: OnFailure = key(
        "what a client does that gets no address or no root. retry: it tries again for ever; reboot: it starts anew "
        "after a few minutes; shell: it waits for somebody at its console. `diskless.on_failure=` on the kernel "
        "command line says otherwise for one boot",
        OnFailure.RETRY,
    )
    cmdline: tuple[KernelArgument, ...] = key("kernel arguments; root= and nfsroot= are ours", ("ip=dhcp",))
