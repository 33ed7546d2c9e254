"""NFS: exports(5), nfs.conf(5), nfs-ganesha; and words that the texts of several DHCP servers have in common.

Sources: exports(5); nfs.conf(5); ganesha-core-config(8) and ganesha-export-config(8); RFC 5071 for DHCP options 208 and
210.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from builder.model.share import ServedStore
from builder.model.site import Site
from builder.render.server.comments import comment, heading, sections

NFS_CONF_FILE = "/etc/nfs.conf.d/diskless.conf"
GANESHA_FILE = "/etc/ganesha/ganesha.conf"
GANESHA_UNIT = "/etc/systemd/system/nfs-ganesha.service.d/diskless.conf"
MOUNTD_PORT = 20048  # registered for it
ROOT_PATH_NOTE = """\
root-path (option 17) is for menus that leave the root to DHCP, as the one in an untarred bundle does; the store's
own menus name it"""
PXELINUX_MAGIC = "f1:00:74:7e"


def path_prefix(site: Site) -> str:
    """What PXELINUX puts before every name (option 210): the URL of the TFTP root where a web server serves it too."""
    return "/" if site.web_server is None else f"http://{site.web_server}/"


@dataclass(frozen=True)
class Export:
    """One directory for NFS clients; `fsid` must never change while clients run.

    directory: where it lies on the server
    path: what clients call it; the kernel's server knows no other name than `directory`
    clients: who may mount it: the clients' subnet, or some of their addresses; never `*`
    holds: whether it is the top of a file system of its own, so that no handle leads out of it
    """

    directory: str
    path: str
    clients: tuple[str, ...]
    fsid: int
    writable: bool
    holds: bool = True


def exports_path(name: str) -> str:
    """Where the exports of the store with this name lie."""
    return f"/etc/exports.d/{name}.exports"


def exports(exported: Sequence[Export], store: ServedStore) -> str:
    """Exports for the kernel's NFS server, one line an export, with why; nothing for no export."""
    if not exported:
        return ""
    what = "roots of clients without disks; exportfs -ra reads it anew"
    return sections(
        (heading(exports_path(store.name), what, store.path), []),
        (_EXPORTS_NOTES, []),
        *((_export_title(export), [_exports_line(export)]) for export in exported),
    )


_EXPORTS_NOTES = """\
mountpoint: each export is a whole file system. A client that knows the numbers reaches every file of the file system
  that an export lies on; here there is nothing else on it. Nothing is exported while it is not mounted.
fsid: file handles are made of it instead of the disk's number, so that a restarted server keeps its clients.
  It must never change while a client runs. Nor may the exported directory: never export a single version, or a
  symlink, which a deploy would replace (clients: "stale file handle").
no_root_squash: root on a client is root of its files, which init and package managers need; without it not even
  all of them could be read. Whoever is on the subnet can do the same: keep other machines off it. Never write *.
no_subtree_check: a file stays the same file when a directory above it is renamed.
sync: what a client was told is written, is on the disk. With async a server that crashes loses files that the
  client believes safe, package databases among them."""


def _export_title(export: Export) -> str:
    title = "versions that many clients share: read-only, so that no client changes another's root"
    if export.writable:
        title = "roots that one client each writes to"
    return title if export.holds else f"{title}\n{_UNSAFE}"


_UNSAFE = """\
UNSAFE, as the first release made it: clients reach every file of the file system that it lies on, this server's own
among them. It stays as it is while clients use it; diskless storage ends it."""


def nfs_conf() -> str:
    """nfs.conf(5) for a firewall: mountd, which NFSv3 clients ask first, at a port that does not change."""
    title = (
        f"{NFS_CONF_FILE} - the port of mountd, which NFSv3 clients ask before they mount\n"
        "Left out, it is another one after each start, and no firewall can let it through."
    )
    return comment(title) + f"[mountd]\nport={MOUNTD_PORT}\n"


def ganesha_config(
    exported: Sequence[Export], store: ServedStore, more: Mapping[str, str] = MappingProxyType({})
) -> str:
    """ganesha.conf for the same exports. Clients mount `path`, whatever the directory's real name is.

    `more` are further parameters of NFS_CORE_PARAM.
    """
    core = {
        "Protocols": "3, 4",
        "mount_path_pseudo": "true",
        "MNT_Port": str(MOUNTD_PORT),
        "Enable_NLM": "false",
        "Enable_RQUOTA": "false",
        **more,
    }
    version_4 = {"Graceless": "true", "Only_Numeric_Owners": "true", "RecoveryBackend": "fs"}
    blocks = [
        comment(f"{GANESHA_FILE} - roots of clients without disks, from nfs-ganesha instead of the kernel"),
        comment("Clients mount Pseudo, with NFSv3 too. Roots are mounted nolock, so no lock manager is needed.")
        + _block("NFS_CORE_PARAM", core),
        comment(_VERSION_4_NOTES) + _block("NFSv4", version_4),
    ]
    return "\n".join([*blocks, *(_ganesha_export(export) for export in exported)])


