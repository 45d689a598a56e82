"""`overlapim hw derive`: a hardware file from technology, bit widths and timing."""

# Annotations are evaluated here, as those that all technologies share are put together from them.

import functools
import inspect
from collections.abc import Callable
from dataclasses import asdict, dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from cli.answers import answer, answering
from cli.options import ALL_WEIGHTS, integer, one_of, quantity, text

if TYPE_CHECKING:
    from hw.derive.chip import Chip
    from hw.hardware import Hardware, Weights

app = typer.Typer(
    help="Derive a hardware file from technology, bit widths and timing. Without options each command gives "
    "the costs of a built-in chip; docs/hardware.md explains the formulas.",
)

_NS = quantity("nanoseconds", 0.001, 1_000_000)
_BITS = integer(1, 1024)
_COUNT = integer(1, 2**20)


def _time(name: str, meaning: str) -> Any:
    """Return an option that takes a time; what `typer.Option` returns is `Any` by declaration, too."""
    return typer.Option(name, parser=_NS, metavar="NS", help=meaning)


def _whole(name: str, parser: Callable[[object], int], meaning: str) -> Any:
    """Return an option that takes a whole number."""
    return typer.Option(name, parser=parser, metavar="N", help=meaning)


NameOption = Annotated[
    str, typer.Option("--name", parser=text(200), metavar="NAME", help="As reports call it.")
]
BitsOption = Annotated[int, _whole("--bits", _BITS, "Bits of activations and weights.")]
AccumulatorOption = Annotated[int, _whole("--accumulator", _BITS, "Bits of an accumulator.")]
ClockOption = Annotated[float, _time("--clock", "One cycle, such as tCK.")]
ChannelsOption = Annotated[int, _whole("--channels", _COUNT, "Channels of the chip.")]
BanksOption = Annotated[int, _whole("--banks", _COUNT, "Banks of each channel.")]
ColumnsOption = Annotated[int, _whole("--columns", _COUNT, "Lanes of each bank.")]
RowsOption = Annotated[int, _whole("--rows", integer(1, 2**40), "Bits under each lane.")]
ChipWeightsOption = Annotated[
    str,
    typer.Option(
        "--weights",
        parser=one_of(*ALL_WEIGHTS),
        metavar="|".join(ALL_WEIGHTS),
        help="Whether a bank serves one layer only, or several whose weights stay in it or are loaded anew.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write to this file, not to the terminal.")
]


@dataclass(frozen=True)
class Given:
    """The options that all technologies have; as defaults, what a built-in chip has."""

    name: NameOption
    bits: BitsOption
    accumulator: AccumulatorOption
    clock: ClockOption
    channels: ChannelsOption
    banks: BanksOption
    columns: ColumnsOption
    rows: RowsOption
    weights: ChipWeightsOption

    def chip(self) -> "Chip":
        """Return what is given of the chip."""
        from hw.derive.chip import Chip
        from hw.hardware import BitWidths

        return Chip(
            self.name,
            self.clock,
            self.channels,
            self.banks,
            self.columns,
            self.rows,
            cast("Weights", self.weights),
            BitWidths(activation=self.bits, weight=self.bits, accumulator=self.accumulator),
        )


def technology(defaults: Given) -> Callable[[Callable[..., "Hardware"]], Callable[..., None]]:
    """Make a command of what derives a chip from its own options; it gets those of `Given` and --out, too."""

    def decorate(derive: Callable[..., "Hardware"]) -> Callable[..., None]:
        @functools.wraps(derive)
        def command(*, out: Path | None, **options: Any) -> None:
            shared = Given(**{key: options.pop(key) for key in asdict(defaults)})
            _give(derive(shared.chip(), **options), out)

        own = list(inspect.signature(derive).parameters.values())[1:]
        parameters = [
            Parameter(key, Parameter.KEYWORD_ONLY, default=value, annotation=Given.__annotations__[key])
            for key, value in asdict(defaults).items()
        ]
        parameters += [x.replace(kind=Parameter.KEYWORD_ONLY) for x in own]
        parameters.append(Parameter("out", Parameter.KEYWORD_ONLY, default=None, annotation=OutOption))
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {}
        return app.command(defaults.name)(answering(command))

    return decorate


def _give(hardware: "Hardware", out: Path | None) -> None:
    """Print the file, or write it."""
    from cli.show.console import say
    from overlapim_files import dump, write_text

    if out is None:
        answer(hardware, lambda: print(dump(hardware), end=""))
        return
    write_text(out, dump(hardware))
    say(f"written: {out}")


BusOption = Annotated[
    float,
    typer.Option(
        "--bus",
        parser=quantity("GB/s", 0.001, 1_000_000),
        metavar="GB/S",
        help="Bandwidth of the bus of one channel.",
    ),
]
RowCopyOption = Annotated[float, _time("--row-copy", "Copying one row from bank to bank.")]


@technology(Given("bitsimd", 8, 32, 1.0, 8, 16, 8192, 32768, "shared"))
def bitsimd_command(
    chip: "Chip",
    tras: Annotated[float, _time("--tras", "tRAS, from activating a row to closing it.")] = 34.0,
    trp: Annotated[float, _time("--trp", "tRP, from closing a row to activating another.")] = 14.0,
    logic: Annotated[float, _time("--logic", "A step of the logic, such as tCCD_S.")] = 1.0,
    row_copy: RowCopyOption = 125.0,
    bus: BusOption = 32.0,
) -> "Hardware":
    """BitSIMD-V: digital logic at the sense amplifiers of DRAM, as in hbm2-bitsimd.

    Example:

      overlapim hw derive bitsimd --bits 4 --accumulator 24 --out chip.yaml
    """
    from hw.derive.bitserial import BitSimdTiming, Rows, bitsimd

    return bitsimd(chip, BitSimdTiming(tras, trp, logic), Rows(row_copy, bus))


