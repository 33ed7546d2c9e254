"""What an EFI program says of itself, and what is not one."""

from __future__ import annotations

import pytest

from builder.loaders.efi_program import SbatEntry, read_efi_program
from builder.loaders.grub import KERNEL_SIGNERS
from tests.efi_programs import efi_program, grub_program

AUTHORITY_2011, AUTHORITY_2023 = "Microsoft Corporation UEFI CA 2011", "Microsoft UEFI CA 2023"


def test_a_program_names_its_version_and_its_signers() -> None:
    program = read_efi_program(grub_program("2.06-13+deb12u2"))
    assert program is not None
    assert program.sbat[-1] == SbatEntry("grub.debian", 5, "2.06-13+deb12u2")
    assert program.version_of("grub.debian") == "2.06-13+deb12u2"
    assert program.version_of("shim") is None
    assert all(program.is_signed_by(signer) for signer in KERNEL_SIGNERS.values())
    assert program.authorities == ()


@pytest.mark.parametrize(
    ("signers", "years"),
    [((AUTHORITY_2011,), (2011,)), ((AUTHORITY_2023,), (2023,)), ((AUTHORITY_2011, AUTHORITY_2023), (2011, 2023))],
)
def test_a_shim_may_be_signed_by_two_authorities(signers: tuple[str, ...], years: tuple[int, ...]) -> None:
    program = read_efi_program(efi_program(signers=signers))
    assert program is not None
    assert len(program.signatures) == len(signers)
    assert program.authorities == years


def test_a_program_that_nobody_signed() -> None:
    program = read_efi_program(efi_program())
    assert program is not None
    assert (program.signatures, program.sbat) == ((), ())
    # a name outside of the signature is no signature
    named = read_efi_program(efi_program(body=b"\0" * 0x200 + b"Debian Secure Boot CA"))
    assert named is not None
    assert not named.is_signed_by("Debian Secure Boot")


@pytest.mark.parametrize("content", [b"", b"MZ", b"MZ" + b"\xff" * 100, b"\x7fELF" + b"\0" * 400, b"\0" * 4096])
def test_what_is_no_efi_program(content: bytes) -> None:
    assert read_efi_program(content) is None


@pytest.mark.parametrize("length", range(0, 700, 7))
def test_a_damaged_program_is_no_error(length: int) -> None:
    whole = grub_program("2.12-9")
    read_efi_program(whole[:length])
    read_efi_program(whole[:64] + b"\xff" * length + whole[64 + length :])


@pytest.mark.parametrize(
    "sbat",
    [
        "x" * 200_000,
        "grub,1," + "y" * 200_000 + ",2.06,x",
        '"' + "z" * 140_000,
        "grub,²,a,b,2.12,c\n",
        "\0\n" * 9,
        "\r\r,\n",
        "grub," + "9" * 5000 + ",a,b,2.12,c\n",
        "grub,1,a,b,\x1b[2J2.12,c\n",
    ],
    ids=["one-field", "a-field", "a-quotation", "no-digit", "nul", "returns", "endless-number", "escape"],
)
def test_a_hostile_sbat_says_nothing(sbat: str) -> None:
    """It is what an image's builder put there."""
    program = read_efi_program(efi_program(sbat, ["Debian Secure Boot CA"]))
    assert program is not None
    assert program.sbat == ()
    assert program.is_signed_by("Debian Secure Boot")
