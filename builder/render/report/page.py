"""The build report: one HTML file without anything from elsewhere, for eyes, keyboards and screen readers. Pure."""

from __future__ import annotations

import datetime
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.model.artifacts.difference import Difference, transfer_size
from builder.model.artifacts.index import Index
from builder.model.artifacts.manifest import BUNDLE, INDEX, ROOTFS, Manifest
from builder.model.artifacts.report import (
    Box,
    FileUse,
    directory_boxes,
    enabled_units,
    masked_units,
    package_boxes,
    sum_kinds,
)
from builder.model.text.quantity import format_bytes, format_seconds
from builder.render.report.style import STYLE
from builder.render.report.summary import package_lines
from builder.render.report.treemap import Tile, lay_out

_WIDTH, _HEIGHT = 1080, 520
_LETTER = 6.4  # width of a letter of 11 px, about
_MOST_ROWS = 500
_MOST_TILES = 400
_CLASSES = {kind: f"k{number}" for number, kind in enumerate(FileUse)}


@dataclass(frozen=True)
class Report:
    """What a report tells.

    owners: package by path; seconds: by step; difference: from the version before, if there was one
    """

    manifest: Manifest
    index: Index
    owners: Mapping[str, str]
    seconds: Mapping[str, float]
    warnings: Sequence[str]
    difference: Difference | None = None


def report_page(report: Report) -> str:
    """report.html."""
    manifest = report.manifest
    title = f"{manifest.image} {manifest.version}"
    packages = package_boxes(report.index.files, report.owners)
    body = [
        _head(manifest),
        _tiles(report),
        _warnings(report.warnings),
        _changes(report.difference),
        _kinds(report.index),
        _map("packages", "By package", packages, manifest.size),
        _map("directories", "By directory", directory_boxes(report.index.files), manifest.size),
        _times(report.seconds),
        _packages(manifest, packages),
        _services(report.index),
        _facts(manifest),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, body))
        + "\n</main>\n</body>\n</html>\n"
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _head(manifest: Manifest) -> str:
    day = datetime.datetime.fromtimestamp(manifest.epoch, datetime.UTC).strftime("%d %B %Y").lstrip("0")
    what = f"{manifest.distribution} {manifest.release}, {manifest.architecture}, packages of {day}"
    return (
        f'<header><p class="eyebrow">Build report</p><h1>{_text(manifest.image)} '
        f"<span>{_text(manifest.version)}</span></h1><p>{_text(what)}</p></header>"
    )


def _tiles(report: Report) -> str:
    manifest = report.manifest
    values = (
        ("unpacked", format_bytes(manifest.size)),
        ("to transfer", format_bytes(transfer_size(manifest))),
        ("packages", str(len(manifest.packages))),
        ("files", f"{manifest.entries:,}".replace(",", " ")),
        ("kernel", manifest.kernel),
        ("build time", format_seconds(sum(report.seconds.values()))),
    )
    shown = "".join(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in values)
    return f'<dl class="numbers">{shown}</dl>'


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    return f'<section class="warnings"><h2>Warnings</h2><ul>{items}</ul></section>'


def _changes(difference: Difference | None) -> str:
    if difference is None:
        return ""
    head, *lines = package_lines(difference)
    listed = f"<pre>{_text(chr(10).join(lines))}</pre>" if lines else ""
    return f"<section><h2>What changed</h2><p>{_text(head.capitalize())}</p>{listed}</section>"


def _kinds(index: Index) -> str:
    sums = sum_kinds(index.files)
    whole = sum(sums.values()) or 1
    parts = "".join(f'<i class="{_CLASSES[kind]}" style="flex:{size / whole:.5f}"></i>' for kind, size in sums.items())
    legend = "".join(
        f'<li><i class="{_CLASSES[kind]}"></i>{_text(kind)} <b>{_text(format_bytes(size))}</b> {size / whole:.0%}</li>'
        for kind, size in sums.items()
    )
    return (
        '<section><h2>Where the megabytes are</h2><div class="strip" aria-hidden="true">'
        f'{parts}</div><ul class="legend">{legend}</ul></section>'
    )


def _map(name: str, title: str, boxes: Sequence[Box], whole: int) -> str:
    tiles = lay_out(_merged(boxes), _WIDTH, _HEIGHT)
    drawn = "".join(_tile(tile, whole) for tile in tiles)
    rows = "".join(
        f"<tr><td>{_text(box.name)}</td><td>{_text(format_bytes(box.size))}</td><td>{box.size / (whole or 1):.1%}</td>"
        f"<td>{_text(box.kind)}</td></tr>"
        for box in _flat(boxes)[:_MOST_ROWS]
    )
    rows += _more(len(_flat(boxes)), 4)
    table = _table(("", "size", "share", "mostly"), rows)
    return (
        f'<section><h3 id="{name}">{title}</h3><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="group" '
        f'aria-labelledby="{name}">{drawn}</svg>'
        f"<details><summary>The same as a table</summary>{table}</details></section>"
    )


