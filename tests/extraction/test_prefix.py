"""A picture is read once for all questions behind it, and the numbers do not change."""

import numpy as np
import pytest
from small_world import FAMILY_NAMES, loaded, samples

from pidlib.extraction import extract, extractor, proof
from pidlib.extraction.masking import drawn
from pidlib.extraction.reader import Reader

# Their pictures attend to all of the prompt, or are read by cross-attention.
UNSHARED = {"paligemma", "mllama", "blip"}


def answers(family, monkeypatch, shared):
    def prove(reader, sample):
        proof.prove(reader, sample)
        reader.shares_prefixes &= shared
        rows.clear()

    read, rows = Reader._forward, []
    monkeypatch.setattr(extractor, "prove", prove)
    monkeypatch.setattr(
        Reader, "_forward", lambda self, *args: rows.append(args[-1]) or read(self, *args)
    )
    options = {"passes": drawn(extractor.PASSES, 2), "partners": 4, "layers": (0, 1), "seed": 1}
    extraction = extract(loaded(family), samples(9), **options, progress=False)
    return extraction, sum(prefix is not None for prefix in rows)


@pytest.mark.parametrize("family", FAMILY_NAMES)
def test_numbers_are_those_without_sharing(family, monkeypatch):
    alone, none = answers(family, monkeypatch, shared=False)
    shared, some = answers(family, monkeypatch, shared=True)
    assert none == 0 and (some > 0) == (family not in UNSHARED)
    pairs = (alone.pairs, shared.pairs)
    for one, other in [(alone, shared), pairs]:
        for name in ("logits", "log_normalizer"):
            one_of, other_of = (getattr(each, name) for each in (one, other))
            keys = one_of if isinstance(one_of, dict) else [slice(None)]
            for key in keys:
                np.testing.assert_allclose(other_of[key], one_of[key], atol=1e-5)
    for key in alone.lens_logits:
        np.testing.assert_allclose(shared.lens_logits[key], alone.lens_logits[key], atol=1e-5)
    np.testing.assert_allclose(shared.hidden, alone.hidden, atol=1e-5)
