"""A client that gets no address, or no root: the scripts of its initramfs, run by the shells that will run them."""

from __future__ import annotations

from pathlib import Path

import pytest

from builder.generators import netroot
from builder.model.recipe import Nfs, NfsVersion, OnFailure, Root, RootMode
from tests.require import needs_tool
from tests.unit.distributions.test_netroot import SHELLS, mounts, run_script

pytestmark = [needs_tool("dash", "bash", "busybox")]

OVERLAY = Root(mode=RootMode.OVERLAY, nfs=Nfs(version=NfsVersion.V4_2))
RW = Root(nfs=Nfs(options=("rsize=16384",)))
# what initramfs-tools 0.142 does where nobody answers: it reads a file that does not exist, which ends a shell
CONFIGURE_NETWORKING = """
nfs_top() { :; }
wait_for_udev() { :; }
nfs_premount() { :; }
configure_networking() {
	read -r left < silences
	if [ "$left" != 0 ]; then
		echo $((left - 1)) > silences
	else
		echo "ROOTSERVER=10.0.0.1 ROOTPATH=10.0.0.1:/r IPV4ADDR=10.0.0.9 DEVICE=eth0" > ./run/net-eth0.conf
	fi
	. "./run/net-eth0.conf"
}
panic() {
	echo "shell: $1"
	exit 7
}
launch_interactive_shell() {
	echo shell
	exit 7
}
rootmnt=/root
IP=dhcp
NFSROOT=auto
"""
# `diskless_on_failure` of the script, which would go on for ever, ends after so many rounds
REBOOT = 'reboot() {\n\techo "reboot $*"\n\texit 8\n}\n'


def run(
    directory: Path, shell: list[str], script: str, *, silences: int = 0, cmdline: str = "", failures: int = 0
) -> str:
    """What a client's script says; paths outside the directory become those in it."""
    (directory / "run").mkdir()
    (directory / "silences").write_text(f"{silences}\n", "ascii")
    (directory / "cmdline").write_text(f"quiet {cmdline} ro\n", "ascii")
    for path in ("/run/net-", "/proc/cmdline"):
        assert path in script
        script = script.replace(path, f"./{path.removeprefix('/proc/').removeprefix('/')}")
    text = "ROOTSERVER=\nROOTPATH=\nIPV4ADDR=10.0.0.9\nDEVICE=\n" + CONFIGURE_NETWORKING + REBOOT + script
    return run_script(directory, shell, text, variables="", failures=failures, stderr=None)


def initramfs_tools(on_failure: OnFailure, root: Root = OVERLAY) -> str:
    return netroot.boot_script(root, on_failure) + "mountroot && echo good\n"


def mkinitcpio(on_failure: OnFailure) -> str:
    script = netroot.runtime_hook(OVERLAY, on_failure)
    return "ip=dhcp\nnfsroot=10.0.0.1:/r\n" + script + 'run_hook\n"$mount_handler" /new_root && echo good\n'


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_dhcp_server_that_comes_late_is_waited_for(shell: list[str], tmp_path: Path) -> None:
    output = run(tmp_path, shell, initramfs_tools(OnFailure.RETRY), silences=3)
    assert output.count("diskless: no address: does the DHCP server know this client") == 3
    assert output.count("diskless: no address: trying again") == 3
    assert output.splitlines()[-1] == "good"
    assert mounts(tmp_path)[0].startswith("-i -t nfs -o ro,vers=4.2,proto=tcp,clientaddr=10.0.0.9,addr=10.0.0.1")


def test_mkinitcpio_waits_for_a_dhcp_server_that_comes_late(tmp_path: Path) -> None:
    (tmp_path / "no-lease").write_text("1\n" * 12, "ascii")
    output = run(tmp_path, SHELLS[-1], mkinitcpio(OnFailure.RETRY))
    assert output.count("diskless: no address for ip=::::::dhcp") == 12
    assert output.count("diskless: no address: trying again") == 2
    assert output.splitlines()[-1] == "good"


@pytest.mark.parametrize("script", [initramfs_tools, mkinitcpio])
def test_a_server_that_is_away_for_long_is_waited_for(script: object, tmp_path: Path) -> None:
    assert callable(script)
    output = run(tmp_path, SHELLS[-1], script(OnFailure.RETRY), failures=100)
    assert output.count("diskless: the root is not mounted: trying again") == 2
    assert output.splitlines()[-1] == "good"


