"""The technologies by name: what can be given of each, within which limits, and what holds unless given.

`overlapim hw derive` and the specifications of sweeps take their options from here. Nothing is imported
before a chip is derived, so that help is there at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hw.derive.chip import Chip
    from hw.derive.nearbank import NearBank
    from hw.hardware import Hardware

OptionValues = Mapping[str, Any]
"""The value of each option of a technology."""


@dataclass(frozen=True)
class Whole:
    """A whole number within limits."""

    low: int
    high: int

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        whole = isinstance(value, int) and not isinstance(value, bool)
        right = whole and self.low <= value <= self.high  # type: ignore[operator]
        return "" if right else f"must be an integer from {self.low} to {self.high}, not {value!r}"


@dataclass(frozen=True)
class Quantity:
    """A number of a unit within limits."""

    unit: str
    low: float
    high: float

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        number = isinstance(value, int | float) and not isinstance(value, bool)
        right = number and self.low <= value <= self.high  # type: ignore[operator]
        return (
            "" if right else f"must be a number of {self.unit} from {self.low} to {self.high}, not {value!r}"
        )


@dataclass(frozen=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        return "" if value in self.words else f"must be {' or '.join(self.words)}, not {value!r}"


@dataclass(frozen=True)
class Words:
    """Text that is not empty."""

    longest: int

    def problem(self, value: object) -> str:
        """Return what is wrong with a value; empty if nothing is."""
        right = isinstance(value, str) and 1 <= len(value) <= self.longest
        return "" if right else f"must be text of 1 to {self.longest} characters, not {value!r}"


@dataclass(frozen=True)
class TechnologyOption:
    """What can be given of a technology, what it means, and what it is unless given."""

    name: str
    default: int | float | str
    limits: Whole | Quantity | OneOf | Words
    meaning: str


@dataclass(frozen=True)
class Technology:
    """A technology: what can be given of it, and how a chip follows from that.

    Attributes
    ----------
    about : what it is, in paragraphs.
    own : the options that others need not have.
    derive : returns the chip from what all technologies are given, and from the values of all options.
    """

    name: str
    about: str
    shared: tuple[TechnologyOption, ...]
    own: tuple[TechnologyOption, ...]
    derive: Callable[[Chip, OptionValues], Hardware]

    @property
    def options(self) -> dict[str, TechnologyOption]:
        """All options by name."""
        return {option.name: option for option in (*self.shared, *self.own)}

    def hardware(self, given: OptionValues) -> Hardware:
        """Return the chip for some options, which are within their limits; the others have their defaults.

        Raises
        ------
        InputError
            if nothing can be derived from them; says why.
        """
        values = {option.name: given.get(option.name, option.default) for option in self.options.values()}
        return self.derive(_chip(values), values)


def _chip(given: OptionValues) -> Chip:
    """Return what is given of a chip whatever the technology."""
    from hw.derive.chip import Chip
    from hw.hardware import BitWidths

    return Chip(
        name=given["name"],
        clock_ns=given["clock"],
        channels=given["channels"],
        banks_per_channel=given["banks"],
        columns_per_bank=given["columns"],
        rows_per_bank=given["rows"],
        weights=given["weights"],
        bits=BitWidths(activation=given["bits"], weight=given["bits"], accumulator=given["accumulator"]),
    )


_BITS = Whole(1, 1024)
_COUNT = Whole(1, 2**20)
_NS = Quantity("nanoseconds", 0.001, 1_000_000)
_WEIGHTS = OneOf(("static", "shared", "reload"))


def _shared(
    name: str,
    bits: int,
    accumulator: int,
    clock: float,
    channels: int,
    banks: int,
    columns: int,
    rows: int,
    weights: str,
) -> tuple[TechnologyOption, ...]:
    """Return the options that all technologies have; the defaults are those of a built-in chip."""
    kinds = "Whether a bank serves one layer only, or several whose weights stay in it or are loaded anew."
    return (
        TechnologyOption("name", name, Words(200), "As reports call it."),
        TechnologyOption("bits", bits, _BITS, "Bits of activations and weights."),
        TechnologyOption("accumulator", accumulator, _BITS, "Bits of an accumulator."),
        TechnologyOption("clock", clock, _NS, "One cycle, such as tCK."),
        TechnologyOption("channels", channels, _COUNT, "Channels of the chip."),
        TechnologyOption("banks", banks, _COUNT, "Banks of each channel."),
        TechnologyOption("columns", columns, _COUNT, "Lanes of each bank."),
        TechnologyOption("rows", rows, Whole(1, 2**40), "Bits under each lane."),
        TechnologyOption("weights", weights, _WEIGHTS, kinds),
    )


def _bus(default: float) -> TechnologyOption:
    meaning = "Bandwidth of the bus of one channel."
    return TechnologyOption("bus", default, Quantity("GB/s", 0.001, 1_000_000), meaning)


_ROW_COPY = TechnologyOption("row_copy", 125.0, _NS, "Copying one row from bank to bank.")


def _bitsimd(chip: Chip, given: OptionValues) -> Hardware:
    from hw.derive.bitserial import BitSimdTiming, Rows, bitsimd

    timing = BitSimdTiming(given["tras"], given["trp"], given["logic"])
    return bitsimd(chip, timing, Rows(given["row_copy"], given["bus"]))


BITSIMD = Technology(
    "bitsimd",
    "BitSIMD-V: digital logic at the sense amplifiers of DRAM, as in hbm2-bitsimd.",
    _shared("bitsimd", 8, 32, 1.0, 8, 16, 8192, 32768, "shared"),
    (
        TechnologyOption("tras", 34.0, _NS, "tRAS, from activating a row to closing it."),
        TechnologyOption("trp", 14.0, _NS, "tRP, from closing a row to activating another."),
        TechnologyOption("logic", 1.0, _NS, "A step of the logic, such as tCCD_S."),
        _ROW_COPY,
        _bus(32.0),
    ),
    _bitsimd,
)


def _simdram(chip: Chip, given: OptionValues) -> Hardware:
    from hw.derive.bitserial import Rows, simdram

    return simdram(chip, given["command"], Rows(given["row_copy"], given["bus"]))


SIMDRAM = Technology(
    "simdram",
    "SIMDRAM, MIMDRAM: majority and NOT on whole rows of DRAM, as in hbm2-simdram.",
    _shared("simdram", 8, 32, 1.0, 8, 16, 8192, 32768, "shared"),
    (
        TechnologyOption("command", 45.0, _NS, "One command on rows, AP or AAP."),
        _ROW_COPY,
        _bus(32.0),
    ),
    _simdram,
)


def _aritpim(chip: Chip, given: OptionValues) -> Hardware:
    from hw.derive.reram import aritpim

    return aritpim(chip, given["variant"], given["between_channels"])


ARITPIM = Technology(
    "aritpim",
    "AritPIM: stateful logic in ReRAM crossbars, for 8, 16, 32 or 64 bits, as in reram-aritpim.\n\n"
    "--rows are the cells of a lane less those in which the arithmetic works: 47 for a product of 8 bits, "
    "101 for an addition of 32.",
    _shared("aritpim", 8, 32, 3.33, 32, 256, 1024, 876, "static"),
    (
        TechnologyOption(
            "variant",
            "serial",
            OneOf(("serial", "parallel")),
            "Bit by bit, or all bits at once in crossbars cut into partitions.",
        ),
        TechnologyOption(
            "between_channels", 64, Whole(1, 2**40), "Bits per cycle and bank between channels."
        ),
    ),
    _aritpim,
)


def _near_bank(
    tccd: float,
    open_row: float,
    load: float,
    drain: float,
    read: float,
    write: float,
    post: float,
    bus: float,
    row_bits: int,
    buffer: int,
) -> tuple[TechnologyOption, ...]:
    """Return the options of units beside the banks of DRAM."""
    return (
        TechnologyOption("tccd", tccd, _NS, "tCCD, from one multiply-accumulate command to the next."),
        TechnologyOption("open", open_row, _NS, "Closing a row of weights and opening the next."),
        TechnologyOption("load", load, _NS, "What a load of inputs costs beside its data."),
        TechnologyOption("drain", drain, _NS, "What a drain of results costs beside its data."),
        TechnologyOption("read", read, _NS, "From a read to the end of its first burst."),
        TechnologyOption("write", write, _NS, "From a write to the end of its first burst."),
        TechnologyOption("post", post, _NS, "One post-operation."),
        _bus(bus),
        TechnologyOption("row_bits", row_bits, Whole(1, 2**30), "Bits of a row."),
        TechnologyOption("buffer", buffer, Whole(1, 2**40), "Bits of inputs that a unit holds."),
    )


def _near_bank_timing(given: OptionValues) -> NearBank:
    from hw.derive.nearbank import NearBank

    return NearBank(
        tccd_ns=given["tccd"],
        open_ns=given["open"],
        load_ns=given["load"],
        drain_ns=given["drain"],
        read_ns=given["read"],
        write_ns=given["write"],
        post_ns=given["post"],
        channel_gb_per_s=given["bus"],
        row_bits=given["row_bits"],
        buffer_bits=given["buffer"],
    )


def _hbm_pim(chip: Chip, given: OptionValues) -> Hardware:
    from hw.derive.nearbank import HbmPim, hbm_pim

    own = HbmPim(given["accumulators"], given["refresh_interval"], given["refresh_busy"])
    return hbm_pim(chip, _near_bank_timing(given), own)


HBM_PIM = Technology(
    "hbm-pim",
    "Samsung HBM-PIM: units beside the banks of DRAM whose lanes the host adds up, as in hbm-pim.\n\n"
    "A bank is one of the accumulators of a unit, which take turns.",
    _shared("hbm-pim", 16, 16, 1.0, 16, 64, 16, 2**21, "shared"),
    (
        *_near_bank(4.0, 28.0, 46.0, 71.0, 22.0, 10.0, 4.0, 16.0, 8192, 2048),
        TechnologyOption("accumulators", 8, _COUNT, "Banks that are one unit's, by turns."),
        TechnologyOption("refresh_interval", 3900.0, _NS, "tREFI, from refresh to refresh."),
        TechnologyOption("refresh_busy", 350.0, _NS, "tRFC, how long a refresh takes."),
    ),
    _hbm_pim,
)


def _aim(chip: Chip, given: OptionValues) -> Hardware:
    from hw.derive.nearbank import aim

    return aim(chip, _near_bank_timing(given), given["exchange"])


AIM = Technology(
    "aim",
    "SK hynix AiM: units beside the banks of DRAM that add up their lanes in a tree, as in gddr6-aim.",
    _shared("aim", 16, 16, 0.5, 32, 16, 16, 2**24, "shared"),
    (
        *_near_bank(1.0, 50.0, 26.0, 26.0, 1.0, 3.0, 43.0, 32.0, 16384, 16384),
        TechnologyOption("exchange", 9.5, _NS, "Results of a channel, read and written to another."),
    ),
    _aim,
)

TECHNOLOGIES = {x.name: x for x in (BITSIMD, SIMDRAM, ARITPIM, HBM_PIM, AIM)}
