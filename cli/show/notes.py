"""Notes on what was not taken over from a network file as it stands there."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from cli.show.console import console, printable
from cli.show.tables import table
from models.notes import Note


def show_notes(notes: Sequence[Note], file: TextIO | None = None) -> None:
    """Print a table of notes, to standard error unless told otherwise; nothing if there are none."""
    rows = table(("node", "operator", "what happened", "reads"), left=("node", "operator", "what happened"))
    for note in notes:
        reads = {True: "more", False: "the same", None: "as guessed"}[note.widened]
        rows.add_row(printable(note.node), printable(note.operator), note.text, reads)
    if notes:
        console(file or sys.stderr).print(rows)
