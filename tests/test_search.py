"""Every method on every network that a chip can hold: verified solutions, and refusals that say why."""

from __future__ import annotations

import random
import re
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from generators import check_by_simulation, draw_hardware, draw_network, draw_solvable

from hw.hardware import Hardware, LevelDims
from hw.library import load_hardware, preset_names
from models.library import load_network, network_names
from models.network import DIMS, OUTPUT_DIMS, Network
from overlapim_files import InputError, dump
from solver.mapspace.pools import Pools
from solver.params import LayerwiseParams, Params
from solver.reference import simulate
from solver.run import Improvement, Observer
from solver.schedule.banks import Ledger, pack
from solver.search.balance import Balance
from solver.search.knapsack import by_steps, by_table
from solver.search.placement import Placement, cut
from solver.solution import Solution, read_verified, verify
from solver.solve import solve
from solver.stop import Stop
from solver.timing.mapping import Loop, Mapping
from solver.timing.problem import Problem
from solver.timing.profile import Profile, axis_finish
from solver.timing.tiles import tiles
from solver.timing.validity import problems


def few_steps(count: int = 60) -> Stop:
    return Stop(iterations=count)


def exceeds(network: Network, chip: Hardware) -> bool:
    """Whether the weights alone need more than there is; with static weights each layer takes whole banks."""
    bank = chip.columns_per_bank * chip.rows_per_bank
    bits = [chip.bits.weight * layer.weights for layer in network.layers]
    if chip.weights == "static":
        return sum(own // bank + 1 for own in bits) > chip.banks
    return sum(bits) > chip.banks * bank


FORWARD = Params(layerwise=LayerwiseParams("forward"))
HEURISTICS = ("sequential", "layerwise", "descent")
QUICK = [("toy", preset) for preset in preset_names()]
QUICK += [("resnet18", "hbm2-bitsimd"), ("resnet18", "toy")]
EVERYTHING = [(network, preset) for network in network_names() for preset in preset_names()]


@pytest.mark.parametrize("weights", ["static", "shared"])
@pytest.mark.parametrize(
    ("network", "hardware"),
    [*QUICK, *(pytest.param(*pair, marks=pytest.mark.slow) for pair in EVERYTHING if pair not in QUICK)],
)
def test_every_method_answers_or_the_chip_is_too_small(network: str, hardware: str, weights: str) -> None:
    chip = load_hardware(hardware).with_weights(weights)  # type: ignore[arg-type]
    latencies = {}
    try:
        for method in HEURISTICS:
            result = solve(load_network(network), chip, method=method, stop=few_steps(20), params=FORWARD)
            latencies[method] = result.latency
    except InputError as error:
        assert not latencies
        assert hardware == "toy" != network or exceeds(load_network(network), chip)
        assert "layer" in str(error) and any(character.isdigit() for character in str(error))
        assert "\n" not in str(error)
        return
    assert latencies["descent"] <= min(latencies.values())


SIMULATED = ("bert-base:1", "bert-base:6", "gpt2:1", "alexnet", "squeezenet", "inception-v1", "mobilenetv2")
PAIRS = [(name, weights) for name in SIMULATED for weights in ("static", "shared")]


@pytest.mark.parametrize(
    ("name", "weights"), [PAIRS[0], *(pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS[1:])]
)
def test_built_in_networks_agree_with_the_simulator(name: str, weights: str) -> None:
    network, chip = load_network(name), load_hardware("hbm2-bitsimd").with_weights(weights)  # type: ignore[arg-type]
    result = solve(network, chip, method="layerwise", params=FORWARD)
    plan = result.plan
    simulated = simulate(network, chip, result.solution.mappings, plan.releases, [None] * len(plan.banks))
    assert [(x.start, x.end) for x in simulated] == [(x.start, x.end) for x in plan.timeline.layers]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("weights", ["static", "shared"])
def test_random_networks_verify_and_agree_with_the_simulator(seed: int, weights: str) -> None:
    network, chip = draw_solvable(random.Random(seed), 5, weights)  # type: ignore[arg-type]
    latencies = []
    for method in HEURISTICS:
        result = solve(network, chip, method=method, stop=few_steps(40), seed=seed, params=FORWARD)
        check_by_simulation(result)
        latencies.append(result.latency)
    assert latencies[-1] == min(latencies)


def test_what_a_chip_cannot_hold_is_refused_in_one_line() -> None:
    refused = 0
    for seed in range(200):
        rng = random.Random(seed)
        network = draw_network(rng, rng.randint(1, 5))
        chip = draw_hardware(rng, network)
        try:
            solve(network, chip, method="sequential")
        except InputError as error:
            assert re.search(r"layer|banks", str(error)) and re.search(r"\d", str(error))
            assert "\n" not in str(error)
            refused += 1
    assert 5 < refused < 150


def test_sequential_does_not_overlap() -> None:
    result = solve(load_network("resnet18"), load_hardware("hbm2-bitsimd"), method="sequential")
    order = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd")).network.topological
    times = [result.plan.timeline.layers[i] for i in order]
    assert all(a.end <= b.start for a, b in pairwise(times))
    assert all(layer.waited == 0 for layer in times)


def test_the_same_seed_and_iterations_give_the_same_solution() -> None:
    network, chip = load_network("toy"), load_hardware("toy").with_weights("static")
    first = solve(network, chip, method="descent", stop=Stop(iterations=2000), seed=3)
    again = solve(network, chip, method="descent", stop=Stop(iterations=2000), seed=3)
    assert first.solution == again.solution


def test_workers_find_a_verified_plan() -> None:
    network, chip = load_network("toy"), load_hardware("toy")
    result = solve(network, chip, method="descent", stop=Stop(iterations=300), workers=2)
    assert result.latency <= solve(network, chip, method="layerwise").latency


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_keeps_the_best_so_far(workers: int) -> None:
    interrupt = threading.Event()
    heard = []

    class Listener(Observer):
        def improved(self, improvement: Improvement) -> None:
            heard.append(improvement)
            interrupt.set()

    stop = Stop(interrupt=interrupt)
    result = solve(
        load_network("toy"),
        load_hardware("toy"),
        method="descent",
        stop=stop,
        workers=workers,
        observer=Listener(),
    )
    check_by_simulation(result)
    assert heard[-1].value == result.latency


def test_the_trace_falls() -> None:
    result = solve(load_network("toy"), load_hardware("toy"), method="descent", stop=few_steps(3000))
    latencies = [entry.value for entry in result.trace]
    assert latencies == sorted(set(latencies), reverse=True)
    assert latencies[-1] == result.latency


def banks(profile: Profile) -> int:
    return profile.banks


@pytest.mark.parametrize("seed", range(30))
def test_banks_are_shared_out_as_well_as_by_trying_everything(seed: int) -> None:
    rng = random.Random(seed)
    problem = Problem(load_network("toy"), load_hardware("toy"))
    pools = Pools(problem)
    options = [rng.sample(pools.pool(i, (2, 4)), min(3, len(pools.pool(i, (2, 4))))) for i in range(3)]
    capacity = rng.randrange(3, 20)
    costs = [
        a.total + b.total + c.total
        for a in options[0]
        for b in options[1]
        for c in options[2]
        if a.banks + b.banks + c.banks <= capacity
    ]
    chosen = by_table(options, 20, banks)(capacity)
    least = min(costs, default=None)
    assert (None if chosen is None else sum(p.total for p in chosen)) == least
    # By steps it is off by what one step of one layer gains at most, and never more than the capacity.
    quick = by_steps(options, 20, banks)(capacity)
    if quick is not None:
        assert least is not None
        steps = [a.total - b.total for own in options for a in own for b in own]
        assert sum(map(banks, quick)) <= capacity
        assert least <= sum(p.total for p in quick) <= least + max(steps)
    else:
        assert capacity < sum(min(map(banks, own)) for own in options)


def small_chip(**changes: object) -> Hardware:
    return load_hardware("toy").model_copy(update=changes)


def test_what_does_not_fit_is_refused_with_limit_layer_and_amount() -> None:
    with pytest.raises(InputError, match=r"layer 'conv1' needs 1224 rows.*1194 more than the 30"):
        solve(load_network("resnet18"), small_chip(rows_per_bank=30, columns_per_bank=8), method="sequential")
    with pytest.raises(InputError, match=r"need 21 banks together, 13 more than there are.*layer '"):
        chip = small_chip(rows_per_bank=2**30).with_weights("static")
        solve(load_network("resnet18"), chip, method="sequential")


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'descent'"):
        solve(load_network("toy"), load_hardware("toy"), method="decent")


def test_pack_and_ledger_give_shapes_without_overlap() -> None:
    problem = Problem(load_network("toy"), load_hardware("toy"))
    profile = min(Pools(problem).pool(0, (2, 4)), key=lambda p: p.rows)
    banks = pack(problem.hardware, [profile])
    assert banks is not None and len(banks[0]) == profile.banks
    ledger = Ledger(problem.hardware)
    first = ledger.free(profile, 0, 10, ledger.roomy(profile))
    assert first is not None
    ledger.hold(profile, 0, 10, first)
    later = ledger.free(profile, 5, 15, ledger.roomy(profile))
    assert later is None or not set(later.tolist()) & set(first.tolist())
    after = ledger.free(profile, 10, 15, ledger.roomy(profile))
    assert after is not None


@pytest.mark.parametrize("seed", range(10))
def test_arrays_are_cut_so_that_layers_find_banks(seed: int) -> None:
    """Layers whose arrays do not pack as they are: as many banks as before, none of them twice."""
    rng = random.Random(seed)
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd").with_weights("static"))
    pools = Pools(problem)
    profiles = [pools.pool(i, (1, rng.choice((3, 5, 6, 9))))[0] for i in range(len(problem.layers))]
    while sum(p.banks for p in profiles) > problem.hardware.banks:
        i = max(range(len(profiles)), key=lambda i: profiles[i].banks)
        profiles[i] = pools.pool(i, (1, profiles[i].banks - 1))[0]
    placed = Placement(problem, rng).place(profiles)
    assert placed is not None
    assert len(set(np.concatenate(placed[1]).tolist())) == sum(p.banks for p in profiles)
    for i, (before, after, banks) in enumerate(zip(profiles, *placed, strict=True)):
        assert problems(problem.layers[i], after.mapping, problem.hardware) == []
        assert len(banks) == after.banks == before.banks
        in_channels = np.unique(banks // problem.hardware.banks_per_channel, return_counts=True)[1]
        assert in_channels.tolist() == [after.mapping.banks_per_channel] * after.mapping.channels


def test_cutting_an_array_of_outputs_that_share_no_input_changes_no_time() -> None:
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd"))
    whole = [p for p in Pools(problem).pool(0, (1, 6)) if p.mapping.product("bank", OUTPUT_DIMS) == 6]
    apart = 0
    for before in whole:
        after = problem.profile(0, cut(before.mapping, 3))
        assert after.mapping.load == before.mapping.load
        assert (after.mapping.channels, after.mapping.banks_per_channel) == (3, 2)
        read = tiles(problem.layers[0], before.mapping, before.load_depth)
        if all(own.channel == 6 * own.bank for own in read.loaded) and not read.residuals:
            assert (after.total, after.last_finish) == (before.total, before.last_finish)
            for own, others, bounds in zip(
                before.axis_loops, after.axis_loops, before.axis_bounds, strict=True
            ):
                assert axis_finish(bounds, own).tolist() == axis_finish(bounds, others).tolist()
            apart += 1
    assert apart


def test_arrays_are_cut_only_where_the_chip_allows_it() -> None:
    """Banks may be spread over output channels, channels may not: with a load depth, and without."""
    chip = load_hardware("hbm2-bitsimd").with_weights("static")
    narrow = chip.model_copy(update={"spread": LevelDims(channel=("P", "Q"))})
    problem = Problem(load_network("resnet18"), narrow)
    own = problem.layers[5]
    loops = [Loop(dim, own.bound(dim), "temporal") for dim in DIMS if dim != "K"]
    for load in (None, 3):
        mapping = Mapping((*loops, Loop("K", 4, "bank"), Loop("K", own.bound("K") // 4, "column")), load)
        placement, before = Placement(problem, random.Random(0)), problem.profile(5, mapping)
        assert placement.with_channels(5, before, 1) is before
        assert placement.with_channels(5, before, 2) is None
        wide = Placement(Problem(load_network("resnet18"), chip), random.Random(0))
        after = wide.with_channels(5, before, 2)
        assert after is not None and after.mapping.load == load and after.mapping.channels == 2


def test_an_array_is_not_cut_so_that_a_loop_could_be_smaller() -> None:
    """Two channels of two banks cover three rows; one channel of four banks would leave one idle."""
    axes = {"h": {"terms": {"P": 1}}}
    layer = {"name": "a", "dims": {"P": 3}, "operands": [{"from": "x", "axes": axes}]}
    inputs = [{"name": "x", "shape": [1, 1, 3, 1]}]
    tree = {"format": "overlapim/network/1", "name": "rows", "inputs": inputs, "layers": [layer]}
    problem = Problem(Network.model_validate(tree), load_hardware("toy").with_weights("static"))
    own = problem.profile(0, Mapping((Loop("P", 2, "channel"), Loop("P", 2, "bank"))))
    placement = Placement(problem, random.Random(0))
    assert placement.with_channels(0, own, 2) is own
    assert placement.with_channels(0, own, 1) is None


@pytest.mark.parametrize("banks", [128, 100, 60])
def test_a_balance_uses_most_banks_and_no_more(banks: int) -> None:
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd").with_weights("static"))
    profiles = Balance(Pools(problem), banks, 16, 1).share(Stop())
    assert profiles is not None
    assert 0.9 * banks < sum(p.banks for p in profiles) <= banks


def test_a_balance_needs_a_bank_for_each_layer() -> None:
    problem = Problem(load_network("resnet18"), load_hardware("hbm2-bitsimd").with_weights("static"))
    assert Balance(Pools(problem), 20, 16, 1).share(Stop()) is None


@pytest.fixture(scope="module")
def solution() -> Solution:
    chip = load_hardware("toy").with_weights("shared")
    return solve(load_network("toy"), chip, method="descent", stop=few_steps(300)).solution


def test_a_solution_reads_back(solution: Solution, tmp_path: Path) -> None:
    path = tmp_path / "solution.yaml"
    path.write_text(dump(solution))
    again, plan = read_verified(path)
    assert again == solution
    assert plan.latency == solution.latency


def tampered(solution: Solution, name: str, **changes: object) -> Solution:
    layers = solution.layers | {name: solution.layers[name].model_copy(update=changes)}
    return solution.model_copy(update={"layers": layers})


def test_tampering_is_found_and_the_layer_named(solution: Solution) -> None:
    name, record = next((n, r) for n, r in reversed(solution.layers.items()) if len(r.loops) > 1)
    cases = {
        "end": tampered(solution, name, end=record.end + 1),
        "start": tampered(solution, name, start=record.start + 1),
        "cover": tampered(solution, name, loops=record.loops[1:]),
        "different banks": tampered(solution, name, banks=(*record.banks, record.banks[0])),
        "no bank 99": tampered(solution, name, banks=(*record.banks[:-1], 99)),
        "release": tampered(solution, name, release=record.end + 7),
        "permutation": tampered(solution, name, order=(5, 5, 5)),
    }
    for case, broken in cases.items():
        with pytest.raises(InputError, match=f"'{name}'") as found:
            verify(broken)
        assert case == "release" or case in str(found.value)
    with pytest.raises(InputError, match="latency"):
        verify(solution.model_copy(update={"latency": solution.latency - 1}))


def test_two_layers_on_one_bank_at_once_are_refused(solution: Solution) -> None:
    static = solution.model_copy(update={"hardware": solution.hardware.with_weights("static")})
    names = list(solution.layers)
    assert set(solution.layers[names[0]].banks) & set(solution.layers[names[1]].banks)
    with pytest.raises(InputError, match="static weights"):
        verify(static)
