"""The page of promises: every test and every job that it names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/\w+\.py)::(\w+)`", PAGE)))


@pytest.mark.parametrize(("file", "name"), NAMED, ids="::".join)
def test_every_test_that_is_named_is_there(file: str, name: str) -> None:
    defined = {
        node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert name in defined


def test_every_promise_names_a_test() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and "held by" not in line]
    assert len(rows) > 15
    assert not [row for row in rows if not re.search(r"`tests/\w+\.py::\w+`", row)]


def test_every_job_that_is_named_is_there_and_does_what_is_said() -> None:
    jobs = yaml.safe_load((ROOT / ".github/workflows/nightly.yml").read_text())["jobs"]
    named = set(re.findall(r"[Tt]he job `(\w+)`", PAGE))
    assert named == {"hunt"} <= jobs.keys()
    steps = " ".join(step.get("run", "") for step in jobs["hunt"]["steps"])
    for script, count in (("tests/hunt.py", 5000), ("tests/kills.py", 200)):
        assert f"`{script}`" in PAGE and f"{count:,}" in PAGE
        assert re.search(rf"python {script} .*--count {count}\b", steps)
