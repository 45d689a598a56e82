"""Energies of layers, against layers that are executed event by event and cases worked out by hand."""

from __future__ import annotations

import random

import pytest
from generators import draw_instance

from hw.hardware import Energy
from solver.reference import simulated_energy
from solver.timing.energy import energy_parts
from solver.timing.profile import profile


@pytest.mark.parametrize("seed", range(40))
def test_the_closed_form_counts_what_the_simulator_does(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(15):
        instance = draw_instance(rng)
        costs = {name: rng.choice((0.0, rng.uniform(0.1, 900.0))) for name in Energy.model_fields}
        chip = instance.hardware.model_copy(update={"energy": Energy.model_validate(costs)})
        for layer, mapping in zip(instance.network.layers, instance.mappings, strict=True):
            found = energy_parts(profile(layer, mapping, chip), chip).total
            assert found == pytest.approx(simulated_energy(layer, mapping, chip), rel=1e-12)


def test_without_figures_there_is_no_energy() -> None:
    instance = draw_instance(random.Random(1))
    chip = instance.hardware.model_copy(update={"energy": None})
    layer, mapping = instance.network.layers[0], instance.mappings[0]
    assert energy_parts(profile(layer, mapping, chip), chip).total == 0.0
