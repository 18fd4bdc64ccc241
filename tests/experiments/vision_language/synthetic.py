"""Synthetic rows of atoms, and a synthetic population, for tests of tables and figures."""

import itertools

import numpy as np
import pandas as pd

from pidlib.experiments import population, style
from pidlib.experiments.tables import validate

MODELS = ("llava", "paligemma", "qwen2_5_vl")
BENCHMARKS = ("micro/grounding", "micro/existence", "micro/scene")


def atoms(**columns) -> list[dict]:
    """Rows of four atoms, the same for the same columns; synergy has no null."""
    rng = np.random.default_rng(len(str(columns)))
    values = dict(zip(style.VISION_LANGUAGE, rng.dirichlet(np.full(4, 0.4)) * 2, strict=True))
    row = {"experiment": "synthetic", "n_samples": 256, "seed": 0, "converged": True}
    row |= {"fingerprint": "f", "null_mean": 0.02, "estimator": "exact"} | columns
    return [
        row
        | {"atom": atom, "value_bits": 0.95 * value, "corrected_bits": value}
        | {"ci_low": 0.9 * value, "ci_high": 1.1 * value}
        | ({"null_mean": None} if atom == "synergy" else {})
        for atom, value in values.items()
    ]


def profiles(**choices) -> list[dict]:
    """Rows of atoms for every combination of the choices."""
    combinations = itertools.product(*choices.values())
    return sum((atoms(**dict(zip(choices, chosen, strict=True))) for chosen in combinations), [])


def models_table(n=20, families=7, benchmarks=BENCHMARKS, seed=0) -> pd.DataFrame:
    """A population whose synergy and accuracy follow a skill; all accuracy needs the picture.

    ``micro/scene`` has constant accuracies; on ``micro/existence`` most decisions fell back.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(n):
        skill = rng.uniform()
        for benchmark in benchmarks:
            bits = dict(zip(population.ATOMS, rng.uniform(0, 0.1, 4), strict=True))
            bits["synergy"] = skill + 0.1 * rng.uniform()
            bits["total"] = sum(bits.values())
            bits["co_information"] = bits["redundancy"] - bits["synergy"]
            bits["added_by_vision"] = bits["unique_vision"] + bits["synergy"]
            bits |= {"gap": 0.0, "divergence": skill, "synergy_without_fallback": skill}
            accuracy, language = 1.0, 0.25
            if benchmark != "micro/scene":
                accuracy = np.round(0.3 + 0.6 * skill, 2)
                language = np.round(0.25 + 0.1 * rng.uniform(), 2)
            delta = accuracy - language
            rows.append(
                {
                    "experiment": "synthetic",
                    "benchmark": benchmark,
                    "model": f"m{index}",
                    "family": f"f{index % families}",
                    "size": ("small", "compact")[index % 2],
                    "accuracy": accuracy,
                    "accuracy_vision": 0.25,
                    "accuracy_language": language,
                    "delta_vision": delta,
                    "delta_low": delta - 0.06,
                    "delta_high": delta + 0.06,
                    "fallback_vision": 0.75 if benchmark == "micro/existence" else 0.25,
                    "moved_language": rng.uniform(),
                    "n_samples": 256,
                    "converged": True,
                    "fingerprint": "f",
                }
                | {f"{name}_bits": value for name, value in bits.items()}
            )
    return validate(rows, population.COLUMNS)
