"""Bills of materials: what the specifications' own validators say, and the same bytes from the same manifest."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from builder.model.artifacts.manifest import MANIFEST as MANIFEST_NAME
from builder.model.artifacts.manifest import Manifest, Package
from builder.model.recipe import DistributionName
from builder.render.sbom.documents import SBOM_NAMES, SbomFormat, sbom
from builder.render.sbom.purl import package_url
from tests.images import run_diskless
from tests.samples import MANIFEST

DIGEST = "0123456789abcdef" * 4
PACKAGES = (
    Package("libstdc++6", "12.2.0-14+deb12u1", "amd64", DIGEST, source="gcc-12", source_version="12.2.0-14+deb12u1"),
    Package("passwd", "1:4.13+dfsg1-1", "amd64", DIGEST, source="shadow", source_version="1:4.13+dfsg1-1"),
    Package("by-script", "1.0~rc1", "all", "", by_script=True, source="by-script", source_version="1.0~rc1"),
    Package("old", "2-1+b1", "amd64", DIGEST, source="old", source_version="2-1"),
    Package("nameless", "3", "all", DIGEST),
)
LOADERS = (PACKAGES[0], Package("grub-efi-amd64-signed", "1+2.06-13", "amd64", DIGEST, False, "grub2", "2.06-13"))
DEBIAN = dataclasses.replace(MANIFEST, packages=PACKAGES, loader_packages=LOADERS)
ARCH = dataclasses.replace(
    MANIFEST,
    distribution=DistributionName.ARCH,
    release="rolling",
    packages=(Package("openssl", "1:3.3.0-1", "x86_64", DIGEST, source="openssl", source_version="1:3.3.0-1"),),
)
BOTH = pytest.mark.parametrize("manifest", [DEBIAN, ARCH], ids=["debian", "arch"])


@BOTH
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_spdx_is_valid_by_its_own_tools(manifest: Manifest, tmp_path: Path) -> None:
    from spdx_tools.spdx.parser.parse_anything import parse_file
    from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

    file = tmp_path / SBOM_NAMES[SbomFormat.SPDX]
    file.write_text(sbom(manifest, SbomFormat.SPDX), "utf-8")
    document = parse_file(str(file))
    assert validate_full_spdx_document(document, "SPDX-2.3") == []
    assert len(document.packages) == len(manifest.materials) + 1
    purls = {reference.locator for package in document.packages for reference in package.external_references}
    assert purls == {package_url(manifest, package) for package in manifest.materials}


@BOTH
def test_cyclonedx_is_valid_by_its_own_schema(manifest: Manifest) -> None:
    text = sbom(manifest, SbomFormat.CYCLONEDX)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    broken = text.replace('"operating-system"', '"operating system"')
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(broken) is not None
    names = [component["name"] for component in json.loads(text)["components"]]
    assert names == [package.name for package in manifest.materials]
    # a package that is installed, and a loader's besides, is one
    assert len(set(names)) == len(names)


@BOTH
def test_purls_are_as_the_specification_writes_them(manifest: Manifest) -> None:
    for package in manifest.materials:
        purl = package_url(manifest, package)
        parsed = PackageURL.from_string(purl)
        assert (parsed.name, parsed.version) == (package.name, package.version)
        assert parsed.to_string() == purl


def test_a_source_of_another_name_is_upstream() -> None:
    purls = {package.name: PackageURL.from_string(package_url(DEBIAN, package)) for package in PACKAGES}
    assert purls["libstdc++6"].qualifiers == {"arch": "amd64", "distro": "bookworm", "upstream": "gcc-12"}
    assert purls["old"].qualifiers["upstream"] == "old@2-1"
    assert "upstream" not in purls["nameless"].qualifiers
    assert "upstream" not in purls["by-script"].qualifiers


@pytest.mark.parametrize("form", list(SbomFormat))
def test_the_same_manifest_gives_the_same_bytes_and_another_one_others(form: SbomFormat) -> None:
    again = Manifest.from_json(DEBIAN.to_json())
    assert sbom(again, form) == sbom(DEBIAN, form)
    other = dataclasses.replace(DEBIAN, tools={"diskless": "9"})
    assert sbom(other, form) != sbom(DEBIAN, form)


def test_the_command_prints_and_writes_them(tmp_path: Path) -> None:
    """Of a version of before sources were written down, too."""
    document = json.loads(DEBIAN.to_json())
    for package in document["packages"]:
        del package["source"], package["source_version"]
    version = tmp_path / "output/lab" / DEBIAN.version
    version.mkdir(parents=True)
    (version / MANIFEST_NAME).write_text(json.dumps(document), "utf-8")
    digest_before = (version / MANIFEST_NAME).read_bytes()
    (version.parent / "latest").symlink_to(DEBIAN.version)
    printed = run_diskless("sbom", "lab", "--output", tmp_path / "output", "--format", "cyclonedx")
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout)["specVersion"] == "1.6"
    done = run_diskless("sbom", "--write", "--output", tmp_path / "output")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in version.iterdir()} == {MANIFEST_NAME, *SBOM_NAMES.values()}
    assert (version / SBOM_NAMES[SbomFormat.CYCLONEDX]).read_text("utf-8") == printed.stdout
    assert (version / MANIFEST_NAME).read_bytes() == digest_before
