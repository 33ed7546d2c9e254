"""Where the conformance suite of transports sends versions: every transport, on its real server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from builder.output.offer import Offer
from builder.output.trust import SignerTrust
from builder.progress.progress import Progress
from builder.pull import Pulled, PullOptions, pull
from builder.transports.base import Options
from builder.transports.retries import Retries
from builder.transports.table import find_offer
from builder.upload import Signing, Uploaded, upload
from tests.servers import PASSWORD, USER, Server, make_certificates, run_nginx, run_registry, run_token_server

HASTY = Retries(attempts=12, first=0.002, longest=0.05)


@dataclass(frozen=True)
class Place:
    """A target of uploads, and how a tag of the image `lab` there is written as a reference."""

    target: str
    reference: Callable[[str], str]
    options: Options
    server: Server | None = None

    def upload(self, version: Path, *tags: str, sign: Path | None = None, **signing: Any) -> Uploaded:
        return upload(version, self.target, tags, self.options, Signing(sign, **signing))

    def open(self, name: str) -> Offer:
        return find_offer(self.reference(name), self.options)

    def pull(self, name: str, output: Path, trust: Path | None = None) -> Pulled:
        options = PullOptions(None if trust is None else SignerTrust(trust))
        return pull(self.open(name), output, Progress(quiet=True), options)


def registry_place(server: Server, options: Options) -> Place:
    target = f"oci://{server.address}/images/lab"
    return Place(target, lambda name: f"{target}:{name}", options, server)


def web_place(server: Server, options: Options) -> Place:
    target = f"{server.url}/images"
    return Place(target, lambda name: f"{target}/lab/channels/{name}.json", options, server)


@contextlib.contextmanager
def open_place(kind: str, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """KIND or KIND-VARIANT: directory, layout, registry (basic, token, tls), web (basic, tls, mkcol)."""
    options = Options(cache=directory / "cache", retries=HASTY)
    kind, _, variant = kind.partition("-")
    if kind == "directory":
        target = directory / "share"
        yield Place(str(target), lambda name: str(target / "lab" / name), options)
        return
    if kind == "layout":
        layout = f"oci-layout:{directory / 'layout'}"
        yield Place(layout, lambda name: f"{layout}:{name}", options)
        return
    if variant in ("basic", "token"):
        monkeypatch.setenv("DISKLESS_USERNAME", USER)
        monkeypatch.setenv("DISKLESS_PASSWORD", PASSWORD)
    with contextlib.ExitStack() as stack:
        certificates = make_certificates(directory / "tls") if variant in ("tls", "token") else None
        if variant == "tls" and certificates is not None:
            options = Options(cache=options.cache, retries=HASTY, ca=certificates.ca)
        auth = variant if variant in ("basic", "token") else ""
        if kind == "registry":
            realm = stack.enter_context(run_token_server(certificates)) if auth == "token" and certificates else ""
            server = stack.enter_context(run_registry(directory / "server", auth=auth, tls=certificates, realm=realm))
            yield registry_place(server, options)
        else:
            nginx = run_nginx(directory / "server", auth=auth, tls=certificates, makes_directories=variant != "mkcol")
            yield web_place(stack.enter_context(nginx), options)
