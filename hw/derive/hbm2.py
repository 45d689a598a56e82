"""Energies of HBM2 in pJ, and what they come to on a chip."""

from __future__ import annotations

from hw.derive.chip import Chip, Number, picojoules

ROW_BITS = 8192
ROW_PJ = 828.0
"""To open and close a row: 1.2 V and IDD0, IDD3N, IDD2N = 65, 55, 40 mA (PIMeval, pimParamsHBMDram)."""
LOGIC_PJ = 0.007
"""A step of logic in a lane (PIMeval, getPjLogic)."""
WRITE_PJ, READ_PJ = 2.09, 1.57
"""A bit written and read over the pins (DRAMsim3, configuration.cc and HBM2_8Gb_x128.ini)."""
GLOBAL_IO_PJ, BANK_GROUP_PJ = 1.23, 1.01
"""A bit from a column decoder to the global IO, and to the bank group (AttAcc, src/config.py)."""
STANDBY_MW = 66.0
"""All the banks behind 128 pins, IDD3N at 1.2 V (PIMeval)."""

WRITTEN = Number(WRITE_PJ, "a bit written over the pins (DRAMsim3)")
READ = Number(READ_PJ, "a bit read over the pins (DRAMsim3)")


def rows_opened(chip: Chip, rows: int) -> Number:
    """Return the energy of so many rows of a bank, opened and closed."""
    each = ROW_PJ * chip.columns_per_bank / ROW_BITS
    return picojoules(rows * each, f"{rows} x {each:g} pJ to open and close a row (PIMeval)")


def from_bank_to_bank() -> Number:
    """Return the energy of a bit between banks of a channel."""
    return picojoules(2 * GLOBAL_IO_PJ, "to the global IO and back, 2 * 1.23 pJ a bit (AttAcc)")


def over_the_pins_twice() -> Number:
    """Return the energy of a bit read from one channel and written to another."""
    return picojoules(READ_PJ + WRITE_PJ, "read and written over the pins, 1.57 + 2.09 pJ a bit (DRAMsim3)")


def standby(banks: int) -> Number:
    """Return the power of one of the banks that share 128 pins."""
    return picojoules(STANDBY_MW / banks, f"66 mW of the banks behind 128 pins (PIMeval), over {banks}")
