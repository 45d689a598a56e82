"""The pages for readers: what they show is what commands print, and what they name is there.

docs/architecture.md, "Documentation", says how console blocks are written.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

import overlapim

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SLOW = "<!-- slow -->"
CHECKER = doctest.OutputChecker()


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt().parse(page.read_text())


def _is_slow(tokens: list[Token], place: int) -> bool:
    return place > 0 and tokens[place - 1].content.strip() == SLOW


def _blocks(page: Path, slow: bool) -> Iterator[Token]:
    """Return the fenced blocks of a page in their order, with the slow ones or without."""
    tokens = _tokens(page)
    for place, token in enumerate(tokens):
        if token.type == "fence" and (slow or not _is_slow(tokens, place)):
            yield token


def _session(text: str) -> list[tuple[str, str]]:
    """Return the commands of a console block, each with the output that is shown for it."""
    before, *parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    assert not before, "a console block begins with a command"
    return list(zip(parts[::2], parts[1::2], strict=True))


def _printed(command: str, folder: Path) -> str:
    """Return what a command prints on standard output and, if it fails, on standard error."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, shell=True, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    output = done.stdout + (done.stderr if done.returncode else "")
    return "".join(f"{line.rstrip()}\n" for line in output.splitlines())


def _differences(block: Token, folder: Path) -> Iterator[str]:
    assert block.map is not None
    for command, shown in _session(block.content):
        example = doctest.Example(command, shown)
        printed = _printed(command, folder)
        if not CHECKER.check_output(example.want, printed, doctest.ELLIPSIS):
            difference = CHECKER.output_difference(example, printed, doctest.REPORT_NDIFF)
            yield f"line {block.map[0] + 1}: $ {command}\n{difference}"


def _run(page: Path, folder: Path, slow: bool) -> None:
    """Write the files that a page shows, run its commands and compare what they print."""
    (folder / "docs").symlink_to(ROOT / "docs")
    differences = []
    for block in _blocks(page, slow):
        if title := re.search(r'title="([^"]+)"', block.info):
            (folder / title[1]).write_text(block.content)
        if block.info.split(" ")[0] == "console":
            differences += _differences(block, folder)
    assert not differences, "\n".join(differences)


def _with_console(slow: bool) -> list[Path]:
    """Return the pages with console blocks; those of them with slow ones, if these are asked for."""
    found = []
    for page in PAGES:
        tokens = _tokens(page)
        blocks = [place for place, token in enumerate(tokens) if token.info.startswith("console")]
        if any(_is_slow(tokens, place) == slow for place in blocks):
            found.append(page)
    return found


@pytest.mark.parametrize("page", _with_console(slow=False), ids=lambda page: page.name)
def test_commands_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    _run(page, tmp_path, slow=False)


@pytest.mark.slow
@pytest.mark.parametrize("page", _with_console(slow=True), ids=lambda page: page.name)
def test_slow_commands_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    _run(page, tmp_path, slow=True)


def test_a_wrong_figure_is_noticed(tmp_path: Path) -> None:
    (block,) = MarkdownIt().parse("```console\n$ echo 12 of 30 s\n12 of ... s\n$ echo 12\n13\n```\n")
    (difference,) = _differences(block, tmp_path)
    assert difference.startswith("line 1: $ echo 12\n")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_only_console_blocks_show_commands(page: Path) -> None:
    for block in _blocks(page, slow=True):
        assert block.info.startswith("console") or not re.search(r"^\$ ", block.content, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_are_there(page: Path) -> None:
    text = page.read_text()
    named = re.findall(r"`((?:solver|cli|models|hw|overlapim_files|tests|docs)/[a-z\d_./-]*)`", text)
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    missing = [name for name in named if not (ROOT / name).exists()]
    missing += [name for name in linked if not (page.parent / name).exists()]
    assert not missing


def test_the_reference_has_every_public_name() -> None:
    text = (ROOT / "docs/api.md").read_text()
    assert set(re.findall(r"^::: overlapim\.(\w+)$", text, re.MULTILINE)) == set(overlapim.__all__)


def test_the_page_of_methods_has_every_method() -> None:
    text = (ROOT / "docs/search.md").read_text()
    assert all(f"| `{method}` |" in text for method in overlapim.METHODS)
