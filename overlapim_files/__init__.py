"""Reading and writing the project's YAML files: limits, line numbers and one-line errors.

A file is checked in steps, each of which can trust the one before. `disk` reads its text, `plain_yaml` makes
plain data of it, and `loading` has pydantic make a record of that, of a class as in `model`. `wording` says
what is wrong, with `errors`. `dumping` makes text of a record, and `disk` writes it. `templates` is for other
programs' files, which may include each other.
"""

from overlapim_files.disk import looks_like_path, remove_unfinished, write_bytes, write_parts, write_text
from overlapim_files.dumping import digest, dump
from overlapim_files.errors import InputError, nearest, shorten, unknown
from overlapim_files.loading import (
    LIST,
    Document,
    Located,
    in_words,
    load,
    load_document,
    load_json,
    load_located,
    parse,
    parse_located,
)
from overlapim_files.model import FileModel, Step, fault

__all__ = [
    "LIST",
    "Document",
    "FileModel",
    "InputError",
    "Located",
    "Step",
    "digest",
    "dump",
    "fault",
    "in_words",
    "load",
    "load_document",
    "load_json",
    "load_located",
    "looks_like_path",
    "nearest",
    "parse",
    "parse_located",
    "remove_unfinished",
    "shorten",
    "unknown",
    "write_bytes",
    "write_parts",
    "write_text",
]
