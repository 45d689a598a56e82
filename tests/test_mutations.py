"""Spoilt constraints and terms are noticed by the tests that claim to hold them; each fits the sources."""

from __future__ import annotations

import pytest
from mutations import MUTATIONS, ROOT, main


@pytest.mark.slow
def test_every_mutation_is_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0, capsys.readouterr().out


def test_every_mutation_fits_the_sources() -> None:
    """Each changes something, and leaves source text that can be compiled."""
    for mutation in MUTATIONS:
        source = (ROOT / mutation.file).read_text()
        changed = mutation.edit(source)
        assert changed != source
        compile(changed, mutation.file, "exec")
    assert len({(mutation.file, mutation.name) for mutation in MUTATIONS}) == len(MUTATIONS)
