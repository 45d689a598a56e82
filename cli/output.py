"""The directory of results: that it can be written to is made sure of before the work begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from overlapim_files import InputError, write_text


@contextmanager
def output_directory(path: Path | None) -> Iterator[None]:
    """Make a directory and try to write there; what was made is removed again if the work fails.

    Raises
    ------
    InputError
        if the directory cannot be made or nothing can be written there.
    """
    made: list[Path] = []
    try:
        if path is not None:
            _make(path, made)
            _try(path / ".overlapim-try")
        yield
    except BaseException:
        for directory in reversed(made):
            with suppress(OSError):
                directory.rmdir()
        raise


def _make(path: Path, made: list[Path]) -> None:
    """Make a directory with those above it and note which ones are new."""
    try:
        missing = [p for p in (path, *path.parents) if not p.is_dir()]
        for directory in reversed(missing):
            directory.mkdir()
            made.append(directory)
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise InputError(f"--out: {path} cannot be made a directory: {reason}") from None
    except ValueError:
        raise InputError("--out: not a valid name of a directory") from None


def _try(file: Path) -> None:
    try:
        write_text(file, "")
        file.unlink()
    except InputError as error:
        raise InputError(f"--out: {error}") from None
