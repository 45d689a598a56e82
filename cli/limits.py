"""Limits of layers as commands take them: from a file, as options, and what a solution has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hw.hardware import Hardware
    from models.network import Network
    from solver.timing.limits import Limits

LimitsPath = Annotated[
    Path | None,
    typer.Option("--limits", metavar="FILE", help="Keep to the limits of layers in this file."),
]
LimitOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="LAYER:KEY=VALUE",
        help="A limit of a layer, or of those whose names match a pattern, as in a file: "
        "'conv*:most_banks=4'. As often as need be.",
    ),
]
FixedLayers = Annotated[
    list[str] | None,
    typer.Option(
        "--fix",
        metavar="LAYER",
        help="Let a layer, or those whose names match a pattern, keep the mapping that the solution has.",
    ),
]


@dataclass(frozen=True)
class GivenLimits:
    """The limits that options give, and the solution whose mappings are kept."""

    file: Path | None
    options: Sequence[str]
    fixed: Sequence[str]
    solution: Path | None

    def of(self, network: Network, hardware: Hardware) -> Limits:
        """Return what they come to for each layer. Raises InputError if they contradict each other."""
        from overlapim_files import InputError
        from solver.limits import bring_together, fixed, limit_option, limits_file

        if self.fixed and self.solution is None:
            raise InputError(
                f"--fix {self.fixed[0]}: it keeps what a warm start has; give one with --warm-start"
            )
        stated = [] if self.file is None else limits_file(self.file)
        stated += [limit_option(text) for text in self.options]
        stated += [] if self.solution is None else [fixed(layer, self.solution) for layer in self.fixed]
        return bring_together(stated, network, hardware)
