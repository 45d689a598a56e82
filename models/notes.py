"""What importing a file had to decide or to leave out, for people to read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """Something that was not taken over as it stands in the file.

    `widened` says whether more is read than in truth; None if the file does not tell.
    """

    node: str
    operator: str
    text: str
    widened: bool | None = False
