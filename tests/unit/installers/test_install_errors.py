"""Of an installation that failed the lines are shown that tell why, wherever they stand."""

from __future__ import annotations

from builder.errors import CommandError
from builder.installers.apt.errors import explain_install

LINES = [
    *(f"Setting up some{number} ..." for number in range(300)),
    "Setting up postfix (3.7.11-0+deb12u1) ...",
    "newaliases: fatal: could not find any active network interfaces",
    "dpkg: error processing package postfix (--configure):",
    " installed postfix package post-installation script subprocess returned error exit status 75",
    *(f"Processing triggers for other{number} ..." for number in range(100)),
    "Errors were encountered while processing:",
    " postfix",
    "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    "E: apt-get --yes install failed",
]


def test_the_lines_before_the_first_complaint_are_shown() -> None:
    error = explain_install(CommandError("mmdebstrap: exit status 25", "see above", tuple(LINES[-20:])), LINES)
    assert "newaliases: fatal: could not find any active network interfaces" in error.details
    assert error.details[-1].startswith("Processing triggers")
    assert len(error.details) == 24
    assert error.message == (
        "the package postfix cannot be installed: installed postfix package post-installation script subprocess "
        "returned error exit status 75"
    )


def test_what_is_no_complaint_of_dpkg_stays_as_it_is() -> None:
    error = explain_install(CommandError("mmdebstrap: exit status 25", None, ("last",)), ["E: something", "last"])
    assert (error.message, error.details) == ("mmdebstrap: exit status 25", ("last",))


def test_an_archive_that_cannot_be_unpacked() -> None:
    lines = ["dpkg: error processing archive /tmp/a.deb (--unpack):", " trying to overwrite '/usr/bin/a'", "E: failed"]
    error = explain_install(CommandError("x", None), lines)
    assert error.message == "the package /tmp/a.deb cannot be installed: trying to overwrite '/usr/bin/a'"
    assert error.details == tuple(lines[:2])
