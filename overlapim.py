"""Overlap-driven mapping of neural networks onto processing-in-memory chips.

>>> import overlapim
>>> network, hardware = overlapim.load_network("toy"), overlapim.load_hardware("toy")
>>> result = overlapim.solve(network, hardware, method="layerwise")
>>> result.latency <= result.sequential
True
"""

from importlib.metadata import version

from hw.hardware import Hardware
from hw.library import load_hardware
from models.library import load_network
from models.network import Layer, Network, Operand
from models.onnx.load import Imported, import_onnx
from overlapim_files import InputError
from solver.front import Front, FrontPoint, front
from solver.limits import read_limits
from solver.methods import METHODS
from solver.params import Params
from solver.run import Improvement, Observer
from solver.solution import Solution, read_plan, read_verified, verify
from solver.solve import Result, solve
from solver.stop import Stop
from solver.sweep.call import sweep
from solver.sweep.run import SweepObserver, SweepState
from solver.timing.limits import LayerLimits, Limits
from solver.timing.mapping import Loop, Mapping
from solver.timing.objective import Objective

__all__ = [
    "METHODS",
    "Front",
    "FrontPoint",
    "Hardware",
    "Imported",
    "Improvement",
    "InputError",
    "Layer",
    "LayerLimits",
    "Limits",
    "Loop",
    "Mapping",
    "Network",
    "Objective",
    "Observer",
    "Operand",
    "Params",
    "Result",
    "Solution",
    "Stop",
    "SweepObserver",
    "SweepState",
    "front",
    "import_onnx",
    "load_hardware",
    "load_network",
    "read_limits",
    "read_plan",
    "read_verified",
    "solve",
    "sweep",
    "verify",
]

__version__ = version("fast-overlapim")
