"""Which installer runs which package manager: a new one is a file here and a line in the table."""

from __future__ import annotations

from builder.distributions.base import PackageManager
from builder.installers.apt.installer import AptInstaller
from builder.installers.base import Installer
from builder.installers.pacman.installer import PacmanInstaller

INSTALLERS: dict[PackageManager, type[Installer]] = {
    PackageManager.APT: AptInstaller,
    PackageManager.PACMAN: PacmanInstaller,
}
