"""The built-in networks by name, and networks from files."""

from __future__ import annotations

from collections.abc import Callable

from models.network import Network
from models.resnet import resnet18, resnet50
from models.toy import toy
from models.vgg import vgg16
from overlapim_files import load, looks_like_path, unknown

NETWORKS: dict[str, Callable[[], Network]] = {
    "toy": toy,
    "resnet18": resnet18,
    "resnet50": resnet50,
    "vgg16": vgg16,
}


def network_names() -> list[str]:
    """Return the names of the built-in networks."""
    return list(NETWORKS)


def load_network(name_or_path: str) -> Network:
    """Return a built-in network, or read a network file; a built-in name goes before a file of that name.

    Raises
    ------
    InputError
        if there is no such network, or if the file is not a valid network.
    """
    if name_or_path in NETWORKS:
        return NETWORKS[name_or_path]()
    if looks_like_path(name_or_path):
        return load(name_or_path, Network)
    raise unknown("network", name_or_path, NETWORKS)
