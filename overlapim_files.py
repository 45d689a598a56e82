"""Reading and writing the project's YAML files: limits, line numbers and one-line errors.

The only thing that hardware, networks and solutions have in common.
"""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says where, what and what to do."""


def nearest(word: str, known: list[str]) -> str:
    """Return ``; did you mean 'X'?`` for the closest known word, or the list of all of them."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(known)}"


class FileModel(BaseModel):
    """A frozen record that stands in a file: no conversions, and unknown keys are errors with a hint."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        names = {*known, *cls.model_fields}
        for key in data:
            if key not in names:
                raise PydanticCustomError(
                    "unknown_key", "unknown key '{key}'{hint}", {"key": str(key), "hint": nearest(str(key), known)}
                )
        return data
