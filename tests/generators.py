"""Random valid instances, small enough to be simulated, that between them have every feature of the model.

`draw_instance(rng)` is cheap, so that a loop over seeds covers much; `instances()` gives it to hypothesis.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from hw.hardware import Hardware, Level, Weights
from models.network import AXES, DIMS, OUTPUT_DIMS, AxisAccess, Dim, Layer, Network, Operand
from overlapim_files import InputError, dump
from solver.mapspace.pools import Pools
from solver.maxplus.candidates import Candidate
from solver.reference import simulate
from solver.schedule.transform import advance
from solver.search.sequential import sequential
from solver.solution import from_plan, read_verified
from solver.solve import Result
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile, profile
from solver.timing.tiles import innermost_read, tiles
from solver.timing.timeline import order_allowed
from solver.timing.validity import problems

Shape = tuple[int, int, int, int]
Json = dict[str, Any]

MAX_EXTENTS = (3, 8, 7, 7)
MAX_MACS = 400
MAX_STEPS = 900


@dataclass(frozen=True)
class Instance:
    """What the simulator and the evaluator are given; sequences are in the order of the network's layers."""

    network: Network
    hardware: Hardware
    mappings: tuple[Mapping, ...]
    releases: tuple[int, ...]
    orders: tuple[tuple[int, ...] | None, ...]


def draw_instance(rng: random.Random, layers: int | None = None) -> Instance:
    """Draw a network, a chip, and for every layer a valid mapping, a release and perhaps an order."""
    network = draw_network(rng, rng.randint(1, 5) if layers is None else layers)
    hardware = draw_hardware(rng, network)
    mappings = tuple(draw_mapping(rng, layer, hardware) for layer in network.layers)
    late = rng.random() < 0.4
    releases = tuple(rng.choice((0, rng.randint(0, 2000))) if late else 0 for _ in network.layers)
    orders = tuple(_order(rng, *pair, hardware) for pair in zip(network.layers, mappings, strict=True))
    return Instance(network, hardware, mappings, releases, orders)


def instances() -> st.SearchStrategy[Instance]:
    """Return the strategy of all instances.

    They shrink to fewer layers. Shrinking every single choice takes minutes, since each decides how the later
    ones are read.
    """
    return st.builds(_seeded, st.integers(1, 5), st.integers(0, 2**32 - 1))


def _seeded(layers: int, seed: int) -> Instance:
    return draw_instance(random.Random(seed), layers)


# Hardware


def draw_hardware(rng: random.Random, network: Network) -> Hardware:
    """Draw a chip with few banks and small costs; with rows for at least the good mappings of all layers."""

    def cost() -> int:
        return rng.choice((0, rng.randint(0, 9), rng.randint(0, 40)))

    def bandwidth() -> int | float | str:
        return rng.choice((rng.randint(1, 40), rng.randint(1, 40), 0.25, "4/3"))

    bits = {name: rng.randint(1, 9) for name in ("activation", "weight", "accumulator")}
    operands = max(len(layer.operands) for layer in network.layers)
    rows = bits["weight"] * 2**16 + 2 * bits["activation"] * operands + bits["accumulator"]
    if rng.random() < 0.2:
        rows //= 2**7  # Enough for factors that fit exactly, not for every wasteful choice.
    second = _second_version(rng)
    return Hardware.model_validate(
        {
            **second,
            "format": "overlapim/hardware/1",
            "name": "chip",
            "clock_ns": 1.0,
            "channels": rng.randint(1, 3),
            "banks_per_channel": rng.randint(1, 5),
            "columns_per_bank": rng.randint(1, 9),
            "rows_per_bank": rows,
            "weights": rng.choice(("static", "shared", "reload")),
            "bits": bits,
            "cycles": {
                **({"load": cost(), "drain": cost()} if rng.random() < 0.5 else {}),
                **({"open": rng.randint(0, 60)} if "steps_per_row" in second else {}),
                "multiply": rng.randint(1, 9),
                **{name: cost() for name in ("add", "move", "row_write", "post", "transfer")},
            },
            "bits_per_cycle": {name: bandwidth() for name in ("load", "drain", "bank", "channel")},
            "sync_blocks": rng.choice((1, 2, 3, 4, 6, 10, 24, 100, 4096)),
        }
    )


def _second_version(rng: random.Random) -> Json:
    """Draw what a chip may have beside the first version of its file; each of it half of the time."""
    chosen: Json = {}
    if rng.random() < 0.5:
        chosen["steps_per_row"] = rng.choice((1, 2, 3, 4, 8, 30))
    if rng.random() < 0.5:
        levels = rng.sample(("channel", "bank", "column"), rng.randint(1, 3))
        chosen["spread"] = {level: rng.sample(DIMS, rng.randint(2, 8)) for level in levels}
    if rng.random() < 0.5:
        chosen["inputs"] = {"store": "buffer", "buffer_bits": rng.choice((200, 2000, 2**30))}
    if rng.random() < 0.5:
        chosen["reduction"] = "host"
    if rng.random() < 0.5:
        chosen["refresh"] = {"interval_ns": 3900.0, "busy_ns": 350.0}
    return chosen