def test_the_address_is_asked_for_anew_after_each_round(tmp_path: Path) -> None:
    """Meanwhile nobody renewed it."""
    script = initramfs_tools(OnFailure.RETRY).replace("(configure_networking)", "(echo asked; configure_networking)")
    output = run(tmp_path, ["dash"], script, failures=100)
    assert output.count("asked\n") == 3


@pytest.mark.parametrize("script", [initramfs_tools, mkinitcpio])
@pytest.mark.parametrize("where", ["recipe", "command line"])
@pytest.mark.parametrize(("what", "said"), [(OnFailure.SHELL, "shell"), (OnFailure.REBOOT, "reboot -f")])
def test_what_else_a_client_does(script: object, where: str, what: OnFailure, said: str, tmp_path: Path) -> None:
    assert callable(script)
    (tmp_path / "no-lease").write_text("1\n" * 99, "ascii")
    given = (script(what), "") if where == "recipe" else (script(OnFailure.RETRY), f"diskless.on_failure={what}")
    output = run(tmp_path, SHELLS[-1], given[0], silences=99, cmdline=given[1])
    assert output.splitlines()[-1].startswith(said)
    assert "trying again" not in output


def test_options_of_the_recipe_count_where_dhcp_names_the_root(tmp_path: Path) -> None:
    run(tmp_path, ["dash"], initramfs_tools(OnFailure.RETRY, RW))
    expected = "rw,vers=3,proto=tcp,nolock,mountproto=tcp,rsize=16384,addr=10.0.0.1 10.0.0.1:/r /root"
    assert mounts(tmp_path) == [f"-i -t nfs -o {expected}"]


NET = Path(__file__).parents[2] / "pacman_distribution/standin/mkinitcpio-nfs-utils/usr/lib/initcpio/hooks/net"


def beside_net(on_failure: OnFailure, words: str = "nfsroot=10.0.0.1:/r\n") -> str:
    """The stand-in's hook and ours, run as mkinitcpio's init does; its nfsmount is our `mount`."""
    net = NET.read_text("utf-8").replace("nfsmount", "mount").replace("/sys/class/net", "./net")
    retry = netroot.retry_hook(on_failure)
    calls = "run_hook\n" + retry + 'run_hook\n"$mount_handler" /new_root && echo good\n'
    return f'ip=dhcp\n{words}err() {{ echo "$*"; }}\n{net}{calls}'


# as the ipconfig of mkinitcpio-nfs-utils: its answer is a file
_ASK = """
ipconfig() {
	if [ -s no-lease ]; then
		sed -i 1d no-lease
		return 1
	fi
	echo IPV4ADDR=10.0.0.9 > /run/net-eth0.conf
}
"""


@pytest.mark.parametrize(("silences", "failures"), [(0, 0), (0, 3), (5, 0), (2, 45)])
def test_what_the_hook_net_tries_once_is_tried_again(silences: int, failures: int, tmp_path: Path) -> None:
    (tmp_path / "no-lease").write_text("1\n" * silences, "ascii")
    output = run(tmp_path, SHELLS[-1], _ASK + beside_net(OnFailure.RETRY), failures=failures)
    assert output.splitlines()[-1] == "good"
    assert output.count("diskless: no address: trying again") == max(0, silences - 1)
    assert len(mounts(tmp_path)) == failures + 1
    assert output.count("the root is not mounted: trying again") == failures // 40


@pytest.mark.parametrize(("what", "said"), [(OnFailure.SHELL, "shell"), (OnFailure.REBOOT, "reboot -f")])
def test_what_else_a_client_with_the_hook_net_does(what: OnFailure, said: str, tmp_path: Path) -> None:
    (tmp_path / "no-lease").write_text("1\n" * 9, "ascii")
    assert run(tmp_path, SHELLS[-1], _ASK + beside_net(what)).splitlines()[-1].startswith(said)


def test_a_root_that_only_dhcp_names_needs_a_new_start(tmp_path: Path) -> None:
    (tmp_path / "no-lease").write_text("1\n", "ascii")
    output = run(tmp_path, SHELLS[-1], _ASK + beside_net(OnFailure.RETRY, "root=/dev/nfs\n"))
    assert output.splitlines()[-1].startswith("reboot -f")
