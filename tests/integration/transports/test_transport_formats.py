"""Plain formats: what others can read of what we sent, with the commands of docs/formats.md."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.model.artifacts.manifest import BUNDLE, CHECKSUMS, INDEX, MANIFEST, ROOTFS
from builder.transports.base import Options
from tests.images import ROOT
from tests.places import HASTY, Place, registry_place, web_place
from tests.require import needs_tool
from tests.servers import Server, run_nginx, run_registry
from tests.versions import make_version

pytestmark = [needs_tool("docker-registry", "nginx", "skopeo", "jq", "curl")]


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Server]:
    with run_registry(tmp_path / "registry") as server:
        yield server


@pytest.fixture(params=[None, 16], ids=["fine", "bounded"])
def place(request: pytest.FixtureRequest, registry: Server) -> Place:
    return registry_place(registry, Options(retries=HASTY, layers=request.param))


def documented(title: str) -> str:
    """The commands under a heading of docs/formats.md: its first block of indented lines."""
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    section = text.partition(f"### {title}\n")[2].partition("\n## ")[0]
    block = re.search(r"(?:^    .*\n)+", section, re.MULTILINE)
    assert block, f"docs/formats.md has no commands under {title!r}"
    return re.sub(r"^    ", "", block[0], flags=re.MULTILINE)


def check_version(directory: Path, version: Path) -> None:
    for name in (MANIFEST, INDEX, BUNDLE, ROOTFS, CHECKSUMS):
        assert (directory / name).read_bytes() == (version / name).read_bytes(), name


def test_skopeo_gives_the_version_back(place: Place, registry: Server, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    script = documented("With skopeo").replace("HOST/REPOSITORY", f"{registry.address}/images/lab")
    script = script.replace("skopeo copy", "skopeo copy --src-tls-verify=false")
    (tmp_path / "there").mkdir()
    subprocess.run(["sh", "-euc", script], cwd=tmp_path / "there", check=True)
    check_version(tmp_path / "there", version)


def test_oras_gives_the_version_back(place: Place, registry: Server, tmp_path: Path) -> None:
    """The Python client of ORAS does what the command `oras pull` does."""
    oras = pytest.importorskip("oras.client", reason="needs oras: pip install '.[dev]'")
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    there = tmp_path / "there"
    client = oras.OrasClient(insecure=True)
    client.pull(target=f"{registry.address}/images/lab:stable", outdir=str(there))
    pull, *rest = documented("With oras").splitlines(keepends=True)
    assert pull == "oras pull HOST/REPOSITORY:stable\n"
    subprocess.run(["sh", "-euc", "".join(rest)], cwd=there, check=True)
    check_version(there, version)


def test_the_artifact_is_what_the_documents_say(place: Place, registry: Server, tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    place.upload(version, "stable")
    argv = [
        "skopeo",
        "inspect",
        "--raw",
        "--tls-verify=false",
        f"docker://{registry.address}/images/lab:{version.name}",
    ]
    raw = subprocess.run(argv, check=True, capture_output=True).stdout
    document = json.loads(raw)
    assert document["artifactType"] == "application/vnd.diskless.version.v1"
    assert document["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    for media_type in {layer["mediaType"] for layer in document["layers"]} | {document["artifactType"]}:
        assert f"`{media_type}`" in text
    titles = [layer["annotations"]["org.opencontainers.image.title"] for layer in document["layers"]]
    archive = [title for title in titles if title.startswith(ROOTFS)]
    assert archive == sorted(archive)
    assert len(archive) > 5


def test_the_same_version_is_the_same_artifact(tmp_path: Path) -> None:
    digests = set()
    for number in range(2):
        with run_registry(tmp_path / str(number) / "server") as server:
            place = registry_place(server, Options(retries=HASTY))
            place.upload(make_version(tmp_path / str(number) / "here"), "stable")
            argv = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{server.address}/images/lab:stable"]
            digests.add(subprocess.run(argv, check=True, capture_output=True).stdout)
    assert len(digests) == 1


def test_curl_gets_a_version_from_a_web_server(tmp_path: Path) -> None:
    version = make_version(tmp_path / "here")
    with run_nginx(tmp_path / "server") as server:
        web_place(server, Options(retries=HASTY)).upload(version, "stable")
        script = documented("With curl").replace("https://HOST/PATH", f"{server.url}/images").replace("IMAGE", "lab")
        (tmp_path / "there").mkdir()
        subprocess.run(["sh", "-euc", script], cwd=tmp_path / "there", check=True)
    check_version(tmp_path / "there", version)
