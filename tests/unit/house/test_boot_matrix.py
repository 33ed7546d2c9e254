"""The matrix of boots: which cells exist is a matter of the tables, and its document is made from results."""

from __future__ import annotations

import pytest

from tests.bootmatrix.cells import CELLS, ROOTS, SYSTEMS, WAYS, select_matrix, why_missing
from tests.bootmatrix.document import CellResult, render_matrix
from tests.images import ROOT


def test_every_combination_is_a_cell_or_has_a_reason() -> None:
    assert len(CELLS) == len(WAYS) * len(SYSTEMS) * len(ROOTS) == 36
    missing = {f"{cell.way.name}/{cell.system.name}": why_missing(cell) for cell in CELLS if why_missing(cell)}
    assert missing == {
        "uefi-grub/arch-shaped": "arch has no package of grub that we take",
        "uefi-secure-grub/arch-shaped": "arch has no package of grub that we take",
    }


def test_cells_are_chosen_by_row() -> None:
    assert {cell.system.name for cell in select_matrix(["uefi-secure-grub/*"])} == {"debian-12", "debian-13"}
    assert len(select_matrix([])) == 32
    with pytest.raises(ValueError, match="no cell is named uefi-grub/arch-shaped/nfs3-rw; there are bios-pxelinux"):
        select_matrix(["uefi-grub/arch-shaped/nfs3-rw"])


def test_the_document_shows_every_cell() -> None:
    first, second, *_ = select_matrix([])
    passed = CellResult("", {"loader": 8.2, "login": 91.4}, "2026-11-27", "pxelinux")
    failed = CellResult("menu not found", {"loader": 8.2}, "2026-11-27", "pxelinux")
    text = render_matrix({first.name: passed, second.name: failed})
    assert "| bios-pxelinux (pxelinux) | debian-12 | 8 |  |  |  | 91 | passed, 2026-11-27 |" in text
    assert "| failed, 2026-11-27: menu not found |" in text
    assert text.count("| not run |") == 30
    assert "- uefi-grub/arch-shaped, uefi-secure-grub/arch-shaped: arch has no package of grub that we take" in text


def test_the_document_is_one_that_was_written() -> None:
    text = (ROOT / "docs/boot-matrix.md").read_text("utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| ") and "firmware and loader" not in line]
    shown = [(row.split("|")[1].split()[0], row.split("|")[2].strip()) for row in rows]
    assert shown == [(cell.way.name, cell.system.name) for root in ROOTS for cell in select_matrix([f"*/{root.name}"])]
