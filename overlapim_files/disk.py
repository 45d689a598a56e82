"""Regular files: read whole up to a limit, and written so that nobody finds half of one."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from overlapim_files.errors import InputError

MAX_BYTES = 64 * 2**20

_UNFINISHED = ".overlapim-"
"""What the names of files begin with that are not complete yet."""

_OPENED = Path("/proc/self/fd")
"""Where the files that this process has opened have a name, on Linux."""


def looks_like_path(name: str) -> bool:
    """Return whether a word names a file rather than something built in: by its looks, or as there is one."""
    if not name:
        return False
    if re.search(r"[/\\]|\.(ya?ml|json)$", name):
        return True
    with contextlib.suppress(OSError, ValueError):
        return Path(name).exists()
    return False


def read_text(path: Path) -> str:
    """Return the text of a regular file; looks before it opens, because opening a pipe would wait."""
    with _plain_errors(path, "read"):
        _check_regular(path, path.stat())
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    if not raw.strip():
        raise InputError(f"{path}: the file is empty")
    if len(raw) > MAX_BYTES:
        raise InputError(f"{path}: larger than {MAX_BYTES // 2**20} MiB, the most that is read")
    return _decode(raw, path)


def _decode(raw: bytes, path: Path) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}:{line}: not a text file: this is not UTF-8") from None


def write_text(path: str | Path, text: str) -> None:
    """Write a file as `write_parts` does."""
    write_parts(path, [text])


def write_parts(path: str | Path, parts: Iterable[str]) -> None:
    """Write a file so that whoever reads it finds the old text or the new one, never half of it.

    Of a name of a file that is no text, a byte that is none is written as an escape.

    Raises
    ------
    InputError
        if the directory is missing or cannot be written to, or something else than a file has the name.
    """
    with (
        _unfinished(Path(path)) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(parts)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file that is no text as `write_parts` does."""
    with _unfinished(Path(path)) as temporary:
        temporary.write_bytes(data)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed processes have left of files in a folder to which no other process writes."""
    for file in folder.glob(f"{_UNFINISHED}*"):
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[Path]:
    """Give the path of a file that takes the place of the one at `path` once it is complete."""
    with _plain_errors(path, "written"):
        target = path.resolve()
        if target.exists():
            _check_regular(path, target.stat())
        temporary = target.with_name(f"{_UNFINISHED}{os.getpid()}-{secrets.token_hex(4)}")
        place = _nameless(target.parent)
        try:
            yield temporary if place is None else _OPENED / str(place)
            if place is not None:
                os.link(_OPENED / str(place), temporary, src_dir_fd=place, follow_symlinks=True)
            temporary.replace(target)
        finally:
            if place is not None:
                os.close(place)
            with contextlib.suppress(OSError):
                temporary.unlink()


def _nameless(folder: Path) -> int | None:
    """Open a file of no name, which is gone if this process is killed; None where there are no such files."""
    if not _OPENED.is_dir():
        return None
    try:
        return os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o666)
    except OSError:
        return None


@contextlib.contextmanager
def _plain_errors(path: Path, done: str) -> Iterator[None]:
    """Say in one line why a file could not be read or written."""
    try:
        yield
    except InputError:
        raise
    except OSError as error:
        reason = (error.strerror or "unknown reason").lower()
        raise InputError(f"{path}: cannot be {done}: {reason}") from None
    except (ValueError, RuntimeError):  # a NUL or a lone surrogate in the path; links in a circle
        raise InputError(f"{path}: cannot be {done}: not a valid file name") from None


def _check_regular(path: Path, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a directory; a file is needed")
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: is a device or a pipe; a regular file is needed")
