"""Options that benchmarks share, and lists with commas."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from cli.options import one_of

if TYPE_CHECKING:
    from hw.hardware import Weights

Item = TypeVar("Item", int, float, str)

BUILT_IN_NETWORKS = ["resnet18", "resnet50", "vgg16"]
WEIGHTS: tuple[Weights, ...] = ("static", "shared")
BUILT_IN_CHIPS = ["hbm2-bitsimd", "hbm2-bitsimd-8stack", "reram-aritpim"]

NetworkOption = Annotated[str, typer.Option("--network", "-n", help="Built-in network or network file.")]
NetworksOption = Annotated[
    list[str], typer.Option("--network", "-n", help="Built-in network or network file; again for more.")
]
ChipsOption = Annotated[
    list[str],
    typer.Option("--hw", "-w", help="A built-in chip or a file; again for more.", show_default=True),
]
TimeLimits = Annotated[str, typer.Option("--limits", "-t", metavar="S,S,..", help="Time limits in seconds.")]
Methods = Annotated[str, typer.Option("--methods", metavar="M,M,..", help="Methods, as of `solve`.")]
Seeds = Annotated[str, typer.Option("--seeds", "-s", metavar="N,N,..", help="Seeds of random choices.")]
OnlyWeights = Annotated[
    str | None,
    typer.Option("--weights", parser=one_of(*WEIGHTS), help="Only this kind; both unless given."),
]


def listed(option: str, text: str, parse: Callable[[object], Item]) -> list[Item]:
    """Return the different items of a list with commas, in order of size or alphabet.

    Raises
    ------
    InputError
        if an item cannot be parsed; names the option.
    """
    from overlapim_files import InputError

    try:
        return sorted({parse(part) for part in text.split(",")})
    except typer.BadParameter as error:
        raise InputError(f"{option}: each {error.message}") from None
