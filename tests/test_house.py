"""Each name means one thing, each room says what it is for, and nothing looks up: read from the sources."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("solver", "models", "hw", "cli")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))

AT_THE_ROOT = {
    "__init__",
    "bank_list",
    "draft",
    "front",
    "limits",
    "memory",
    "methods",
    "reference",
    "run",
    "solution",
    "solve",
    "stop",
    "versions",
}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def public_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (kind, name) of the public classes, functions and type aliases of a module."""
    for node in tree(path).body:
        if isinstance(node, ast.ClassDef):
            yield "class", node.name
        elif isinstance(node, ast.FunctionDef):
            yield "function", node.name
        elif isinstance(node, ast.Assign) and not isinstance(node.value, ast.Call):
            names = (target.id for target in node.targets if isinstance(target, ast.Name))
            yield from (("alias", name) for name in names if name[0].isupper() and not name.isupper())


def defined_twice() -> dict[str, list[str]]:
    """Return what two modules define: of functions those within solver/, of classes and aliases all."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        module = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for kind, name in public_names(path):
            if not name.startswith("_") and (kind != "function" or module.startswith("solver.")):
                found[name].append(module)
    return {name: modules for name, modules in found.items() if len(modules) > 1}


def test_a_name_means_one_thing() -> None:
    assert not defined_twice()


@pytest.mark.parametrize("path", [x for x in FILES if x.name == "__init__.py"], ids=lambda x: x.parent.name)
def test_every_package_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree(path))


def test_every_folder_of_sources_is_a_package() -> None:
    assert all((path.parent / "__init__.py").exists() for path in FILES)


def test_the_front_door_of_the_solver_is_small() -> None:
    modules = {path.stem for path in (ROOT / "solver").glob("*.py")}
    packages = {path.parent.name for path in (ROOT / "solver").glob("*/__init__.py")}
    assert modules | (packages & AT_THE_ROOT) == AT_THE_ROOT


# The contracts of import-linter can be broken

DOWN = "Imports go down only"
BELOW = "Rooms of the solver know only those below them"
APART = "Reference shares only mappings with closed forms"
BLIND = "Nothing that decides knows the reference"

BROKEN = [
    ("models/layer.py", "hw.hardware", DOWN),
    ("hw/hardware.py", "models.layer", DOWN),
    ("models/layer.py", "solver.stop", DOWN),
    ("solver/stop.py", "cli.output", DOWN),
    ("overlapim_files/errors.py", "hw.hardware", DOWN),
    ("solver/search/state.py", "solver.cpsat.packing", BELOW),
    ("solver/timing/need.py", "solver.maxplus.lags", BELOW),
    ("solver/reference.py", "solver.timing.profile", APART),
    ("solver/reference.py", "solver.search.state", APART),
    ("solver/timing/need.py", "solver.reference", BLIND),
    ("solver/bound/reading.py", "solver.reference", BLIND),
]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the sources."""
    folder = tmp_path_factory.mktemp("house")
    for room in (*ROOMS, "overlapim_files"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def linted(folder: Path) -> str:
    """Return what import-linter says of a folder."""
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True).stdout


def test_every_contract_is_kept(copy: Path) -> None:
    said = linted(copy)
    assert all(f"{contract} KEPT" in said for contract in (DOWN, BELOW, APART, BLIND)), said
    assert " 0 broken." in said


@pytest.mark.parametrize(("file", "module", "contract"), BROKEN)
def test_every_contract_can_be_broken(file: str, module: str, contract: str, copy: Path) -> None:
    path = copy / file
    source = path.read_text()
    try:
        path.write_text(f"{source}\nimport {module}\n")
        assert f"{contract} BROKEN" in linted(copy)
    finally:
        path.write_text(source)
