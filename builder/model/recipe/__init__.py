"""The recipe: one image, described as nouns."""

from builder.model.recipe.boot import Boot, Nfs, Root
from builder.model.recipe.choices import (
    Architecture,
    Compression,
    DistributionName,
    Drivers,
    GeneratorName,
    InitName,
    LoaderName,
    NetworkClient,
    NfsVersion,
    OnFailure,
    Resolver,
    RootMode,
    Signatures,
)
from builder.model.recipe.distribution import (
    ArchDistribution,
    ArchKeyring,
    DebianDistribution,
    DebianKeyring,
    DebianRepository,
    Distribution,
    Repository,
    keyring_package,
)
from builder.model.recipe.initramfs import Initramfs, InitramfsTools, Mkinitcpio
from builder.model.recipe.network import Network
from builder.model.recipe.recipe import Recipe
from builder.model.recipe.system import File, Filesystem, System

__all__ = [
    "ArchDistribution",
    "ArchKeyring",
    "Architecture",
    "Boot",
    "Compression",
    "DebianDistribution",
    "DebianKeyring",
    "DebianRepository",
    "Distribution",
    "DistributionName",
    "Drivers",
    "File",
    "Filesystem",
    "GeneratorName",
    "InitName",
    "Initramfs",
    "InitramfsTools",
    "LoaderName",
    "Mkinitcpio",
    "Network",
    "NetworkClient",
    "Nfs",
    "NfsVersion",
    "OnFailure",
    "Recipe",
    "Repository",
    "Resolver",
    "Root",
    "RootMode",
    "Signatures",
    "System",
    "keyring_package",
]
