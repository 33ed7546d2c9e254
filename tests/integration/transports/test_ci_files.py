"""The files of docs/ci work as they stand."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from builder.transports.base import Options
from tests.images import DISKLESS, ROOT, ssh_key
from tests.places import HASTY, registry_place
from tests.require import needs_root, needs_tool
from tests.scratch import new_place
from tests.servers import PASSWORD, USER, run_registry
from tests.stores import SERVER, faults
from tests.versions import make_version

CI = ROOT / "docs/ci"


@pytest.fixture(params=["lab", '"lab"   # comment', "'lab'"], ids=["plain", "comment", "quoted"])
def recipe(request: pytest.FixtureRequest) -> str:
    """What a recipe may say after `image:`."""
    return str(request.param)


@pytest.fixture
def checkout(tmp_path: Path, recipe: str) -> Path:
    """What the script needs of a clone; a `make` on PATH, and a build that takes no time."""
    clone = tmp_path / "clone"
    (clone / "docs").mkdir(parents=True)
    shutil.copytree(CI, clone / "docs/ci")
    (clone / "recipes").mkdir()
    (clone / "recipes/lab.yml").write_text(f"schema: 1\nimage: {recipe}\n", encoding="ascii")
    version = make_version(tmp_path / "built")
    no_secret = '[ -z "${SIGNING_KEY+x}${DISKLESS_PASSWORD+x}" ]'
    programs = {
        tmp_path / "bin/make": f"case $* in *RECIPE=*) {no_secret} ;; esac\necho from make",
        clone / ".venv/bin/diskless": f"""
            [ "$1" = build ] || exec {DISKLESS} "$@"
            {no_secret}
            [ "$*" = "build recipes/lab.yml" ]
            cp -a {tmp_path}/built output
            echo output/lab/{version.name}""",
    }
    for path, text in programs.items():
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\nset -e\n{text}\n", encoding="ascii")
        path.chmod(0o755)
    return clone


def test_what_comes_next_is_said_of_what_was_built(tmp_path: Path) -> None:
    command: list[str | Path] = [ROOT / ".ci/what-next", "output/lab/20260101-00000000", "recipes/other.yml"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout
    assert "Built output/lab/20260101-00000000" in said
    assert "diskless boot lab" in said
    assert "build 'recipes/other.yml'" in said


@needs_tool("docker-registry", "htpasswd", "ssh-keygen")
@pytest.mark.parametrize(("jobs", "signed"), [(1, True), (2, False)])
def test_build_and_upload(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, signed: bool
) -> None:
    """Whatever the job has, no secret is where a recipe runs."""
    monkeypatch.setenv("DISKLESS_USERNAME", USER)
    monkeypatch.setenv("DISKLESS_PASSWORD", PASSWORD)
    monkeypatch.setenv("DISKLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("SIGNING_KEY", ssh_key().read_text(encoding="ascii") if signed else "")
    with run_registry(tmp_path / "server", auth="basic") as server:
        place = registry_place(server, Options(retries=HASTY))
        script = checkout / "docs/ci/build-and-upload"
        if jobs == 1:
            subprocess.run([script, "recipes/lab.yml", place.target], check=True)
        else:
            built = subprocess.run(
                [script, "--build", "recipes/lab.yml"], check=True, stdout=subprocess.PIPE, text=True
            )
            (tmp_path / "bin/make").unlink()
            (checkout / built.stdout.rstrip("\n")).rename(tmp_path / "version")  # as the pipelines do
            subprocess.run([script, "--upload", "version", place.target], check=True, cwd=tmp_path)
        assert (place.open("testing").signature is not None) == signed
    assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.parametrize(
    ("lock", "twice", "options"),
    [
        (False, "", ""),
        (True, "", " --locked"),
        (False, "1", " --twice"),
        (True, "1", " --locked --twice"),
    ],
)
def test_a_lock_is_used_and_builds_are_compared_where_the_job_says(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lock: bool, twice: str, options: str
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("TWICE", twice)
    diskless = checkout / ".venv/bin/diskless"
    diskless.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/asked\necho output/lab/built\n', encoding="ascii")
    if lock:
        (checkout / "recipes/lab.lock").touch()
    script = checkout / "docs/ci/build-and-upload"
    printed = subprocess.run([script, "--build", "recipes/lab.yml"], check=True, stdout=subprocess.PIPE, text=True)
    assert printed.stdout == "output/lab/built\n"
    assert (tmp_path / "asked").read_text("ascii") == f"build{options} recipes/lab.yml\n"


@needs_tool("docker-registry", "htpasswd", "ssh-keygen")
@pytest.mark.parametrize("recipe", ["lab"])
def test_renew(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISKLESS_USERNAME", USER)
    monkeypatch.setenv("DISKLESS_PASSWORD", PASSWORD)
    monkeypatch.setenv("DISKLESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("SIGNING_KEY", ssh_key().read_text(encoding="ascii"))
    signers = tmp_path / "signers"
    signers.write_text(f"promoter {ssh_key().with_suffix('.pub').read_text('ascii')}", encoding="ascii")
    monkeypatch.setenv("ALLOWED_SIGNERS", str(signers))
    (tmp_path / "bin/make").write_text("#!/bin/sh\n", encoding="ascii")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with run_registry(tmp_path / "server", auth="basic") as server:
        place = registry_place(server, Options(retries=HASTY))
        command: list[str | Path] = [checkout / "docs/ci/renew", place.target, "stable"]
        version = make_version(tmp_path / "here", files=30)
        place.upload(version, "stable")
        assert subprocess.run(command, check=False).returncode == 5  # nobody signed what it means
        place.upload(version, "stable", sign=ssh_key())
        subprocess.run(command, check=True)
        statement = place.open("stable").statement
    assert statement is not None
    assert '"serial": 2' in statement.text
    assert not list(tmp_path.glob("tmp.*"))


@pytest.mark.parametrize("name", ["github.yml", "gitlab-ci.yml"])
def test_pipelines(name: str) -> None:
    text = (CI / name).read_text(encoding="utf-8")
    pipeline = yaml.safe_load(text)
    jobs = pipeline["jobs"] if name == "github.yml" else pipeline
    commands = {job: commands_of(jobs[job]) for job in ("build", "upload", "renew")}
    if name == "github.yml":
        used = {step["uses"].partition("@")[0] for job in jobs.values() for step in job["steps"] if "uses" in step}
        assert used == {f"actions/{one}" for one in ("checkout", "cache", "upload-artifact", "download-artifact")}
        assert jobs["upload"]["permissions"]["packages"] == "write"
        assert jobs["build"]["permissions"] == {"contents": "read"}
    assert "secrets." not in yaml.safe_dump(jobs["build"])
    assert not re.search("SIGNING_KEY|PASSWORD", yaml.safe_dump(jobs["build"]))
    assert "runuser -u builder -- docs/ci/build-and-upload --build" in commands["build"]
    assert "docs/ci/build-and-upload --upload" in commands["upload"]
    assert re.findall(r"docs/ci/[a-z-]+", commands["renew"]) == ["docs/ci/renew"]
    for text in commands.values():
        subprocess.run(["sh", "-n"], input=text.encode(), check=True)
        for script, recipe in re.findall(r"(docs/ci/[a-z-]+) --\w+ (recipes/[a-z-]+\.yml)", text):
            assert os.access(ROOT / script, os.X_OK)
            assert (ROOT / recipe).is_file()
    assert 'tar -cf image.tar -C "$version" .' in commands["build"]
    assert "mkdir version && tar -xf image.tar -C version" in commands["upload"]


def commands_of(job: dict[str, Any]) -> str:
    """All that a job runs."""
    return (
        "\n".join(step["run"] for step in job["steps"] if "run" in step) if "steps" in job else "\n".join(job["script"])
    )


@needs_tool("systemd-analyze")
def test_units(tmp_path: Path) -> None:
    program = tmp_path / "diskless"  # a unit's first word is not quoted
    program.symlink_to(DISKLESS)
    for name in ("diskless-update@.service", "diskless-update@.timer"):
        text = (CI / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(text.replace("/usr/local/bin/diskless", str(program)), encoding="utf-8")
    units = [tmp_path / "diskless-update@lab.service", tmp_path / "diskless-update@lab.timer"]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "diskless-update" in line]
    assert (done.returncode, complaints) == (0, [])
    timer = configparser.ConfigParser()
    timer.read(CI / "diskless-update@.timer", encoding="utf-8")
    assert timer["Timer"]["RandomizedDelaySec"] == "30min"


@needs_tool("systemd-analyze")
def test_what_the_unit_may_do_has_its_reason(tmp_path: Path) -> None:
    """Every line of systemd's examination that is not well is named in the unit; and it is good in all."""
    text = (CI / "diskless-update@.service").read_text(encoding="utf-8")
    unit = tmp_path / "diskless-update@lab.service"
    unit.write_text(text, encoding="utf-8")
    command: list[str | Path] = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "300"})
    open_lines = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("✗")]
    assert open_lines, done.stdout + done.stderr
    reasons = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for name in open_lines:
        setting, _, value = name.partition("=")
        word = value.removeprefix("~").strip("()") if setting in ("SystemCallFilter",) else f"{setting}="
        assert word in reasons, name
    exposure = re.search(r"exposure level for .*: ([0-9.]+)", done.stdout)
    assert exposure is not None
    assert float(exposure[1]) <= 3.0


@needs_root
@needs_tool("setpriv")
@pytest.mark.root
def test_the_units_capabilities_are_enough(tmp_path: Path) -> None:
    """A deploy of files with owners, setuid bits and capabilities, and another one over it."""
    text = (CI / "diskless-update@.service").read_text(encoding="utf-8")
    names = re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.M)[0].split()
    bounds = ",".join(["-all", *(f"+{name.removeprefix('CAP_').lower()}" for name in names)])
    place = new_place()
    for changes in ({}, {"etc/hostname": b"changed\n"}):
        version = make_version(tmp_path, changes)
        command = ["setpriv", f"--bounding-set={bounds}", "--inh-caps=-all", "--no-new-privs", DISKLESS, "deploy"]
        done = subprocess.run(
            [*command, version, "--to", place, "--server", SERVER, "-q"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert faults(place) == []
