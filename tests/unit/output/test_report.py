"""The build report: sums that are right, a page that is whole, and a browser that shows it."""

from __future__ import annotations

import dataclasses
import html.parser
import re
import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from builder.model.artifacts.difference import compare_manifests
from builder.model.artifacts.index import DIRECTORY, FILE, SYMLINK, FileRecord, Index
from builder.model.artifacts.report import (
    GENERATED,
    Box,
    FileUse,
    directory_boxes,
    enabled_units,
    kind_of,
    masked_units,
    package_boxes,
    real_path,
    sum_kinds,
)
from builder.model.version import Version
from builder.render.report.page import Report, report_page
from builder.render.report.treemap import lay_out, squarify
from builder.stages.report import find_owners
from builder.system.tree import Tree
from tests.require import needs_tool
from tests.samples import INDEX, MANIFEST


def record(path: str, size: int = 0, kind: str = FILE, link: str = "") -> FileRecord:
    return FileRecord(path, kind, 0o644, 0, 0, 0, size, "0" * 64 if kind == FILE else "", link, {}, 0)


FILES = (
    record(".", kind=DIRECTORY),
    record("bin", kind=SYMLINK, link="usr/bin"),
    record("boot/initrd.img", 5_000_000),
    record(
        "etc/systemd/system/multi-user.target.wants/ssh.service", kind=SYMLINK, link="/lib/systemd/system/ssh.service"
    ),
    record("etc/systemd/system/tmp.mount", kind=SYMLINK, link="/dev/null"),
    record("usr/bin/bash", 1_000_000),
    record("usr/lib/modules/6.1/kernel/a.ko", 3_000_000),
    record("usr/lib/modules/6.1/kernel/b.ko", 2_000_000),
    record("usr/share/doc/bash/README", 500_000),
    record("usr/share/locale/de/bash.mo", 500_000),
)
OWNERS = {
    "usr/bin/bash": "bash",
    "usr/share/doc/bash/README": "bash",
    "usr/share/locale/de/bash.mo": "bash",
    "usr/lib/modules/6.1/kernel/a.ko": "linux",
    "usr/lib/modules/6.1/kernel/b.ko": "linux",
}
WHOLE = 12_000_000


def test_bytes_by_package() -> None:
    assert package_boxes(FILES, OWNERS) == (
        Box("linux", 5_000_000, FileUse.KERNEL),
        Box(GENERATED, 5_000_000, FileUse.KERNEL),
        Box("bash", 2_000_000, FileUse.PROGRAMS),
    )


def test_bytes_by_directory() -> None:
    boxes = directory_boxes(FILES)
    assert [(box.name, box.size) for box in boxes] == [("/usr", 7_000_000), ("/boot", 5_000_000)]
    assert [(box.name, box.size) for box in boxes[0].inner] == [
        ("/usr/lib/modules/6.1/kernel", 5_000_000),
        ("/usr/bin", 1_000_000),
        ("/usr/share", 1_000_000),
    ]
    assert sum(sum_kinds(FILES).values()) == WHOLE


@pytest.mark.parametrize(
    ("path", "kind"),
    [("usr/lib/firmware/x", FileUse.KERNEL), ("usr/lib/x.so", FileUse.LIBRARIES), ("usr/sbin/x", FileUse.PROGRAMS),
     ("usr/share/man/x", FileUse.DOCUMENTS), ("usr/share/x", FileUse.DATA), ("var/lib/x", FileUse.STATE),
     ("etc/x", FileUse.OTHER)],
)  # fmt: skip
def test_kinds(path: str, kind: FileUse) -> None:
    assert kind_of(path) is kind


def test_units_are_read_from_their_links() -> None:
    assert (enabled_units(FILES), masked_units(FILES)) == (("ssh.service",), ("tmp.mount",))


def test_paths_of_packages_follow_the_links_of_the_root() -> None:
    links = {"bin": "usr/bin", "lib": "/usr/lib"}
    assert [real_path(path, links) for path in ("/bin/bash", "/lib/x/y", "/bin", "usr/bin/", "/usr/bin/z")] == [
        "usr/bin/bash", "usr/lib/x/y", "bin", "usr/bin/", "usr/bin/z",
    ]  # fmt: skip


def test_owners_come_from_the_package_managers_own_lists(tmp_path: Path) -> None:
    info, local = tmp_path / "var/lib/dpkg/info", tmp_path / "var/lib/pacman/local/a-b-1.0-2"
    info.mkdir(parents=True)
    local.mkdir(parents=True)
    (info / "libc6:amd64.list").write_text("/.\n/bin\n/bin/ldd\n", encoding="utf-8")
    (local / "files").write_text("%FILES%\nusr/\nusr/bin/ab\n\n%BACKUP%\netc/ab\tx\n", encoding="utf-8")
    owners = find_owners(Tree(tmp_path), dataclasses.replace(INDEX, files=FILES))
    assert (owners["usr/bin/ldd"], owners["usr/bin/ab"]) == ("libc6", "a-b")
    assert "etc/ab\tx" not in owners


