"""A medium boots in the lab, as a CD on BIOS and as a disk under Secure Boot; its root is the lab's."""

from __future__ import annotations

import shutil

import pytest

from builder.boot import BootOptions, open_bench
from builder.bootlab.machine.firmware import Firmware
from builder.bootlab.machine.guest import Machine
from builder.bootlab.settings import Patience
from builder.bootlab.timeline import Milestone
from builder.media import make_medium
from builder.progress.progress import Progress
from tests.images import debian_image
from tests.require import needs_boot, needs_ovmf, needs_tool
from tests.scratch import scratch

pytestmark = [*needs_boot, needs_ovmf, needs_tool("xorriso", "mformat"), pytest.mark.full]
MACHINES = {
    "a-cd-on-bios": Machine(cd=True),
    "a-disk-under-secure-boot": Machine(firmware=Firmware.UEFI_SECURE),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_a_medium_boots(kind: str) -> None:
    directory = scratch() / f"medium-{kind}"
    directory.mkdir()
    directory.chmod(0o755)
    medium = directory / "medium.iso"
    medium.touch()  # the lab shows it before there is anything in it
    machine = Machine(firmware=MACHINES[kind].firmware, cd=MACHINES[kind].cd, medium=medium)
    options = BootOptions(machine=machine, work=scratch() / "boot", patience=Patience(login=300))
    with open_bench(debian_image(), options, Progress()) as bench:
        made = make_medium(bench.store, bench.manifest.image, directory / "made.iso", Progress())
        assert made.uefi
        shutil.copyfile(made.path, medium)
        medium.chmod(0o644)
        guest = bench.power_on(scratch() / f"{kind}.console.log", machine)
        guest.await_login()
        # nothing of the loader came over the network
        assert "pxelinux.0 to" not in guest.logs.dhcp
        assert "shimx64.efi to" not in guest.logs.dhcp
        assert Milestone.LOGIN in guest.timeline.seconds
        assert "nfsroot=10.77.0.1:" in guest.run("cat /proc/cmdline").output
        guest.power_off()
