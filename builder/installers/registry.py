"""Which installer serves which distribution: a new one is a file here and a line in the table."""

from __future__ import annotations

from builder.installers.apt import AptInstaller
from builder.installers.base import Installer
from builder.installers.pacman import PacmanInstaller
from builder.model.recipe import DistributionName

INSTALLERS: dict[DistributionName, type[Installer]] = {
    DistributionName.DEBIAN: AptInstaller,
    DistributionName.ARCH: PacmanInstaller,
}