_VERSION_4_NOTES = """\
Owners as numbers: nothing in a fresh client maps name@domain, and setuid programs would lose root.
Recovery on disk and no grace period: a restarted server answers at once.
Releases 2.8 to 6.1, Debian 12's among them, serve every file as an empty one to clients that run Linux 6.6 or later
and mount NFSv4.2 (READ_PLUS): there root.nfs.version of the recipe must be 4.1 or 3, or the kernel's server serve."""


def _ganesha_export(export: Export) -> str:
    access = "RW" if export.writable else "RO"
    client = _block("CLIENT", {"Clients": ", ".join(export.clients), "Access_Type": access})
    values = {
        "Export_Id": str(export.fsid),
        "Filesystem_Id": f"{export.fsid}.{export.fsid}",
        "Path": f'"{export.directory}"',
        "Pseudo": f'"{export.path}"',
        "Access_Type": "None",
        "Squash": "No_Root_Squash",
        "SecType": "sys",
        "Protocols": "3, 4",
        "Transports": "TCP",
    }
    title = comment(f"{_export_title(export)}\nThe number is the kernel's fsid: never change it while clients run.")
    return title + _block("EXPORT", values, client, _block("FSAL", {"Name": "VFS"}))


def ganesha_unit(exported: Sequence[Export], store: ServedStore) -> str:
    """A drop-in for nfs-ganesha's unit, systemd.unit(5) and systemd.exec(5).

    Nothing is exported while it is not mounted. And nfs-ganesha sees no file system but those: it takes what lies above
    an export's top for a part of the export, and a handle of the one for one of the other.
    """
    title = heading(GANESHA_UNIT, "roots of clients without disks, once they are mounted", store.path)
    directories = [export.directory for export in exported]
    unit = [f"RequiresMountsFor={' '.join(directories)}", *(f"AssertPathIsMountPoint={path}" for path in directories)]
    read_only = [*_GANESHA_READS, *(export.directory for export in exported if not export.writable)]
    writable = [*_GANESHA_WRITES, *(export.directory for export in exported if export.writable)]
    service = [
        "TemporaryFileSystem=/:ro",
        *(f"BindReadOnlyPaths={path}" for path in read_only),
        *(f"BindPaths={path}" for path in writable),
    ]
    return sections(
        (title, []),
        ("Nothing is exported while it is not mounted.", ["[Unit]", *unit]),
        (_GANESHA_ROOT, ["[Service]", *service]),
    )


# a dash: where it is there
_GANESHA_READS = ("/usr", "/etc", "-/bin", "-/sbin", "-/lib", "-/lib64")
_GANESHA_WRITES = ("/dev", "/proc", "/sys", "/run", "/tmp", "-/var/lib/nfs", "-/var/log/ganesha")
_GANESHA_ROOT = """\
nfs-ganesha takes a handle of any file system that it sees for one of an export, and `..` of an export's top leads it
into the next one: so it sees the exported ones only, and may not write to the one that is read-only."""


def export_options(export: Export) -> str:
    """The options of an export, exports(5), for the file or for exportfs(8)."""
    access = "rw" if export.writable else "ro"
    mounted = ",mountpoint" if export.holds else ""
    return f"{access},sync,fsid={export.fsid},no_root_squash,no_subtree_check{mounted}"


def _exports_line(export: Export) -> str:
    directory = export.directory.replace("\\", "\\134").replace(" ", "\\040")
    clients = [f"{client}({export_options(export)})" for client in export.clients]
    several = len(clients) > 1 and any("/" in client for client in export.clients)
    return " \\\n    ".join([directory, *clients]) if several else " ".join([directory, *clients])


def _block(name: str, values: dict[str, str], *inner: str) -> str:
    lines = [f"{key} = {value};" for key, value in values.items()]
    lines += [line for block in inner for line in block.splitlines()]
    return "\n".join([f"{name} {{", *(f"    {line}" for line in lines), "}"]) + "\n"
