"""What the files around the program say of it: one version everywhere, and a citation that is complete."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import overlapim
from cli.main import run

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_command_and_the_module_tell_the_same_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"], 0) == 0
    assert capsys.readouterr().out.startswith(f"overlapim {overlapim.__version__}, ")


def test_the_newest_release_is_the_version_of_the_project() -> None:
    released = re.findall(r"^## \[(\d.*?)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert released[0] == (PROJECT["version"], citation["date-released"].isoformat())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])


def test_every_reference_of_the_citation_says_who_and_where() -> None:
    for reference in yaml.safe_load((ROOT / "CITATION.cff").read_text())["references"]:
        assert {"type", "title", "authors", "journal", "volume"} <= reference.keys()
