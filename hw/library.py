"""The chips that come with the program by name, and chips from files."""

from __future__ import annotations

from importlib.resources import files

from hw.hardware import Hardware
from overlapim_files import load, looks_like_path, parse, unknown

_PRESETS = files("hw") / "presets"
_SUFFIX = ".yaml"


def preset_names() -> list[str]:
    """Return the names of the presets."""
    names = (entry.name for entry in _PRESETS.iterdir())
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def load_hardware(name_or_path: str) -> Hardware:
    """Return a preset, or read a hardware file; a preset goes before a file of that name.

    Raises
    ------
    InputError
        if there is no such chip, or if the file is not a valid one.
    """
    if name_or_path in preset_names():
        file = f"{name_or_path}{_SUFFIX}"
        return parse((_PRESETS / file).read_text(encoding="utf-8"), Hardware, file)
    if looks_like_path(name_or_path):
        return load(name_or_path, Hardware)
    raise unknown("preset", name_or_path, preset_names())
