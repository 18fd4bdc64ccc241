"""Answers to questions in several orders of their options, averaged by content."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.special import logsumexp, softmax

from pidlib._common import fingerprint
from pidlib.benchmarks import Sample
from pidlib.benchmarks.orders import rotations
from pidlib.extraction import Extraction


def averaged(
    extractions: Sequence[Extraction], samples: Sequence[Sample]
) -> tuple[Extraction, dict[str, float]]:
    """Average p(y | inputs) of each pass, draw and pair over extractions of samples `in_orders`.

    y is the content of a candidate in the first order. Returns the answers of a model that is asked
    in a random order, with the mean mass of its candidates, and all else of the first extraction;
    and ``spread_orders``, the mean total variation of decisions in one order from their mean.
    """
    first, count = extractions[0], len(extractions)
    if count == 1:
        return first, {}
    turned = [rotations(sample) for sample in samples]
    columns = np.array([[each[order % len(each)][1] for each in turned] for order in range(count)])
    is_new = np.arange(count)[:, None] < [len(each) for each in turned]  # shorter lists start again

    def by_content(outputs: Sequence, rows: np.ndarray | slice = slice(None)) -> tuple:
        logs = np.stack([scores.astype(float) - constant[:, None] for scores, constant in outputs])
        logs, weights = np.take_along_axis(logs, columns[:, rows], -1), is_new[:, rows, None]
        return logs, logsumexp(logs, 0, weights / weights.sum(0))

    read = {k: [(e.logits[k], e.log_normalizer[k]) for e in extractions] for k in first.logits}
    passes = {key: by_content(outputs) for key, outputs in read.items()}
    moved = np.abs(np.subtract(*(softmax(logs, -1) for logs in passes[first.full]))).sum(-1) / 2
    logits = {key: mean for key, (_, mean) in passes.items()}
    made = {"logits": logits, "log_normalizer": {key: np.zeros(len(samples)) for key in logits}}
    if (pairs := first.pairs) is not None:
        read = [(e.pairs.logits, e.pairs.log_normalizer) for e in extractions]
        _, rows = by_content(read, pairs.index[:, 1])
        made["pairs"] = replace(pairs, logits=rows, log_normalizer=np.zeros(len(rows)))
    made["fingerprint"] = fingerprint(orders=[each.fingerprint for each in extractions])
    return replace(first, **made), {"spread_orders": float(moved[is_new].mean())}