def _merged(boxes: Sequence[Box]) -> list[Box]:
    """Of very many boxes the smallest are drawn as one."""
    if len(boxes) <= _MOST_TILES:
        return list(boxes)
    rest = boxes[_MOST_TILES - 1 :]
    return [*boxes[: _MOST_TILES - 1], Box(f"{len(rest)} more", sum(box.size for box in rest), FileUse.OTHER)]


def _flat(boxes: Sequence[Box]) -> list[Box]:
    return [box for outer in boxes for box in (outer, *_flat(outer.inner))]


def _tile(tile: Tile, whole: int) -> str:
    """A rectangle that the keyboard reaches; its title is what is read out, and shown under the mouse."""
    if tile.width < 0.5 or tile.height < 0.5:
        return ""
    said = f"{tile.box.name}: {format_bytes(tile.box.size)}, {tile.box.size / (whole or 1):.1%}"
    nested = " n" if tile.nested else ""
    place = f'x="{tile.x:.1f}" y="{tile.y:.1f}" width="{tile.width:.1f}" height="{tile.height:.1f}"'
    stop = ' tabindex="0"' if tile.width * tile.height > 400 else ""
    return (
        f'<g role="img" aria-label="{_text(said)}"{stop}><title>{_text(said)}</title>'
        f'<rect class="{_CLASSES[tile.box.kind]}{nested}" {place}/>{_label(tile)}</g>'
    )


def _label(tile: Tile) -> str:
    letters = int((tile.width - 8) / _LETTER)
    if tile.height < 14 or letters < 3:
        return ""
    name, size = tile.box.name, format_bytes(tile.box.size)
    if tile.depth:
        name = name.rpartition("/")[2]
    shown = name if len(name) <= letters else f"{name[: letters - 1]}…"
    if tile.nested and len(name) + len(size) + 2 <= letters:
        shown = f"{name}  {size}"
    style = ' class="h"' if tile.nested else ""
    lines = [f'<text{style} x="{tile.x + 5:.1f}" y="{tile.y + 11:.1f}">{_text(shown)}</text>']
    if not tile.nested and tile.height > 30 and len(size) <= letters:
        lines.append(f'<text class="s" x="{tile.x + 5:.1f}" y="{tile.y + 24:.1f}">{_text(size)}</text>')
    return "".join(lines)


def _times(seconds: Mapping[str, float]) -> str:
    longest = max(seconds.values(), default=0) or 1
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td>{_text(format_seconds(took))}</td>"
        f'<td class="bar"><i style="width:{took / longest:.1%}"></i></td></tr>'
        for name, took in seconds.items()
    )
    table = _table(("step", "time", ""), rows)
    return f"<section><h2>Where the seconds went</h2>{table}</section>" if rows else ""


def _packages(manifest: Manifest, boxes: Sequence[Box]) -> str:
    sizes = {box.name: box.size for box in boxes}
    ordered = sorted(manifest.packages, key=lambda package: (-sizes.get(package.name, 0), package.name))
    rows = "".join(
        f"<tr><td>{_text(package.name)}</td><td>{_text(package.version)}</td><td>{_text(package.architecture)}</td>"
        f"<td>{_text(format_bytes(sizes.get(package.name, 0)))}</td></tr>"
        for package in ordered[:_MOST_ROWS]
    )
    rows += _more(len(ordered), 4)
    table = _table(("package", "version", "architecture", "installed"), rows)
    return f"<section><h2>Packages</h2><details><summary>{len(ordered)} packages</summary>{table}</details></section>"


def _services(index: Index) -> str:
    parts = []
    for title, units in (("Enabled", enabled_units(index.files)), ("Masked", masked_units(index.files))):
        if units:
            listed = "".join(f"<li>{_text(unit)}</li>" for unit in units)
            parts.append(f'<h3>{title}</h3><ul class="chips">{listed}</ul>')
    return f"<section><h2>Services</h2>{''.join(parts)}</section>" if parts else ""


def _facts(manifest: Manifest) -> str:
    artifacts = [(name, format_bytes(manifest.artifacts[name].size)) for name in (ROOTFS, BUNDLE, INDEX)]
    root = f"{manifest.root.mode}, NFS {manifest.root.version} {' '.join(manifest.root.options)}".strip()
    facts = [
        *artifacts,
        ("root digest", manifest.root_digest),
        ("recipe", manifest.recipe_sha256),
        ("root", root),
        ("initramfs", manifest.initramfs),
        ("kernel arguments", " ".join(manifest.cmdline)),
        *((f"made with {name}", version) for name, version in sorted(manifest.tools.items())),
    ]
    rows = "".join(
        f"<tr><th scope=row>{_text(name)}</th><td><code>{_text(value)}</code></td></tr>" for name, value in facts
    )
    return f'<section><h2>Facts</h2><table class="facts"><tbody>{rows}</tbody></table></section>'


def _more(count: int, columns: int) -> str:
    """Says that a table is cut short."""
    if count <= _MOST_ROWS:
        return ""
    return (
        f'<tr><td colspan="{columns}">and {count - _MOST_ROWS} smaller ones: manifest.json has all packages</td></tr>'
    )


def _table(heads: Sequence[str], rows: str) -> str:
    cells = "".join(f"<th scope=col>{_text(head)}</th>" for head in heads)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table>"
