"""Records as JSON."""

from __future__ import annotations


def to_json(data: object) -> str:
    """Return data as the text of JSON; what is no finite number becomes null."""
    import pydantic_core

    return pydantic_core.to_json(data, indent=2, inf_nan_mode="null").decode()
