"""What the validation measures, against what is known: gates, ideal answerers, independent variables."""

from itertools import product

import pandas as pd
from tqdm.auto import tqdm

from pidlib import benchmarks, results, runs, schemas
from pidlib.benchmarks import micro_av
from pidlib.decomposition import PID, pid
from pidlib.distributions import GATES
from pidlib.experiment import Preset, fingerprint
from pidlib.uncertainty import spurious_synergy

EXPERIMENT = "validation"
SOURCES = ("vision", "language")


def gates(preset: Preset) -> pd.DataFrame:
    """Atoms of every gate of the zoo, in closed form and as the solver finds them."""
    tables = []
    for name, gate in GATES.items():
        joint = gate.joint()
        shared = {"benchmark": f"gate/{name}", "seed": preset.seed, "fingerprint": fingerprint(joint=joint.tolist())}
        solved = _rows(pid(joint, SOURCES), **shared, estimator="newton")
        known = solved[["experiment", "source_a", "source_b", "atom"]].assign(**shared, estimator="closed form", value_bits=gate.atoms)
        tables += [known, solved]
    return results.tidy(pd.concat(tables, ignore_index=True))


def truths(preset: Preset) -> pd.DataFrame:
    """Atoms of the ideal answerer for the generated benchmarks of a preset, with the absent modality masked and resampled."""
    tables = []
    for benchmark, unimodal in product(_generated(preset), preset.unimodal):
        joint = benchmarks.truth(benchmark, unimodal)
        told = {"benchmark": benchmark, "unimodal": unimodal, "estimator": "truth", "seed": preset.seed}
        tables.append(_rows(pid(joint, SOURCES), fingerprint=fingerprint(joint=joint.tolist()), **told))
    return results.tidy(pd.concat(tables, ignore_index=True))


def clip_truths(preset: Preset) -> pd.DataFrame:
    """Atoms of the ideal answerer for each template of the generated clips of a preset, given the question and where it is ignored."""
    tables = []
    for one, unimodal, given in product(micro_av.TEMPLATES.values(), preset.unimodal, ("question", "nothing")):
        if f"micro_av/{one.task}" in preset.omni_benchmarks:
            laws = {t: (weight, joint.tolist()) for t, (weight, joint) in micro_av.joint(one.name, unimodal).items()}
            told = {"template": one.name, "kind": one.kind, "benchmark": f"micro_av/{one.task}", "unimodal": unimodal, "given": given}
            solved = micro_av.sensory_truth(one.name, unimodal, ignored=given == "nothing")
            tables.append(_rows(solved, **told, estimator="truth", seed=preset.seed, fingerprint=fingerprint(laws=laws, given=given)))
    return results.tidy(pd.concat(tables, ignore_index=True).assign(experiment="omni", split="test"), schemas.CLIPS)


def recovery(preset: Preset) -> pd.DataFrame:
    """The truth of each generated benchmark, and the atoms of the models' decisions by the exact solver and by BATCH."""
    measured = runs.decision_profiles(preset, EXPERIMENT, _generated(preset), estimators=("exact", "BATCH"))
    return results.tidy(pd.concat([truths(preset), measured], ignore_index=True))


def bias(preset: Preset) -> pd.DataFrame:
    """Synergy found between independent codes, by each correction: its mean over repeated draws, and 1.96 standard deviations about it."""
    rows = []
    for k, n in tqdm(list(product(preset.bias_codes, preset.bias_samples)), desc="independent codes", unit="setting"):
        made = {"n": n, "k": k, "n_repeats": preset.n_repeats, "seed": preset.seed}
        found = spurious_synergy(**made).groupby("correction", sort=False)["synergy_bits"].agg(["mean", "std"])
        shared = {"experiment": EXPERIMENT, "benchmark": "independent", "atom": "synergy", "n_samples": n, "n_codes": k}
        shared |= {"seed": preset.seed, "fingerprint": fingerprint(**made)}
        for correction, (mean, deviation) in found.iterrows():
            reach = {"value_bits": mean, "ci_low": mean - 1.96 * deviation, "ci_high": mean + 1.96 * deviation}
            rows.append(shared | {"estimator": correction} | reach)
    return results.tidy(rows)


def _generated(preset: Preset) -> list[str]:
    """The benchmarks of a preset whose law, and with it the truth, is known."""
    return [name for name in preset.benchmarks if name.startswith("micro/")]


def _rows(solved: PID, **columns: object) -> pd.DataFrame:
    """One row per atom of a single decomposition, with its certified bounds."""
    rows = [
        {"atom": atom, "value_bits": value, "lower_bits": solved.bounds[atom][0], "upper_bits": solved.bounds[atom][1]}
        for atom, value in solved.atoms.items()
    ]
    shared = {"experiment": EXPERIMENT, "source_a": solved.sources[0], "source_b": solved.sources[1], "converged": bool(solved.converged)}
    return pd.DataFrame(rows).assign(**shared, **columns)