def draw_solvable(rng: random.Random, most: int, weights: Weights) -> tuple[Network, Hardware]:
    """Draw a network of at most so many layers and a chip that can hold it."""
    while True:
        network = draw_network(rng, rng.randint(1, most))
        hardware = draw_hardware(rng, network).with_weights(weights)
        with suppress(InputError):
            sequential(Pools(Problem(network, hardware)), Stop())
            return network, hardware


def chain(widths: Sequence[int]) -> Network:
    """Return matrix-vector products, each reading the one before it."""
    layers: list[Json] = []
    for i, (read, written) in enumerate(itertools.pairwise(widths)):
        axes = {"ch": {"terms": {"C": 1}}}
        operand = {"from": f"product{i - 1}" if i else "vector", "axes": axes}
        layers.append({"name": f"product{i}", "dims": {"K": written, "C": read}, "operands": [operand]})
    inputs = [{"name": "vector", "shape": [1, widths[0], 1, 1]}]
    return Network.model_validate(
        {"format": "overlapim/network/1", "name": "chain", "inputs": inputs, "layers": layers}
    )


def check_by_simulation(result: Result) -> None:
    """Execute an answer loop by loop, in a way that shares no formula with what has found and checked it."""
    solution, plan = result.solution, result.plan
    orders = [record.order for record in solution.layers.values()]
    simulated = simulate(solution.network, solution.hardware, solution.mappings, plan.releases, orders)
    stated = [solution.layers[layer.name] for layer in solution.network.layers]
    assert [(x.start, x.end) for x in simulated] == [(x.start, x.end) for x in stated]
    assert max(x.end for x in simulated) == result.latency


def begin_early(path: Path) -> None:
    """Let the layers of a solution file begin as early as they can, so that they wait."""
    found, plan = read_verified(path)
    problem = Problem(found.network, found.hardware)
    early = from_plan(problem, advance(problem, plan), found.method, found.seed)
    path.write_text(dump(early))


# Mappings


