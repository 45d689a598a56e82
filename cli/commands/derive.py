"""`overlapim hw derive`: a hardware file from technology, bit widths and timing."""

# Annotations are evaluated here, as those of a technology are put together from its options.

import inspect
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.answers import answer, answering
from cli.options import integer, one_of, quantity, text
from hw.derive.technologies import TECHNOLOGIES, OneOf, Quantity, Technology, TechnologyOption, Whole

if TYPE_CHECKING:
    from hw.hardware import Hardware

app = typer.Typer(
    help="Derive a hardware file from technology, bit widths and timing. Without options each command gives "
    "the costs of a built-in chip; docs/hardware.md explains the formulas.",
)

EXAMPLES = {
    "bitsimd": "--bits 4 --accumulator 24",
    "simdram": "--command 49",
    "aritpim": "--variant parallel",
    "hbm-pim": "--channels 64",
    "aim": "--channels 2",
}
METAVARS = {"nanoseconds": "NS", "GB/s": "GB/S"}

OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file, not to the terminal.")
]


def _annotation(option: TechnologyOption) -> Any:
    """Return the type of a parameter of a command and how typer reads it."""
    parser: Callable[[object], Any]
    match option.limits:
        case Whole(low, high):
            parser, metavar = integer(low, high), "N"
        case Quantity(unit, lowest, highest):
            parser, metavar = quantity(unit, lowest, highest), METAVARS[unit]
        case OneOf(words):
            parser, metavar = one_of(*words), "|".join(words)
        case _:
            parser, metavar = text(option.limits.longest), "NAME"
    name = f"--{option.name.replace('_', '-')}"
    return Annotated[
        type(option.default), typer.Option(name, parser=parser, metavar=metavar, help=option.meaning)
    ]


def _command(technology: Technology) -> Callable[..., None]:
    """Return the command of a technology."""

    def command(*, out: Path | None, **given: Any) -> None:
        _give(technology.hardware(given), out)

    parameters = [
        Parameter(x.name, Parameter.KEYWORD_ONLY, default=x.default, annotation=_annotation(x))
        for x in technology.options.values()
    ]
    parameters.append(Parameter("out", Parameter.KEYWORD_ONLY, default=None, annotation=OutOption))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {}
    return command


def _give(hardware: "Hardware", out: Path | None) -> None:
    """Print the file, or write it."""
    from cli.show.console import say
    from overlapim_files import dump, write_text

    if out is None:
        answer(hardware, lambda: print(dump(hardware), end=""))
        return
    write_text(out, dump(hardware))
    say(f"written: {out}")


for _technology in TECHNOLOGIES.values():
    _example = f"overlapim hw derive {_technology.name} {EXAMPLES[_technology.name]} --out chip.yaml"
    _help = f"{_technology.about}\n\nExample:\n\n  {_example}"
    app.command(_technology.name, help=_help)(answering(_command(_technology)))
