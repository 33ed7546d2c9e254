"""Which network drivers lack firmware, from what modinfo says and what an initramfs holds."""

from __future__ import annotations

from builder.stages.parts.firmware import read_modinfo, without_firmware

SAID = """\
filename:       /lib/modules/6.1.0-30-amd64/kernel/drivers/net/ethernet/broadcom/tg3.ko
firmware:       tigon/tg3_tso5.bin
firmware:       tigon/tg3.bin
license:        GPL
alias:          pci:v00000001d00000002
depends:        ptp,libphy
name:           tg3
filename:       /lib/modules/6.1.0-30-amd64/kernel/drivers/net/ethernet/intel/e1000.ko.xz
license:        GPL v2
name:           e1000
filename:       /lib/modules/6.1.0-30-amd64/kernel/drivers/net/ethernet/realtek/r8169.ko
firmware:       rtl_nic/rtl8168d-1.fw
firmware:       rtl_nic/rtl8168d-2.fw
"""


def test_what_modinfo_says() -> None:
    assert read_modinfo(SAID) == {
        "tg3": ["tigon/tg3_tso5.bin", "tigon/tg3.bin"],
        "e1000": [],
        "r8169": ["rtl_nic/rtl8168d-1.fw", "rtl_nic/rtl8168d-2.fw"],
    }
    assert read_modinfo("") == {}


def test_a_driver_with_none_of_its_firmware_is_named() -> None:
    names = {"usr/lib/firmware/tigon/tg3.bin.xz", "usr/lib/modules/6.1.0-30-amd64/kernel/drivers/net/tg3.ko"}
    assert without_firmware(read_modinfo(SAID), names) == {"r8169": ["rtl_nic/rtl8168d-1.fw", "rtl_nic/rtl8168d-2.fw"]}
    both = names | {"lib/firmware/rtl_nic/rtl8168d-2.fw"}
    assert without_firmware(read_modinfo(SAID), both) == {}
    assert set(without_firmware(read_modinfo(SAID), [])) == {"r8169", "tg3"}
