"""Builds the compiled core, `solver/core`, where there is a C++ compiler; without one all is Python."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CustomBuildHook(BuildHookInterface):
    """Adds the extension to a wheel, or leaves it beside its sources for an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build it; a failure is a warning, since everything runs without it."""
        if self.target_name != "wheel":
            return
        room = Path(self.root, "solver", "core")
        self.scratch = tempfile.mkdtemp()
        try:
            built = compiled(room / "native.cpp", Path(self.scratch))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.app.display_warning(f"the compiled core was not built, Python does its work: {error}")
            return
        if version == "editable":
            shutil.copy(built, room)
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        build_data["force_include"][str(built)] = f"solver/core/{built.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Leave nothing behind."""
        if self.target_name == "wheel":
            shutil.rmtree(self.scratch, ignore_errors=True)


def compiled(source: Path, scratch: Path) -> Path:
    """Compile the extension and return the library."""
    from pybind11.setup_helpers import Pybind11Extension, build_ext
    from setuptools import Distribution

    extension = Pybind11Extension("native", [str(source)], cxx_std=17, extra_compile_args=["-O2"])
    command = build_ext(Distribution({"name": "native", "ext_modules": [extension]}))
    command.build_lib, command.build_temp = str(scratch), str(scratch / "objects")
    command.ensure_finalized()
    command.run()
    return Path(command.get_ext_fullpath("native"))
