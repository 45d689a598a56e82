"""Records that stand in files, and the errors that their validators raise."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from overlapim_files.errors import nearest, shorten

Step = str | int
"""A key of a mapping or the place of an item, on the way to a value."""

FROM_FILE = {"from": "file"}
"""Context of a validation: in a file a field goes by its key alone, not by the name of its attribute."""


def fault(text: str, *at: Step) -> PydanticCustomError:
    """Return the error for a validator to raise; `at` leads from the validated record to the culprit."""
    return PydanticCustomError("fault", "{text}", {"text": text, "at": list(at)})


class FileModel(BaseModel):
    """A frozen record that stands in a file: no conversions, and unknown keys are errors with a hint."""

    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", allow_inf_nan=False, populate_by_name=True
    )

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict):
            return data
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in data:
            if key not in known and (info.context is FROM_FILE or key not in cls.model_fields):
                hint = nearest(str(key), [name for name in known if name not in data] or known)
                text = f"unknown key {shorten(repr(key))}{hint}"
                raise PydanticCustomError("unknown_key", "{text}", {"text": text, "key": str(key)})
        return data
