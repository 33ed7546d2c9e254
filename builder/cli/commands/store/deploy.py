"""`diskless deploy [VERSION | IMAGE | REFERENCE] --to DIR`"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from builder.cli.options import complete_version, json_option, output_option, store_option
from builder.cli.reporting import reports_progress, show
from builder.cli.transfer import (
    describe_signer,
    downgrade_option,
    image_option,
    revoked_option,
    state_option,
    transfer_options,
    trust_option,
)
from builder.cli.typed import as_typed
from builder.deploy import Deployed, DeployOptions
from builder.deploy import deploy as run_deploy
from builder.model.artifacts.difference import compare_manifests
from builder.model.artifacts.manifest import Manifest
from builder.output.offer import Offer, offer_directory
from builder.output.versions import name_version
from builder.progress.progress import Progress
from builder.render.report.summary import summary
from builder.store.inspection.differences import shown
from builder.transports.base import Options
from builder.transports.table import find_offer, is_remote


@click.command()
@click.argument("target", metavar="[VERSION | IMAGE | REFERENCE]", required=False, shell_complete=complete_version)
@store_option
@click.option("--server", metavar="ADDRESS", help="This server's address as clients see it, if site.yml does not say.")
@click.option("--keep", type=click.IntRange(min=1), metavar="N", help="Then prune this image to so many versions.")
@click.option("--no-activate", is_flag=True, help="Only bring it in: for a client that site.yml pins to it.")
@click.option("--replace-loaders", is_flag=True, help="Also replace pxelinux.0 and its modules by the version's.")
@output_option
@trust_option
@revoked_option
@image_option
@downgrade_option
@state_option
@reports_progress
@transfer_options
@json_option
def deploy(
    target: str | None,
    store: Path,
    server: str | None,
    keep: int | None,
    no_activate: bool,
    replace_loaders: bool,
    output: Path,
    trust: Path | None,
    revoked: Path | None,
    image: str | None,
    allow_downgrade: bool,
    state: Path,
    options: Options,
    as_json: bool,
    progress: Progress,
) -> None:
    """Put a version on this server; clients boot it next.

    One rename switches to it.

    VERSION is a directory such as output/IMAGE/latest, IMAGE the name of one below OUTPUT; without either it is the
    newest version of the only image there. REFERENCE is oci://HOST/REPOSITORY[:TAG | @DIGEST], oci-layout:DIR[:TAG |
    @DIGEST], or the https:// address of a manifest.json or a channel: only what the store lacks is fetched. Running
    clients keep what they booted; `diskless rollback` goes back.
    """
    offer = _offer(target, output, options)
    wanted = DeployOptions(
        server, not no_activate, replace_loaders, keep, trust, revoked, image, allow_downgrade, state
    )
    deployed = run_deploy(offer, store, wanted, progress)
    result = {**describe_json(deployed), "received_bytes": offer.source.received}
    show(json.dumps(result, indent=1) if as_json else describe_text(deployed, store))
    for line in summarize(deployed, progress.seconds, store):
        progress.note(line)
    progress.result(result)


def summarize(deployed: Deployed, seconds: Mapping[str, float], store: Path) -> tuple[str, ...]:
    """The closing lines: what changed for clients since the version before."""
    difference = None if deployed.before is None else compare_manifests(deployed.before, deployed.manifest)
    command = "rollback" if deployed.before is not None else "server-config"
    return summary(deployed.manifest, difference, seconds, f"diskless {command} --to {shlex.quote(str(store))}")


def _offer(target: str | None, output: Path, options: Options) -> Offer:
    if target is not None and is_remote(target):
        return find_offer(target, options)
    name, version = name_version(target, output)
    own = output.resolve()
    # what a name in another directory than the operator's own means is said by whoever can write there
    if name.parent.resolve().is_relative_to(own) and version.is_relative_to(own):
        return offer_directory(version)
    return find_offer(str(name), options)


def describe_json(deployed: Deployed) -> dict[str, object]:
    """The result as --json prints it."""
    replaced = deployed.replaced
    return {
        "image": deployed.manifest.image,
        "version": deployed.manifest.version,
        "root": str(deployed.root),
        "generation": deployed.generation.number,
        "active": deployed.generation.active,
        "unchanged": deployed.unpacked is None,
        **describe_signer(deployed.approval),
        "held": deployed.held and deployed.held.reason,
        "unpacked": deployed.unpacked and vars(deployed.unpacked),
        "replaced": replaced
        and {"version": replaced.version, "root": str(replaced.root), "changed": replaced.differences.lines()},
        "pruned": [decision.to_json() for decision in deployed.pruned],
    }


def _describe_hold(reason: str, manifest: Manifest, store: Path) -> list[str]:
    command = as_typed(f"diskless rollback --to {store} {manifest.image} {manifest.version}")
    return [
        f"hold: clients do not boot it, since somebody went back from it ({reason})",
        f"  what its channel means next comes in; to boot this one all the same: {command}",
    ]


def describe_text(deployed: Deployed, store: Path) -> str:
    """The result as people read it."""
    manifest = deployed.manifest
    lines = [f"{manifest.image} {manifest.version}: generation {deployed.generation.number}"]
    if deployed.approval is not None:
        said = deployed.approval.statement
        channel = f"; {said.tag} means it, serial {said.serial}" if said else ""
        lines.append(f"signed by {deployed.approval.signer}{channel}")
    if deployed.unpacked is None:
        lines.append("the version was there already")
    else:
        done = deployed.unpacked
        lines.append(
            f"{done.reused} files as before, {done.written} written ({done.written_bytes / 1e6:.1f} MB), "
            f"{done.read_bytes / 1e6:.1f} MB read"
        )
    active = deployed.generation.active.get(manifest.image)
    if active != manifest.version:
        lines.append(f"clients still boot {active}; pin a client to {manifest.version} in {store}/site.yml to try it")
    if deployed.replaced is not None:
        changed = deployed.replaced.differences.lines()
        lines.append(f"the root of {deployed.replaced.version} stays in {deployed.replaced.root}, until pruned")
        if changed:
            lines.append(f"clients changed {len(changed)} paths in it:")
            lines += [f"  {line}" for line in shown(changed)]
    if deployed.held is not None:
        lines += _describe_hold(deployed.held.reason, manifest, store)
    lines += [f"pruned {decision.version}" for decision in deployed.pruned if decision.ground is None]
    lines += [f"kept {decision.version}: {decision.reason}" for decision in deployed.pruned if decision.refused]
    return "\n".join(lines)