@pytest.mark.parametrize("sizes", [[1], [5, 3, 1], [100] + [1] * 99, [10**9, 1], list(range(60, 0, -1))])
@pytest.mark.parametrize(("width", "height"), [(1080, 520), (50, 600), (1, 1)])
def test_a_treemap_fills_its_area(sizes: Sequence[int], width: float, height: float) -> None:
    tiles = squarify(sizes, 3, 4, width, height)
    areas = [tile[2] * tile[3] for tile in tiles]
    assert sum(areas) == pytest.approx(width * height)
    for size, area, (x, y, w, h) in zip(sizes, areas, tiles, strict=True):
        assert area == pytest.approx(width * height * size / sum(sizes), rel=1e-6)
        assert x >= 3 - 1e-6
        assert y >= 4 - 1e-6
        assert x + w <= 3 + width + 1e-6
        assert y + h <= 4 + height + 1e-6


def test_inner_tiles_lie_in_outer_ones() -> None:
    tiles = lay_out(directory_boxes(FILES), 1000, 500)
    outer = next(tile for tile in tiles if tile.box.name == "/usr")
    inner = [tile for tile in tiles if tile.depth == 1]
    assert outer.nested
    assert len(inner) == 3
    for tile in inner:
        assert outer.x <= tile.x < tile.x + tile.width <= outer.x + outer.width + 1e-6
        assert outer.y < tile.y < tile.y + tile.height <= outer.y + outer.height + 1e-6


def sample(**changes: object) -> Report:
    index = Index(INDEX.frames, FILES)
    manifest = dataclasses.replace(MANIFEST, size=WHOLE, entries=len(FILES))
    report = Report(manifest, index, OWNERS, {"install": 61.0, "pack": 2.5}, ["<b>odd</b> & strange"])
    return dataclasses.replace(report, **changes)  # type: ignore[arg-type]


class Page(html.parser.HTMLParser):
    """Checks that every element is closed, and gathers what the page says."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else() -> None:
    text = report_page(sample())
    page = Page(text)
    for said in ("lab", "20260102-0123abcd", "12 MB", "<b>odd</b> & strange", "1:01 min", "ssh.service", "tmp.mount"):
        assert said in page.text
    assert not re.search(r"https?:|<script|<link|@import|url\(|src=", text)
    labels = {value for name, value in page.attributes if name == "aria-label"}
    assert {"linux: 5.0 MB, 41.7%", "/usr/bin: 1.0 MB, 8.3%"} <= labels
    assert sum(name == "tabindex" for name, _ in page.attributes) >= 6


def test_the_page_tells_what_changed() -> None:
    old = dataclasses.replace(MANIFEST, version=Version("20260101-00000000"), packages=())
    assert "+ dhcpcd 9.4.1-24" in report_page(sample(difference=compare_manifests(old, MANIFEST)))


def test_a_large_image_has_a_small_page() -> None:
    files = [
        record(f"usr/lib/dir{number % 700}/sub{number % 7}/file{number}", 10_000 + number) for number in range(30_000)
    ]
    owners = {file.path: f"package-with-a-long-name-{number % 2500}" for number, file in enumerate(files)}
    packages = tuple(
        dataclasses.replace(MANIFEST.packages[0], name=f"package-with-a-long-name-{number}") for number in range(2500)
    )
    manifest = dataclasses.replace(MANIFEST, packages=packages, size=sum(file.size for file in files))
    text = report_page(sample(index=Index((), files), owners=owners, manifest=manifest))
    Page(text)
    assert len(text.encode()) < 300_000


def test_an_image_without_files_has_a_page() -> None:
    Page(report_page(sample(index=Index((), ()), owners={}, seconds={}, warnings=())))


def pixels(png: bytes) -> bytes:
    """The filtered rows of a PNG file, W3C PNG specification."""
    data, position = b"", 8
    while position < len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        if png[position + 4 : position + 8] == b"IDAT":
            data += png[position + 8 : position + 8 + length]
        position += length + 12
    return zlib.decompress(data)


def browse(profile: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions"]
    command += ["--enable-logging=stderr", f"--user-data-dir={profile}", "--window-size=1200,1900", *arguments]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)


@needs_tool("chromium")
def test_a_browser_shows_it(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(report_page(sample()), encoding="utf-8")
    (tmp_path / "blank.html").write_text("<!doctype html><title>x</title>", encoding="utf-8")
    shown = {}
    for name in ("report", "blank"):
        picture = tmp_path / f"{name}.png"
        done = browse(tmp_path / f"{name}-profile", f"--screenshot={picture}", f"file://{tmp_path}/{name}.html")
        assert picture.is_file(), done.stderr
        assert b"CONSOLE" not in done.stderr
        shown[name] = len(set(zip(*[iter(pixels(picture.read_bytes()))] * 3, strict=False)))
    assert shown["blank"] < 10
    assert shown["report"] > 200
    done = browse(tmp_path / "dom-profile", "--dump-dom", f"file://{tmp_path}/report.html")
    assert done.stdout.count(b"<rect ") >= 8
    assert b"Where the seconds went" in done.stdout


@needs_tool("chromium")
def test_the_browser_test_hears_of_errors(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("<!doctype html><script>console.error('broken')</script>", encoding="utf-8")
    assert b"broken" in browse(tmp_path / "profile", "--dump-dom", f"file://{tmp_path}/bad.html").stderr
