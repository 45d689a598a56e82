"""Other programs' YAML: inclusions, names of values, anchors and merge keys, within bounds."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overlapim_files import InputError
from overlapim_files.templates import parse_template

BASE = """shared: &shared
  size: {rows: 4, columns: 5}
  count: 2
"""


def filled(text: str, path: Path, **values: int) -> Any:
    return parse_template(text, path, values)[1]


def failure(text: str, path: Path) -> str:
    with pytest.raises(InputError) as error:
        filled(text, path)
    assert str(error.value).isprintable()
    return str(error.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where a file would be whose parent folder has something to include."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "layers").mkdir()
    return tmp_path / "layers" / "one.yaml"


def test_what_is_included_can_be_taken_over_and_changed(file: Path) -> None:
    text = "{{include_text('../base.yaml')}} # shared\nown:\n  <<<: *shared\n  size: {rows: 9}\n"
    assert filled(text, file)["own"] == {"size": {"rows": 9, "columns": 5}, "count": 2}
    assert filled(text.replace("<<<", "<<"), file)["own"] == {"size": {"rows": 9}, "count": 2}


def test_lines_are_those_of_the_file_not_of_what_it_includes(file: Path) -> None:
    text = "{{include_text('../base.yaml')}}\nown:\n  count: 1\n  count: 2\n"
    assert failure(text, file).startswith(f"{file}:4: the key 'count' is given twice")
    text = "{{include_text('../base.yaml')}}\nown:\n  count: [\n"
    assert failure(text, file).startswith(f"{file}:4: not valid YAML")
    assert failure("{{include_text('../base.yaml')}}\nown: *other\n", file).startswith(f"{file}:2: not valid")
    root, data, _ = parse_template("{{include_text('../base.yaml')}}\n\nown: {<<<: *shared}\n", file, {})
    assert data["own"]["count"] == 2
    taken = next(value for key, value in root.value if key.value == "own")
    assert {key.start_mark.line for key, _ in taken.value} == {2}


def test_names_have_values_or_defaults(file: Path) -> None:
    text = "{% set N = N | default(3) %}\nn: {{N}}\nm: {{ M }}  # of {{nothing}}\nplain: 1 # {{N}}\n"
    assert filled(text, file, M=5) == {"n": 3, "m": 5, "plain": 1}
    assert filled(text, file, M=5, N=7)["n"] == 7
    assert failure(text, file).startswith(f"{file}:3: M has no value; give it with --dim M=1")


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join([f'*{p}'] * 9)}]\n" for p, c in zip("abcdefgh", "bcdefghi", strict=True)
)
WRONG = {
    "laughs": (LAUGHS, "more than 32768 values more, once anchors are filled in"),
    "itself": ("a: &a {b: *a}", "nested more than 40 deep, once anchors"),
    "merge of itself": ("a: &a\n  <<<: *a\n", "nested more than 40 deep, once anchors"),
    "merge of a number": ("a: &a 3\nb: {<<: *a}", ":2: a merge key takes mappings"),
    "no anchor": ("a: *b", ":1: not valid YAML: found undefined alias"),
    "tag": ("a: !!python/object/apply:os.system [ls]", ":1: tags such as"),
    "code": ("{% for i in range(9) %}\na: 1\n{% endfor %}", ":1: {% for i in range(9) %}: of templates only"),
    "call": ("a: {{open('x')}}", ":1: {{open('x')}}: of templates only"),
    "absolute": ("{{include_text('/etc/base.yaml')}}", ":1: a relative path that ends in .yaml"),
    "no YAML": ("{{include_text('../base.txt')}}", ":1: a relative path that ends in .yaml"),
    "missing": ("{{include_text('nothing.yaml')}}", "nothing.yaml: cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_filled_in(case: str, file: Path) -> None:
    text, expected = WRONG[case]
    started = time.monotonic()
    assert expected in failure(text, file)
    assert time.monotonic() - started < 5


def test_inclusions_end(file: Path) -> None:
    file.write_text("{{include_text('one.yaml')}}\n")
    assert "one.yaml:1: includes itself" in failure("{{include_text('one.yaml')}}", file.parent / "two.yaml")
    (file.parent / "a.yaml").write_text("{{include_text('b.yaml')}}\n" * 9)
    (file.parent / "b.yaml").write_text("{{include_text('c.yaml')}}\n" * 9)
    (file.parent / "c.yaml").write_text("# nothing\n")
    assert "or more than 64 files" in failure("{{include_text('a.yaml')}}", file)


KEYS = st.sampled_from("abc")
TREES = st.recursive(st.integers(0, 9), lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=12)
MAPPINGS = st.dictionaries(KEYS, TREES, max_size=3)


@given(MAPPINGS, MAPPINGS)
def test_merging_is_what_the_definition_says(own: dict[str, Any], base: dict[str, Any]) -> None:
    flow = {"default_flow_style": True, "width": 10_000}
    for key, merged in (("<<", {**base, **own}), ("<<<", deep(base, own))):
        inner = yaml.safe_dump(own, **flow).strip()[1:-1]
        text = f"base: &base {yaml.safe_dump(base, **flow)}own: {{{key}: *base, {inner}}}\n"
        assert filled(text, Path("x.yaml"))["own"] == merged


def deep(base: Any, own: Any) -> Any:
    """Overwrite, in a copy, what both have; mappings are gone into."""
    result = copy.deepcopy(base)
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = deep(result[key], value) if both else value
    return result