def _factors(rng: random.Random, bound: int) -> list[int]:
    """Draw factors whose product covers the bound, none of which could be smaller."""
    factors: list[int] = []
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        left = -(-bound // math.prod(factors))
        if left > 2:
            factors.append(rng.randint(2, left - 1))
    factors.append(-(-bound // math.prod(factors)))
    rng.shuffle(factors)
    changed = True
    while changed:
        changed = False
        for i, factor in enumerate(factors):
            others = math.prod(factors) // factor
            least = -(-bound // others)
            changed |= least < factor
            factors[i] = least
    return factors


def draw_mapping(rng: random.Random, layer: Layer, hardware: Hardware) -> Mapping:
    """Draw a valid mapping: any kinds that the chip allows, in any order."""
    while True:
        mapping = _any_mapping(rng, layer, hardware)
        if rng.random() < 0.5:
            mapping = replace(mapping, load=rng.randint(0, innermost_read(layer, mapping)))
        if mapping.product("temporal") <= MAX_STEPS and not problems(layer, mapping, hardware):
            return mapping


def _any_mapping(rng: random.Random, layer: Layer, hardware: Hardware) -> Mapping:
    room: dict[Level, int] = {
        "channel": hardware.channels,
        "bank": hardware.banks_per_channel,
        "column": hardware.columns_per_bank,
    }
    pieces: list[tuple[Dim, int]] = [(d, f) for d in DIMS for f in _factors(rng, layer.bound(d)) if f > 1]
    rng.shuffle(pieces)
    loops = []
    share = rng.choice((0.0, 0.4, 0.7, 1.0))
    for dim, bound in pieces:
        fitting = [kind for kind, left in room.items() if left >= bound and hardware.may_spread(kind, dim)]
        if fitting and rng.random() < share:
            level = rng.choice(fitting)
            room[level] //= bound
            loops.append(Loop(dim, bound, level))
        else:
            loops.append(Loop(dim, bound, "temporal"))
    rng.shuffle(loops)
    if rng.random() < 0.4:
        # Reductions innermost: only then may blocks be permuted.
        loops.sort(key=lambda loop: loop.dim not in OUTPUT_DIMS)
    return Mapping(tuple(loops))


def _order(rng: random.Random, layer: Layer, mapping: Mapping, hardware: Hardware) -> tuple[int, ...] | None:
    if rng.random() < 0.5:
        return None
    profiled = profile(layer, mapping, hardware)
    if not order_allowed(profiled):
        return None
    blocks = list(range(profiled.blocks))
    rng.shuffle(blocks)
    return tuple(blocks)


# Candidates

CandidateLists = list[list[Candidate]]


def draw_candidates(rng: random.Random, problem: Problem, most: int) -> CandidateLists:
    """Draw at most so many candidates for each layer: mappings, some with another order of their blocks."""
    pools = []
    for i, layer in enumerate(problem.layers):
        own = {}
        for _ in range(rng.randint(1, most)):
            mapping = draw_mapping(rng, layer, problem.hardware)
            profile = problem.profile(i, mapping)
            order = list(range(profile.blocks))
            rng.shuffle(order)
            ordered = order_allowed(profile) and profile.blocks > 1 and rng.random() < 0.3
            own[mapping] = Candidate(profile, tuple(order) if ordered else None)
        pools.append(list(own.values()))
    return pools


# Networks


def _own_bits(rng: random.Random) -> dict[str, int]:
    """Draw bits of a layer's own; mostly none."""
    if rng.random() > 0.2:
        return {}
    bits = {key: rng.choice((1, 2, 4, 8, 16)) for key in ("activation", "weight", "accumulator")}
    return bits | {
        key: rng.randint(1, 30) for key in ("multiply", "add", "move", "post") if rng.random() < 0.7
    }


def draw_network(rng: random.Random, layers: int) -> Network:
    """Draw layers that mostly read each other; fewer of the same generator are the first ones of more."""
    return Network.model_validate(_Builder(rng).build(layers))


class _Builder:
    """Adds layers one by one, each reading tensors that are there already."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.inputs: list[tuple[str, Shape]] = []
        self.layers: list[Json] = []
        self.tensors: list[tuple[str, Shape]] = []

    def build(self, count: int) -> Json:
        kinds = (
            self.convolution,
            self.convolution,
            self.elementwise,
            self.concatenation,
            self.scores,
            self.values,
            self.dense,
            self.dense,
            self.dense_parts,
            self.reduction,
            self.product,
        )
        tries = 0
        while len(self.layers) < count:
            tries += 1
            layer = self.rng.choice(kinds)() if tries < 60 else self.product()
            if layer is not None:
                layer["operands"] += self.residuals(layer["dims"]) if self.flip(0.4) else []
                self.add(layer)
        layers = list(self.layers)
        if self.rng.random() < 0.2:
            self.rng.shuffle(layers)
        inputs = [{"name": name, "shape": list(shape)} for name, shape in self.inputs]
        return {"format": "overlapim/network/1", "name": "random", "inputs": inputs, "layers": layers}

    def add(self, layer: Json) -> None:
        bounds = [layer["dims"].get(dim, 1) for dim in DIMS]
        n, g, k, p, q = bounds[:5]
        shape = (n, g * k, p, q)
        small = all(a <= b for a, b in zip(shape, MAX_EXTENTS, strict=True))
        if not small or math.prod(bounds) > MAX_MACS or not all(map(self.reads, layer["operands"])):
            return
        layer["name"] = f"layer{len(self.layers)}"
        if self.rng.random() < 0.4:
            layer["post"] = self.rng.randint(1, 3)
        for operand in layer["operands"]:
            del operand["reads"]
        if own := _own_bits(random.Random(f"{layer['name']} {bounds}")):
            layer["bits"] = own
        self.layers.append(layer)
        self.tensors.append((layer["name"], shape))

    def reads(self, operand: Json) -> bool:
        """Whether every form of the operand leads to something; `reads` holds what each needs."""
        return all(_leads_somewhere(*form) for form in operand["reads"])

    # Pieces of operands

    def flip(self, chance: float) -> bool:
        return self.rng.random() < chance

    def tensor(self, matching: Shape | None = None) -> tuple[str, Shape]:
        """Choose a tensor that exists, mostly a layer's output, or make an input."""
        found = [x for x in self.tensors if matching is None or x[1] == matching]
        if found and self.flip(0.92):
            return self.rng.choice(found[-3:] if self.flip(0.7) else found)
        name = f"input{len(self.inputs)}"
        n, ch, h, w = (self.rng.randint(1, m) for m in MAX_EXTENTS)
        shape = matching or (n if self.flip(0.4) else 1, ch, h, w if self.flip(0.8) else 1)
        self.inputs.append((name, shape))
        return name, shape

    def windows(self, extent: int) -> tuple[list[Json], int]:
        """Draw a chain of windows on an axis; return it with the extent of the form before it."""
        chain: list[Json] = []
        for _ in range(self.rng.choice((1, 1, 2, 2, 3))):
            kind = self.rng.choice(("pool", "pool", "pool", "all", "block", "divide", "keep", "every"))
            window: Json = {}
            read = extent
            if kind == "all":
                window, extent = {"all": True}, self.rng.randint(1, 4)
            elif kind == "block":
                window = {"block": self.rng.randint(1, extent + 1)}
            elif kind == "divide":
                factor = self.rng.randint(1, 3)
                window, extent = {"divide": factor}, max(extent * factor - self.rng.randint(0, 1), 1)
            elif kind == "keep":
                factor, keep = self.rng.randint(1, 3), self.rng.randint(2, 3)
                window, extent = (
                    {"divide": factor, "keep": keep},
                    max(extent * factor - self.rng.randint(0, 2), 1),
                )
            elif kind == "every":
                factor = self.rng.randint(2, 3)
                window = {"every": factor, "first": self.rng.randrange(factor)}
                extent = extent * factor - self.rng.randint(0, 1)
            else:
                scale, width = self.rng.randint(1, 3), self.rng.randint(1, 3)
                shift = self.rng.choice((-2, -1, 0, 0, 1))
                window = {"scale": scale, "shift": shift, "width": width}
                extent = max((read - shift - width) // scale + 1, 1) + self.flip(0.2)
            if chain:
                window["extent"] = read
            chain.insert(0, window)
        return chain, extent

    def pooled(self, shape: Shape) -> tuple[list[Json], Shape]:
        """Perhaps put windows before the forms: the start of each axis's access, and the extents to index."""
        accesses: list[Json] = [{}, {}, {}, {}]
        extents = list(shape)
        chance = self.rng.choice((0.0, 0.6))
        for axis in range(4):
            if self.flip(chance if axis >= 2 else chance * 0.3):
                windows, extents[axis] = self.windows(shape[axis])
                accesses[axis] = {"windows": windows, "extent": extents[axis]}
        return accesses, (extents[0], extents[1], extents[2], extents[3])

    def operand(
        self,
        name: str,
        shape: Shape,
        accesses: list[Json],
        forms: Sequence[tuple[Json, int]],
        dims: Json,
        **keys: str,
    ) -> Json:
        """Put an operand together: `forms` are terms and offset of each axis."""
        axes, reads = {}, []
        for axis, start, (terms, offset), extent in zip(AXES, accesses, forms, shape, strict=True):
            terms = {dim: c for dim, c in terms.items() if dims.get(dim, 1) > 1 or self.flip(0.7)}
            access = {**start, "terms": terms, **({"offset": offset} if offset else {})}
            reads.append((access, {d: dims.get(d, 1) for d in terms}, extent))
            if access != {"terms": {}}:
                axes[axis] = access
        return {"from": name, "axes": axes, **keys, "reads": reads}

    def batch(self, extent: int) -> tuple[int, int]:
        """Choose a batch and the first image to read."""
        n = self.rng.randint(1, extent) if self.flip(0.3) else extent
        return n, self.rng.randint(0, extent - n)

    def sliding(self, extent: int) -> tuple[int, int, int, int, int] | None:
        """Choose outputs, kernel, stride, dilation and padding on an axis."""
        kernel = self.rng.choice((1, 1, 2, 3))
        stride, dilation, pad = (
            self.rng.choice((1, 1, 2, 3)),
            self.rng.choice((1, 1, 2)),
            self.rng.choice((0, 0, 1, 2)),
        )
        out = (extent + 2 * pad - dilation * (kernel - 1) - 1) // stride + 1
        return (out, kernel, stride, dilation, pad) if out >= 1 else None

    # Layers

    def convolution(self) -> Json | None:
        name, shape = self.tensor()
        accesses, (batch, ch, height, width) = self.pooled(shape)
        rows, columns = self.sliding(height), self.sliding(width)
        if rows is None or columns is None:
            return None
        groups = self.rng.choice([g for g in range(1, ch + 1) if ch % g == 0])
        per_group = ch // groups
        first = 0
        if per_group == 1 and self.flip(0.15) and groups > 1:
            first, groups = 1, groups - 1
        n, image = self.batch(batch)
        p, r, p_stride, r_dilation, p_pad = rows
        q, s, q_stride, s_dilation, q_pad = columns
        dims = {
            "N": n,
            "G": groups,
            "K": self.rng.randint(1, 3),
            "P": p,
            "Q": q,
            "C": per_group,
            "R": r,
            "S": s,
        }
        forms: list[tuple[Json, int]] = [
            ({"N": 1}, image),
            ({"G": per_group, "C": 1}, first),
            ({"P": p_stride, "R": r_dilation}, -p_pad),
            ({"Q": q_stride, "S": s_dilation}, -q_pad),
        ]
        operands = [self.operand(name, shape, accesses, forms, dims)]
        if self.flip(0.2):
            other = self.tensor(shape)[0]
            operands = [self.operand(x, shape, accesses, forms, dims, sum="s") for x in (name, other)]
        return {"dims": dims, "operands": operands}

    def residuals(self, dims: Json) -> list[Json]:
        """Draw what is added to the results: tensors like the output, one by one, as a sum, or pooled."""
        if all(dims.get(dim, 1) == 1 for dim in "CRS"):
            return []
        n, g, k, p, q = (dims.get(dim, 1) for dim in OUTPUT_DIMS)
        shape = (n, g * k, p, q)
        if any(a > b for a, b in zip(shape, MAX_EXTENTS, strict=True)):
            return []
        forms: list[tuple[Json, int]] = [({"N": 1}, 0), ({"G": k, "K": 1}, 0), ({"P": 1}, 0), ({"Q": 1}, 0)]
        keys = {"sum": "added"} if self.flip(0.3) else {}
        found = []
        for _ in range(self.rng.choice((1, 1, 2))):
            name, own = self.tensor(shape if self.flip(0.7) else None)
            accesses, extents = self.pooled(own)
            if all(a >= b for a, b in zip(extents, shape, strict=True)):
                found.append(self.operand(name, own, accesses, forms, dims, **keys))
        return found

    def elementwise(self) -> Json | None:
        name, shape = self.tensor()
        n, ch, height, width = shape
        dims = {"N": n, "G": ch, "P": height, "Q": width}
        if self.flip(0.3):
            dims = {"N": n, "C": ch, "P": height, "Q": width, "K": self.rng.randint(1, 4)}
        channel = {"C": 1} if "C" in dims else {"G": 1}
        forms: list[tuple[Json, int]] = [({"N": 1}, 0), (channel, 0), ({"P": 1}, 0), ({"Q": 1}, 0)]
        operands = []
        for i in range(self.rng.randint(2, 4)):
            source = name if i == 0 else self.tensor(shape)[0]
            # Either in one sum, or in two, or beside each other.
            group = self.rng.choice(("a", "a", "a", "b", ""))
            keys = {"sum": group} if group else {}
            operands.append(self.operand(source, shape, [{}, {}, {}, {}], forms, dims, **keys))
        return {"dims": dims, "operands": operands}

    def concatenation(self) -> Json | None:
        """Read some or all channels (or rows) of several tensors beside each other."""
        parts = [self.tensor() for _ in range(self.rng.randint(2, 3))]
        axis = self.rng.choice((1, 1, 2))
        total = min(sum(shape[axis] for _, shape in parts), MAX_EXTENTS[2] if axis == 2 else MAX_MACS)
        length = self.rng.randint(1, total) if self.flip(0.3) else total
        first = self.rng.randint(0, total - length)
        others = [min(shape[x] for _, shape in parts) for x in range(4)]
        n, image = self.batch(others[0])
        dims = {"N": n, "K": self.rng.randint(1, 3), "P": others[2], "Q": others[3]}
        rows: Json = {"P": 1}
        if axis == 1:
            reads: Json = {"C": 1}
            dims["C"] = length
            if length % 2 == 0 and self.flip(0.4):
                reads, dims["C"], dims["G"] = {"G": length // 2, "C": 1}, length // 2, 2
        else:
            reads = {"C": 1}
            dims |= {
                "K": 1,
                "P": length,
                "Q": self.rng.randint(1, others[3]),
                "C": self.rng.randint(1, others[1]),
            }
        operands = []
        extra = {"sum": "s"} if self.flip(0.3) else {}
        for name, shape in parts:
            forms: list[tuple[Json, int]] = [
                ({"N": 1}, image),
                (reads, first if axis == 1 else 0),
                (rows, first if axis == 2 else 0),
                ({"Q": 1}, 0),
            ]
            operands.append(self.operand(name, shape, [{}, {}, {}, {}], forms, dims, concat="c", **extra))
            first -= shape[axis]
        operands = [x for x in operands if self.reads(x)]
        if not operands:
            return None
        if extra:
            whole = (others[0], length, others[2], others[3])
            if axis == 2:
                whole = (others[0], others[1], length, others[3])
            forms = [({"N": 1}, image), (reads, 0), (rows, 0), ({"Q": 1}, 0)]
            operands.append(
                self.operand(self.tensor(whole)[0], whole, [{}, {}, {}, {}], forms, dims, sum="s")
            )
        return {"dims": dims, "operands": operands}

    def scores(self) -> Json | None:
        """Multiply queries with keys, head by head."""
        (one, a), (two, b) = self.tensor(), self.tensor()
        ch = math.gcd(a[1], b[1])
        heads = self.rng.choice([g for g in range(1, ch + 1) if ch % g == 0])
        n, size = min(a[0], b[0]), ch // heads
        dims = {"N": n, "G": heads, "K": b[2], "P": a[2], "Q": min(a[3], b[3]), "C": size}
        channel: Json = {"G": size, "C": 1}
        queries: list[tuple[Json, int]] = [({"N": 1}, 0), (channel, 0), ({"P": 1}, 0), ({"Q": 1}, 0)]
        keys: list[tuple[Json, int]] = [({"N": 1}, 0), (channel, 0), ({"K": 1}, 0), ({"Q": 1}, 0)]
        plain: list[Json] = [{}, {}, {}, {}]
        return {
            "dims": dims,
            "operands": [self.operand(one, a, plain, queries, dims), self.operand(two, b, plain, keys, dims)],
        }

    def values(self) -> Json | None:
        """Multiply weights, each over the whole block of its head, with values."""
        one, a = self.tensor()
        heads = self.rng.choice([g for g in range(1, a[1] + 1) if a[1] % g == 0])
        keys, size = a[1] // heads, self.rng.randint(1, 3)
        two, b = self.tensor()
        if b[0] < a[0] or b[1] < heads * size:
            two, b = self.tensor((a[0], heads * size, keys, a[3]))
        dims = {"N": a[0], "G": heads, "K": size, "P": a[2], "Q": a[3], "C": keys}
        softmax: Json = {"windows": [{"block": keys}], "extent": a[1]} if self.flip(0.8) else {}
        left: list[tuple[Json, int]] = [({"N": 1}, 0), ({"G": keys, "C": 1}, 0), ({"P": 1}, 0), ({"Q": 1}, 0)]
        right: list[tuple[Json, int]] = [
            ({"N": 1}, 0),
            ({"G": size, "K": 1}, 0),
            ({"C": 1}, 0),
            ({"Q": 1}, 0),
        ]
        return {
            "dims": dims,
            "operands": [
                self.operand(one, a, [{}, softmax, {}, {}], left, dims),
                self.operand(two, b, [{}, {}, {}, {}], right, dims),
            ],
        }

    def dense(self) -> Json | None:
        """Read a whole tensor, or rows of it, as one vector, perhaps pooled."""
        name, shape = self.tensor()
        accesses, extents = self.pooled((1, *shape[1:]))
        flat = extents[1] * extents[2] * extents[3]
        n, image = self.batch(shape[0])
        p = self.rng.choice((1, 1, 2, 3))
        c = flat // p
        if c < 1:
            return None
        offset = self.rng.randint(0, flat - p * c)
        dims = {"N": n, "K": self.rng.randint(1, 4), "P": p, "C": c}
        terms = {"P": c, "C": 1} if p > 1 else {"C": 1}
        axes: Json = {"n": {"terms": {"N": 1}, **({"offset": image} if image else {})}}
        for axis, access in zip(AXES[1:], accesses[1:], strict=True):
            if access:
                axes[axis] = {"windows": access["windows"]}
        flatten: Json = {"terms": terms, "shape": list(extents[1:])}
        if offset:
            flatten["offset"] = offset
        places = itertools.product(*(range(x) for x in extents[1:]))
        read = list(places)[offset : offset + p * c]
        if not any(_box_exists(accesses[1:], place, shape[1:]) for place in read):
            return None
        operand = {"from": name, "axes": axes, "flatten": flatten, "reads": []}
        return {"dims": dims, "operands": [operand]}

    def dense_parts(self) -> Json | None:
        """Read several tensors as one vector."""
        parts = [self.tensor() for _ in range(2)]
        sizes = [math.prod(shape[1:]) for _, shape in parts]
        dims = {"N": min(shape[0] for _, shape in parts), "K": self.rng.randint(1, 3), "C": sum(sizes)}
        operands: list[Json] = []
        first = 0
        for (name, shape), size in zip(parts, sizes, strict=True):
            flatten = {"terms": {"C": 1}, "offset": -first, "shape": list(shape[1:])}
            axes = {"n": {"terms": {"N": 1}}}
            operands.append({"from": name, "axes": axes, "flatten": flatten, "concat": "c", "reads": []})
            first += size
        return {"dims": dims, "operands": operands}

    def reduction(self) -> Json | None:
        """Read whole axes at every point, as global pooling and normalisation do."""
        name, shape = self.tensor()
        n, ch, height, width = shape
        dims = {"N": n, "G": ch, "P": height, "Q": width}
        forms: list[tuple[Json, int]] = [({"N": 1}, 0), ({"G": 1}, 0), ({"P": 1}, 0), ({"Q": 1}, 0)]
        accesses: list[Json] = [{}, {}, {}, {}]
        whole = self.rng.choice(((2, 3), (2,), (3,), (1,)))
        for axis in whole:
            accesses[axis] = {"windows": [{"all": True}], "extent": shape[axis]}
            if axis > 1 and self.flip(0.6):
                dims["PQ"[axis - 2]] = 1
                forms[axis] = ({}, 0)
                accesses[axis]["extent"] = 1
        return {"dims": dims, "operands": [self.operand(name, shape, accesses, forms, dims)]}

    def product(self) -> Json | None:
        """A matrix product with weights; a strided or shifted slice of the channels."""
        name, shape = self.tensor()
        n, ch, height, width = shape
        step = self.rng.choice((1, 1, 1, 2, 3))
        c = self.rng.randint(1, -(-ch // step)) if self.flip(0.4) else -(-ch // step)
        first = self.rng.randint(0, ch - (c - 1) * step - 1)
        dims = {"N": n, "K": self.rng.randint(1, 5), "P": height, "Q": width, "C": c}
        forms: list[tuple[Json, int]] = [({"N": 1}, 0), ({"C": step}, first), ({"P": 1}, 0), ({"Q": 1}, 0)]
        return {"dims": dims, "operands": [self.operand(name, shape, [{}, {}, {}, {}], forms, dims)]}


def _values(terms: Json, offset: int, bounds: Json) -> set[int]:
    values = {offset}
    for dim, coefficient in terms.items():
        values = {v + coefficient * x for v in values for x in range(bounds[dim])}
    return values


def _box_exists(accesses: Sequence[Json], place: Sequence[int], shape: Sequence[int]) -> bool:
    return all(
        _leads_somewhere(
            {"windows": access.get("windows", ()), "terms": {}, "offset": i, "extent": i + 1}, {}, extent
        )
        for access, i, extent in zip(accesses, place, shape, strict=True)
    )


def _leads_somewhere(access: Json, bounds: Json, extent: int) -> bool:
    for low in _values(access["terms"], access.get("offset", 0), bounds):
        high = low
        alive = 0 <= low < access.get("extent", extent)
        for window in access.get("windows", ()):
            read = window.get("extent", extent)
            if "all" in window:
                low, high = 0, read - 1
            elif "scale" in window:
                low = low * window["scale"] + window["shift"]
                high = high * window["scale"] + window["shift"] + window["width"] - 1
            elif "divide" in window:
                keep = window.get("keep", 1)
                if low // keep < high // keep:
                    low, high = low - low % keep, high - high % keep + keep - 1
                low, high = (x // (window["divide"] * keep) * keep + x % keep for x in (low, high))
            elif "every" in window:
                every, first = window["every"], window["first"]
                low, high = -((first - low) // every), (high - first) // every
                alive &= low <= high
            alive &= low < read and high >= 0
            low, high = max(low, 0), min(high, read - 1)
        if alive:
            return True
    return False


# What an instance has


def features(instance: Instance) -> set[str]:
    """Return the names of the features of the model that an instance has."""
    network, hardware = instance.network, instance.hardware
    found = {hardware.weights, *_hardware_features(hardware)}
    if network.topological != tuple(range(len(network.layers))):
        found.add("layers out of order in the file")
    if any(len(readers) > 1 for readers in network.consumers):
        found.add("branch")
    found |= {"release"} if any(instance.releases) else set()
    for layer, mapping, order in zip(network.layers, instance.mappings, instance.orders, strict=True):
        found.update(_layer_features(network, layer))
        found.update(_mapping_features(layer, mapping))
        profiled = profile(layer, mapping, hardware)
        found.update(_profile_features(profiled))
        if order is not None and len(order) > 1:
            found.add("order")
            if any(x.producer in network.index for x in layer.operands):
                found.add("order of a consumer")
            if network.consumers[network.index[layer.name]]:
                found.add("order of a producer")
    return found


def _hardware_features(hardware: Hardware) -> Iterator[str]:
    widths = hardware.bits_per_cycle
    if any(x.denominator > 1 for x in (widths.load, widths.drain, widths.bank, widths.channel)):
        yield "fractional bandwidth"
    if hardware.cycles.load or hardware.cycles.drain:
        yield "fixed costs"
    if hardware.buffered:
        yield "buffer"
    if hardware.reduction == "host":
        yield "host"
    if hardware.refresh is not None:
        yield "refresh"
    for level, dims in hardware.spread.model_dump().items():
        if dims is not None and len(dims) < len(DIMS):
            yield f"spread of {level} loops"


def _layer_features(network: Network, layer: Layer) -> Iterator[str]:
    if layer.bound("N") > 1:
        yield "batch"
    if layer.bound("G") > 1 and "G" in layer.read_dims:
        yield "groups" if layer.bound("C") > 1 else "depthwise"
    if any(layer.bound(dim) in (5, 7) for dim in DIMS):
        yield "prime bound"
    if layer.sums:
        yield "sum"
        if max(map(len, layer.sums)) > 2:
            yield "sum of three"
    if layer.residuals:
        yield "residual"
        if any(x.sum for x in layer.residuals):
            yield "residual sum"
        if any(x.producer in network.index for x in layer.residuals):
            yield "residual of a layer"
        if any(x.sum and x.concat for x in layer.operands):
            yield "concatenation in a sum"
    names = [x.producer for x in layer.operands if x.producer in network.index]
    if len(set(names)) < len(names):
        yield "one producer read twice"
    if len(set(names)) > 1:
        yield "several producers"
    factors = [x for x in layer.loaded if not x.sum]
    if len({x.dims for x in factors}) > 1:
        yield "two-sided"
    for operand in layer.operands:
        if operand.producer in network.index:
            yield from _operand_features(layer, operand, network.shapes[operand.producer])


def _operand_features(layer: Layer, operand: Operand, shape: Shape) -> Iterator[str]:
    if operand.concat:
        yield "concatenation"
        if operand.flatten is not None:
            yield "concatenation of flattened parts"
    if operand.flatten is not None:
        yield "flatten"
        if any(operand.axes[axis].windows for axis in AXES[1:]):
            yield "flatten with windows"
        if len(operand.flatten.terms) > 1 or layer.bound("C") < math.prod(operand.flatten.shape):
            yield "part of a flattened tensor"
    for axis, extent in zip(AXES, shape, strict=True):
        access = operand.axes[axis]
        if operand.flatten is not None and axis != "n":
            yield from _window_features(access)
        else:
            yield from (
                f"{x} on {axis}" if x == "slice" else x for x in _access_features(layer, access, extent)
            )
        if axis == "h" and operand.concat and access.offset < 0:
            yield "concatenation of rows"


def _window_features(access: AxisAccess) -> Iterator[str]:
    for window in access.windows:
        kinds = {"all": window.all, "block": window.block, "keep": window.keep, "divide": window.divide}
        kinds |= {"every": window.every}
        yield next((kind for kind, given in kinds.items() if given), "pooling")
    if len(access.windows) > 1:
        yield "chained windows"


def _access_features(layer: Layer, access: AxisAccess, extent: int) -> Iterator[str]:
    yield from _window_features(access)
    bounds = {dim: layer.bound(dim) for dim in access.terms}
    values = _values(dict(access.terms), access.offset, bounds)
    if any(c > 1 and bounds[d] > 1 for d, c in access.terms.items() if d in ("P", "Q")):
        yield "stride"
    if any(c > 1 and bounds[d] > 1 for d, c in access.terms.items() if d in ("R", "S")):
        yield "dilation"
    if min(values) < 0 or max(values) >= (access.extent or extent):
        yield "padding"
    elif not access.windows and len(values) < extent:
        yield "slice"


def _mapping_features(layer: Layer, mapping: Mapping) -> Iterator[str]:
    for dim in DIMS:
        loops = [loop for loop in mapping.loops if loop.dim == dim]
        if math.prod(loop.bound for loop in loops) > layer.bound(dim):
            yield "imperfect factors"
        if len(loops) > 2:
            yield "three loops of one dim"
        kinds = [loop.kind == "temporal" for loop in loops]
        if any(not a and b for a, b in itertools.pairwise(kinds)):
            yield "spatial loop outside a temporal one of its dim"
        if dim not in OUTPUT_DIMS:
            yield from (f"reduction over {loop.kind}" for loop in loops)


def _profile_features(profiled: Profile) -> Iterator[str]:
    ji, jo, depth = profiled.load_depth, profiled.drain_depth, profiled.depth
    if profiled.mapping.load is not None and profiled.mapping.load < innermost_read(
        profiled.layer, profiled.mapping
    ):
        yield "load outside the innermost loop that reads"
        if any(own.lane > 1 for own in tiles(profiled.layer, profiled.mapping, ji).loaded):
            yield "tile of several elements a lane"
    if profiled.layer.residuals and profiled.unfinished_blocks() is not None:
        yield "blocks that do not read the residual"
    if profiled.open_depth is not None:
        yield "row opened inside the blocks" if profiled.open_depth >= depth else "row opened outside them"
        yield "one row" if profiled.open_depth == 0 else "several rows"
    if profiled.lead:
        yield "lead"
    steps = len(profiled.temporal)
    if steps == 0:
        yield "one step"
    else:
        yield "ji = 0" if ji == 0 else "jo = 0" if jo == 0 else "ji and jo > 0"
        yield "ji < jo" if ji < jo else "jo < ji" if jo < ji else "ji = jo"
        yield "ji inside all" if ji == steps else "steps inside ji"
    if depth < ji:
        yield "fewer blocks than loads" if depth else "one block of many loads"
    if depth > jo:
        yield "blocks inside jo"
    if any(loop.dim not in OUTPUT_DIMS for loop in profiled.temporal[:jo]):
        yield "sums read back"
    if profiled.idle_blocks() is not None:
        yield "idle blocks"
    if profiled.t_in == 0:
        yield "loading takes no time"