@technology(Given("simdram", 8, 32, 1.0, 8, 16, 8192, 32768, "shared"))
def simdram_command(
    chip: "Chip",
    command: Annotated[float, _time("--command", "One command on rows, AP or AAP.")] = 45.0,
    row_copy: RowCopyOption = 125.0,
    bus: BusOption = 32.0,
) -> "Hardware":
    """SIMDRAM, MIMDRAM: majority and NOT on whole rows of DRAM, as in hbm2-simdram.

    Example:

      overlapim hw derive simdram --command 49 --out chip.yaml
    """
    from hw.derive.bitserial import Rows, simdram

    return simdram(chip, command, Rows(row_copy, bus))


VariantOption = Annotated[
    str,
    typer.Option(
        "--variant",
        parser=one_of("serial", "parallel"),
        metavar="serial|parallel",
        help="Bit by bit, or all bits at once in crossbars cut into partitions.",
    ),
]
BetweenChannelsOption = Annotated[
    int, _whole("--between-channels", integer(1, 2**40), "Bits per cycle and bank between channels.")
]


@technology(Given("aritpim", 8, 32, 3.33, 32, 256, 1024, 876, "static"))
def aritpim_command(
    chip: "Chip", variant: VariantOption = "serial", between_channels: BetweenChannelsOption = 64
) -> "Hardware":
    """AritPIM: stateful logic in ReRAM crossbars, for 8, 16, 32 or 64 bits, as in reram-aritpim.

    --rows are the cells of a lane less those in which the arithmetic works: 47 for a product of 8 bits, 101
    for an addition of 32.

    Example:

      overlapim hw derive aritpim --variant parallel --out chip.yaml
    """
    from hw.derive.reram import aritpim

    return aritpim(chip, "serial" if variant == "serial" else "parallel", between_channels)


IntervalOption = Annotated[float, _time("--tccd", "tCCD, from one multiply-accumulate command to the next.")]
OpenOption = Annotated[float, _time("--open", "Closing a row of weights and opening the next.")]
LoadOption = Annotated[float, _time("--load", "What a load of inputs costs beside its data.")]
DrainOption = Annotated[float, _time("--drain", "What a drain of results costs beside its data.")]
ReadOption = Annotated[float, _time("--read", "From a read to the end of its first burst.")]
WriteOption = Annotated[float, _time("--write", "From a write to the end of its first burst.")]
PostOption = Annotated[float, _time("--post", "One post-operation.")]
RowBitsOption = Annotated[int, _whole("--row-bits", integer(1, 2**30), "Bits of a row.")]
BufferOption = Annotated[int, _whole("--buffer", integer(1, 2**40), "Bits of inputs that a unit holds.")]


@technology(Given("hbm-pim", 16, 16, 1.0, 16, 64, 16, 2**21, "shared"))
def hbm_pim(
    chip: "Chip",
    tccd: IntervalOption = 4.0,
    open_row: OpenOption = 28.0,
    load: LoadOption = 46.0,
    drain: DrainOption = 71.0,
    read: ReadOption = 22.0,
    write: WriteOption = 10.0,
    post: PostOption = 4.0,
    bus: BusOption = 16.0,
    row_bits: RowBitsOption = 8192,
    buffer: BufferOption = 2048,
    accumulators: Annotated[
        int, _whole("--accumulators", _COUNT, "Banks that are one unit's, by turns.")
    ] = 8,
    refresh_interval: Annotated[
        float, _time("--refresh-interval", "tREFI, from refresh to refresh.")
    ] = 3900.0,
    refresh_busy: Annotated[float, _time("--refresh-busy", "tRFC, how long a refresh takes.")] = 350.0,
) -> "Hardware":
    """Samsung HBM-PIM: units beside the banks of DRAM whose lanes the host adds up, as in hbm-pim.

    A bank is one of the accumulators of a unit, which take turns.

    Example:

      overlapim hw derive hbm-pim --channels 64 --out chip.yaml
    """
    from hw.derive.nearbank import HbmPim, NearBank, hbm_pim

    timing = NearBank(tccd, open_row, load, drain, read, write, post, bus, row_bits, buffer)
    return hbm_pim(chip, timing, HbmPim(accumulators, refresh_interval, refresh_busy))


@technology(Given("aim", 16, 16, 0.5, 32, 16, 16, 2**24, "shared"))
def aim(
    chip: "Chip",
    tccd: IntervalOption = 1.0,
    open_row: OpenOption = 50.0,
    load: LoadOption = 26.0,
    drain: DrainOption = 26.0,
    read: ReadOption = 1.0,
    write: WriteOption = 3.0,
    post: PostOption = 43.0,
    bus: BusOption = 32.0,
    row_bits: RowBitsOption = 16384,
    buffer: BufferOption = 16384,
    exchange: Annotated[
        float, _time("--exchange", "Results of a channel, read and written to another.")
    ] = 9.5,
) -> "Hardware":
    """SK hynix AiM: units beside the banks of DRAM that add up their lanes in a tree, as in gddr6-aim.

    Example:

      overlapim hw derive aim --channels 2 --out chip.yaml
    """
    from hw.derive.nearbank import NearBank, aim

    timing = NearBank(tccd, open_row, load, drain, read, write, post, bus, row_bits, buffer)
    return aim(chip, timing, exchange)
