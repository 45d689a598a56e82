"""`overlapim hw derive`: a hardware file from technology, bit widths and timing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.answers import answer, answering
from cli.options import integer, number, one_of, text

if TYPE_CHECKING:
    from hw.derive import Chip
    from hw.hardware import Hardware

app = typer.Typer(
    help="Derive a hardware file from technology, bit widths and timing. Without options each command gives "
    "the costs of a built-in chip; docs/hardware.md explains the formulas.",
    no_args_is_help=True,
)

BANDWIDTH = number("GB/s", 0.001, 1_000_000)
TIME = number("nanoseconds", 0.001, 1_000_000)


def _time(name: str, meaning: str) -> Any:
    """Return an option that takes a time; what `typer.Option` returns is `Any` by declaration, too."""
    return typer.Option(name, parser=TIME, metavar="NS", help=meaning)


Name = Annotated[
    str, typer.Option("--name", parser=text(200), metavar="NAME", help="The name of the chip in reports.")
]
Bits = Annotated[
    int,
    typer.Option("--bits", "-b", parser=integer(1, 1024), metavar="N", help="Of activations and weights."),
]
Accumulator = Annotated[
    int, typer.Option("--accumulator", parser=integer(1, 1024), metavar="N", help="Bits of an accumulator.")
]
Clock = Annotated[float, _time("--clock", "One cycle, such as tCK.")]
Count = integer(1, 2**20)
Channels = Annotated[int, typer.Option("--channels", parser=Count, metavar="N", help="Channels of the chip.")]
Banks = Annotated[int, typer.Option("--banks", parser=Count, metavar="N", help="Banks of each channel.")]
Columns = Annotated[int, typer.Option("--columns", parser=Count, metavar="N", help="Lanes of each bank.")]
RowCount = Annotated[
    int, typer.Option("--rows", parser=integer(1, 2**40), metavar="N", help="Bits under each lane.")
]
Weights = Annotated[
    str,
    typer.Option(
        "--weights",
        parser=one_of("static", "shared"),
        metavar="static|shared",
        help="Whether a bank serves one layer only or several.",
    ),
]
RowCopy = Annotated[float, _time("--row-copy", "Copying one row from bank to bank.")]
Bus = Annotated[
    float,
    typer.Option("--bus", parser=BANDWIDTH, metavar="GB/S", help="Bandwidth of the bus of one channel."),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file, not to the terminal.")
]


@app.command()
@answering
def bitsimd(
    name: Name = "bitsimd",
    bits: Bits = 8,
    accumulator: Accumulator = 32,
    clock: Clock = 1.0,
    tras: Annotated[float, _time("--tras", "tRAS, from activating a row to closing it.")] = 34.0,
    trp: Annotated[float, _time("--trp", "tRP, from closing a row to activating another.")] = 14.0,
    logic: Annotated[float, _time("--logic", "A step of the logic, such as tCCD_S.")] = 1.0,
    row_copy: RowCopy = 125.0,
    bus: Bus = 32.0,
    channels: Channels = 8,
    banks: Banks = 16,
    columns: Columns = 8192,
    rows: RowCount = 32768,
    weights: Weights = "shared",
    out: Out = None,
) -> None:
    """BitSIMD-V: digital logic at the sense amplifiers of DRAM, as in hbm2-bitsimd.

    Example:

      overlapim hw derive bitsimd --bits 4 --accumulator 24 --out chip.yaml
    """
    from hw.derive import BitSimdTiming, Rows
    from hw.derive import bitsimd as derive

    chip = _chip(name, clock, (channels, banks, columns, rows), weights, (bits, accumulator))
    _give(derive(chip, BitSimdTiming(tras, trp, logic), Rows(row_copy, bus)), out)


@app.command()
@answering
def simdram(
    name: Name = "simdram",
    bits: Bits = 8,
    accumulator: Accumulator = 32,
    clock: Clock = 1.0,
    command: Annotated[float, _time("--command", "One command on rows, AP or AAP.")] = 45.0,
    row_copy: RowCopy = 125.0,
    bus: Bus = 32.0,
    channels: Channels = 8,
    banks: Banks = 16,
    columns: Columns = 8192,
    rows: RowCount = 32768,
    weights: Weights = "shared",
    out: Out = None,
) -> None:
    """SIMDRAM, MIMDRAM: majority and NOT on whole rows of DRAM, as in hbm2-simdram.

    Example:

      overlapim hw derive simdram --command 49 --out chip.yaml
    """
    from hw.derive import Rows
    from hw.derive import simdram as derive

    chip = _chip(name, clock, (channels, banks, columns, rows), weights, (bits, accumulator))
    _give(derive(chip, command, Rows(row_copy, bus)), out)


@app.command()
@answering
def aritpim(
    name: Name = "aritpim",
    bits: Bits = 8,
    accumulator: Accumulator = 32,
    variant: Annotated[
        str,
        typer.Option(
            "--variant",
            parser=one_of("serial", "parallel"),
            metavar="serial|parallel",
            help="Bit by bit, or all bits at once in crossbars cut into partitions.",
        ),
    ] = "serial",
    clock: Clock = 1.1,
    between_channels: Annotated[
        int,
        typer.Option(
            "--between-channels",
            parser=integer(1, 2**40),
            metavar="N",
            help="Bits per cycle and bank between channels.",
        ),
    ] = 64,
    channels: Channels = 32,
    banks: Banks = 256,
    columns: Columns = 1024,
    rows: RowCount = 1024,
    weights: Weights = "static",
    out: Out = None,
) -> None:
    """AritPIM: stateful logic in ReRAM crossbars, for 8, 16, 32 or 64 bits, as in reram-aritpim.

    Example:

      overlapim hw derive aritpim --variant parallel --out chip.yaml
    """
    from hw.derive import aritpim as derive

    chip = _chip(name, clock, (channels, banks, columns, rows), weights, (bits, accumulator))
    _give(derive(chip, "serial" if variant == "serial" else "parallel", between_channels), out)


ReadTime = Annotated[float, _time("--read", "From a read to the end of its first burst.")]
WriteTime = Annotated[float, _time("--write", "From a write to the end of its first burst.")]
Interval = Annotated[float, _time("--tccd", "tCCD, from one multiply-accumulate command to the next.")]
Post = Annotated[float, _time("--post", "One post-operation.")]


@app.command("hbm-pim")
@answering
def hbm_pim(
    name: Name = "hbm-pim",
    bits: Bits = 16,
    accumulator: Accumulator = 16,
    clock: Clock = 1.0,
    tccd: Interval = 4.0,
    read: ReadTime = 22.0,
    write: WriteTime = 10.0,
    post: Post = 4.0,
    bus: Bus = 16.0,
    channels: Channels = 16,
    banks: Banks = 8,
    columns: Columns = 16,
    rows: RowCount = 2**24,
    weights: Weights = "shared",
    out: Out = None,
) -> None:
    """Samsung HBM-PIM: units beside the banks of DRAM with accumulators in each lane; a bank is a unit here.

    Example:

      overlapim hw derive hbm-pim --channels 64 --out chip.yaml
    """
    from hw.derive import NearBank
    from hw.derive import hbm_pim as derive

    chip = _chip(name, clock, (channels, banks, columns, rows), weights, (bits, accumulator))
    _give(derive(chip, NearBank(tccd, read, write, post, bus)), out)


@app.command()
@answering
def aim(
    name: Name = "aim",
    bits: Bits = 16,
    accumulator: Accumulator = 16,
    clock: Clock = 0.5,
    tccd: Interval = 1.0,
    read: ReadTime = 1.0,
    write: WriteTime = 3.0,
    post: Post = 43.0,
    bus: Bus = 32.0,
    channels: Channels = 32,
    banks: Banks = 16,
    columns: Columns = 16,
    rows: RowCount = 2**24,
    weights: Weights = "shared",
    out: Out = None,
) -> None:
    """SK hynix AiM: units beside the banks of DRAM that add up their lanes in a tree, as in gddr6-aim.

    Example:

      overlapim hw derive aim --channels 2 --out chip.yaml
    """
    from hw.derive import NearBank
    from hw.derive import aim as derive

    chip = _chip(name, clock, (channels, banks, columns, rows), weights, (bits, accumulator))
    _give(derive(chip, NearBank(tccd, read, write, post, bus)), out)


def _chip(
    name: str, clock: float, shape: tuple[int, int, int, int], weights: str, widths: tuple[int, int]
) -> Chip:
    from hw.derive import Chip
    from hw.hardware import Bits

    bits = Bits(activation=widths[0], weight=widths[0], accumulator=widths[1])
    return Chip(name, clock, *shape, "static" if weights == "static" else "shared", bits)


def _give(hardware: Hardware, out: Path | None) -> None:
    from cli.console import say
    from overlapim_files import dump, write_text

    if out is None:
        answer(hardware, lambda: print(dump(hardware), end=""))
        return
    write_text(out, dump(hardware))
    say(f"written: {out}")
