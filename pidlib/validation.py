"""What the validation measures, against what is known: gates, ideal answerers, independent variables."""

import pandas as pd

from pidlib import benchmarks, results
from pidlib.decomposition import PID, pid
from pidlib.experiment import Preset, fingerprint

EXPERIMENT = "validation"
SOURCES = ("vision", "language")


def truths(preset: Preset) -> pd.DataFrame:
    """Atoms of the ideal answerer for the generated benchmarks of a preset, with the absent modality masked and resampled."""
    tables = []
    for benchmark in (name for name in preset.benchmarks if name.startswith("micro/")):
        for unimodal in preset.unimodal:
            joint = benchmarks.truth(benchmark, unimodal)
            told = {"benchmark": benchmark, "unimodal": unimodal, "estimator": "truth", "seed": preset.seed}
            tables.append(_rows(pid(joint, SOURCES), fingerprint=fingerprint(joint=joint.tolist()), **told))
    return results.tidy(pd.concat(tables, ignore_index=True))


def _rows(solved: PID, **columns: object) -> pd.DataFrame:
    """One row per atom of a single decomposition, with its certified bounds."""
    rows = [
        {"atom": atom, "value_bits": value, "lower_bits": solved.bounds[atom][0], "upper_bits": solved.bounds[atom][1]}
        for atom, value in solved.atoms.items()
    ]
    shared = {"experiment": EXPERIMENT, "source_a": solved.sources[0], "source_b": solved.sources[1], "converged": bool(solved.converged)}
    return pd.DataFrame(rows).assign(**shared, **columns)
