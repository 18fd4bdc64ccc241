"""The columns of every table, declared: of the atoms, and of each table that holds something else."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Schema(NamedTuple):
    """The columns of a table in their order, each with a nullable pandas type, and those that no row may lack.

    Nullable, so that a layer or a null that does not apply is missing: neither -1 nor 0.
    """

    columns: Mapping[str, str]
    required: Sequence[str]


ATOMS = Schema(
    {
        **dict.fromkeys(("experiment", "benchmark", "split", "model", "revision"), "string"),
        "layer": "Int64",
        **dict.fromkeys(("estimator", "unimodal", "source_a", "source_b", "given", "atom"), "string"),
        **dict.fromkeys(("value_bits", "corrected_bits", "lower_bits", "upper_bits"), "Float64"),
        **dict.fromkeys(("ci_low", "ci_high", "null_mean", "null_p"), "Float64"),
        **dict.fromkeys(("n_samples", "n_codes", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "estimator", "atom", "value_bits", "seed", "fingerprint"),
)


# Of both modalities and of each alone, what to know before a profile of decisions is believed; see `pidlib.profiles.diagnose`.
_MEASURES = ("accuracy{}", "entropy{}_bits", "fallback{}")
DIAGNOSED = [name.format(which) for name in _MEASURES for which in ("", "_vision", "_language")] + ["moved_vision", "moved_language"]

# Of either way to ask one modality alone, each atom with the ends of its interval and what it comes to where there is nothing to find.
_ASKED = [f"{mode}_{atom}" for mode in ("masked", "resampled") for atom in ("redundancy", "unique_vision", "unique_language", "synergy")]
PROFILES = [f"{name}_{what}" for name in _ASKED for what in ("bits", "low", "high", "null")]

PROFILED = Schema(
    {
        "experiment": "string",
        "benchmark": "string",
        "split": "string",
        "model": "string",
        "revision": "string",
        **dict.fromkeys(DIAGNOSED, "Float64"),
        **dict.fromkeys(PROFILES, "Float64"),
        "n_samples": "Int64",
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "split", "model", "accuracy", "n_samples", "fingerprint"),
)

BENCH = Schema(
    {
        "method": "string",
        "size": "string",
        "cells": "Int64",
        "tables": "Int64",
        "seconds": "Float64",
        "ratio": "Float64",
        "error_bits": "Float64",
        "seed": "Int64",
        "fingerprint": "string",
    },
    required=("method", "size", "cells", "tables", "seconds", "ratio", "error_bits", "seed", "fingerprint"),
)

POPULATION = Schema(
    {
        **dict.fromkeys(("experiment", "benchmark", "split", "model", "revision", "family", "size"), "string"),
        **{f"{name}_bits": "Float64" for name in ("redundancy", "unique_vision", "unique_language", "synergy")},
        **{f"{name}_bits": "Float64" for name in ("co_information", "added_by_vision", "total", "gap")},
        **{f"{name}_bits": "Float64" for name in ("divergence", "synergy_without_fallback")},
        **dict.fromkeys((*DIAGNOSED, "delta_vision", "delta_low", "delta_high"), "Float64"),
        "n_samples": "Int64",
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "model", "synergy_bits", "accuracy", "converged", "n_samples", "fingerprint"),
)

SENSITIVITY = Schema(
    {
        **dict.fromkeys(("experiment", "source", "grade", "kind", "benchmark", "quantity", "outcome"), "string"),
        **dict.fromkeys(("rho", "abs_rho_at_most", "ci_low", "ci_high", "family_low", "family_high"), "Float64"),
        **dict.fromkeys(("less_synergy", "less_low", "less_high", "p_value", "q_value", "reliability", "fallback"), "Float64"),
        "left_out": "string",
        **dict.fromkeys(("n_models", "n_families", "n_samples", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "source", "quantity", "outcome", "n_models"),
)

AGREEMENT = Schema(
    {
        **dict.fromkeys(("experiment", "measure", "kin", "model_a", "model_b", "family_a", "family_b", "size_a", "size_b"), "string"),
        **dict.fromkeys(("accuracy_apart", "rho", "null_mean", "null_low", "null_high", "null_p"), "Float64"),
        **dict.fromkeys(("n_pairs", "n_cells", "n_samples", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "measure", "n_cells", "n_samples", "fingerprint"),
)

STAGES = Schema(
    {
        **dict.fromkeys(("experiment", "benchmark", "split", "model", "revision", "statistic"), "string"),
        **dict.fromkeys(("value", "ci_low", "ci_high"), "Float64"),
        "verdict": "string",
        **dict.fromkeys(("early_depth", "late_depth"), "Float64"),
        **dict.fromkeys(("n_samples", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "model", "statistic", "verdict", "early_depth", "late_depth", "n_samples", "seed", "fingerprint"),
)

INTERVENED = Schema(
    {
        **dict.fromkeys(("experiment", "kind", "benchmark", "split", "model", "revision", "quantity", "intervention"), "string"),
        **dict.fromkeys(("value", "ci_low", "ci_high", "null_low", "null_high", "reliability"), "Float64"),
        **dict.fromkeys(("n_benchmarks", "n_samples", "n_models", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "kind", "benchmark", "seed", "fingerprint"),
)

ESTIMATORS = Schema(
    {
        "study": "string",
        **ATOMS.columns,
        "epochs": "Int64",
        "batch_size": "Int64",
        "seconds": "Float64",
        "ratio": "Float64",
        "fallback": "Float64",
    },
    required=("study", *ATOMS.required),
)

TWO_LEVELS = Schema(
    {"sources": "string", "target": "string", **ATOMS.columns, "target_bits": "Float64"},
    required=("sources", "target", "target_bits", *ATOMS.required),
)

AUDIT = Schema(
    {"protocol": "string", **ATOMS.columns, "n_observations": "Float64", "source": "string", "grade": "string"},
    required=("protocol", *ATOMS.required),  # of published decompositions the number of observations is not known
)

SYNTHETIC = Schema({**AUDIT.columns, "expected": "string", "recovered": "boolean"}, required=("expected", "recovered", *AUDIT.required))

CONTRIBUTIONS = Schema(
    {
        **ATOMS.columns,
        **dict.fromkeys(("contribution", "contribution_low", "contribution_high", "unique_p"), "Float64"),
        **dict.fromkeys(("source", "grade", "note"), "string"),
    },
    required=tuple(name for name in ATOMS.required if name != "value_bits"),  # of published shares the atoms are not known
)

FUSION = Schema(
    {
        **dict.fromkeys(("kind", "target", "source", "grade"), "string"),
        **CONTRIBUTIONS.columns,
        **dict.fromkeys(("accuracy", "prior", "moved", "moved_once", "null_high", "null_q"), "Float64"),
        **dict.fromkeys(("spread_mechanism", "spread_low", "spread_high", "spread_rest"), "Float64"),
        "n_seeds": "Int64",
    },
    required=("kind", "experiment"),
)

SWAPPED = Schema(
    {
        **dict.fromkeys(("experiment", "kind", "source", "grade", "benchmark", "template", "split", "model", "revision"), "string"),
        **dict.fromkeys(("quantity", "intervention"), "string"),
        **dict.fromkeys(("value", "ci_low", "ci_high", "null_low", "null_high", "null_p"), "Float64"),
        **dict.fromkeys(("n_samples", "n_models", "n_cells", "seed"), "Int64"),
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("experiment", "kind", "value", "quantity", "intervention"),
)

GATED = Schema(
    {"needs": "string", **ATOMS.columns, **dict.fromkeys(("accuracy", "accuracy_sounding", "accuracy_silent"), "Float64")},
    required=("needs", *ATOMS.required),
)

BOTTLENECK = Schema(
    {
        "kind": "string",
        **ATOMS.columns,
        **dict.fromkeys(("audio_share", "gain", "truth_bits", "accuracy"), "Float64"),
        **dict.fromkeys(("trained_seed", "dof"), "Int64"),
    },
    required=("kind", *ATOMS.required),
)

CLIPS = Schema({"template": "string", "kind": "string", **ATOMS.columns}, required=("template", "kind", "given", *ATOMS.required))

STAMPS = Schema(
    {"pairing": "string", **ATOMS.columns, "target_bits": "Float64"},
    required=("pairing", "target_bits", "n_samples", *ATOMS.required),
)

PROBED = Schema(
    {
        **dict.fromkeys(("experiment", "benchmark", "split", "source"), "string"),
        **dict.fromkeys(("accuracy", "ci_low", "ci_high", "prior", "probe_bits", "codes_bits", "target_bits"), "Float64"),
        **dict.fromkeys(("n_fitted", "n_samples", "n_codes", "seed"), "Int64"),
        "fingerprint": "string",
    },
    required=("experiment", "benchmark", "source", "accuracy", "prior", "n_samples", "seed", "fingerprint"),
)

SENSORY = Schema(
    {
        **dict.fromkeys(("source", "grade", "template", "reference"), "string"),
        **ATOMS.columns,
        **{name.format(which): "Float64" for name in _MEASURES for which in ("", "_vision", "_audio", "_text")},
        **dict.fromkeys(("moved_vision", "moved_audio", "n_per_condition"), "Float64"),
        **dict.fromkeys(("n_conditions", "n_alone"), "Int64"),
    },
    required=ATOMS.required,
)

REWEIGHTED = Schema(
    {
        **dict.fromkeys(("experiment", "kind", "source", "grade", "base", "trained_on", "condition", "against", "axis", "level"), "string"),
        **dict.fromkeys(("benchmark", "measure"), "string"),
        **dict.fromkeys(("value", "spread", "difference", "ci_low", "ci_high", "null_high", "p_value", "q_value"), "Float64"),
        **dict.fromkeys(("base_value", "base_value_without_fallback"), "Float64"),  # bits
        **dict.fromkeys(("n_seeds", "n_pairs", "n_samples", "seed"), "Int64"),
        **dict.fromkeys(("primary", "converged"), "boolean"),
        "fingerprint": "string",
    },
    required=("experiment", "condition", "measure", "seed"),
)

SCORED = Schema(
    {
        **dict.fromkeys(("experiment", "base", "benchmark", "split", "sample_id", "question", "answer"), "string"),
        **dict.fromkeys(("sr", "sc", "fp_bits", "gap_bits", "weight", "weight_batch", "weight_lsmi"), "Float64"),
        **dict.fromkeys(("p_answer", "p_answer_language", "moved_vision", "moved_language"), "Float64"),
        **dict.fromkeys(("right", "fallback_vision", "fallback_language", "converged"), "boolean"),
        **dict.fromkeys(("n_samples", "seed"), "Int64"),
        "fingerprint": "string",
    },
    required=("experiment", "base", "benchmark", "split", "sample_id", "sr", "sc", "fp_bits", "gap_bits", "weight", "seed", "fingerprint"),
)

# What tuned models do, a row for each measure of each benchmark; numbers of a training that did not take place are missing.
OUTCOMES = Schema(
    {
        **dict.fromkeys(("base", "revision", "trained_on", "condition"), "string"),
        **dict.fromkeys(("seed", "n_tuned", "steps", "rank"), "Int64"),
        **dict.fromkeys(("learning_rate", "last", "top_gap", "top_shortcut", "gap_weight", "shortcut_weight"), "Float64"),
        **dict.fromkeys(("estimator", "benchmark", "measure"), "string"),
        "value": "Float64",  # a share for accuracy, bits for total and the atoms
        "n": "Int64",
        "converged": "boolean",
        "fingerprint": "string",
    },
    required=("base", "trained_on", "condition", "seed", "benchmark", "measure", "value", "n", "fingerprint"),
)

SCHEMAS: dict[str, Schema] = {  # tables by name that hold something else than atoms, with their experiment where the name is not enough
    "table_profiles": PROFILED,
    "fig_solver": BENCH,
    "fig_sensitivity": POPULATION,
    "table1_sensitivity": SENSITIVITY,
    "fig_families": AGREEMENT,
    "fig_interventions": INTERVENED,
    "table_layers": STAGES,
    "fig_estimators": ESTIMATORS,
    "fig_two_levels": TWO_LEVELS,
    "fig_protocol_audit": AUDIT,
    "table_synthetic": SYNTHETIC,
    **dict.fromkeys(("table2_contributions", "fig_contributions"), CONTRIBUTIONS),
    "fig_fusion": FUSION,
    **dict.fromkeys(("table2_sensory", "fig2_sensory", "omni/fig_recovery"), SENSORY),
    "fig_stamps": STAMPS,
    "table_stamps": PROBED,
    "fig_clips": CLIPS,
    "fig_shuffle": SWAPPED,
    "fig_gate": GATED,
    "table_gate": STAGES,
    "fig_bottleneck": BOTTLENECK,
    "reweighting/outcomes": OUTCOMES,
    **dict.fromkeys(("table3_reweighting", "fig_gain", "fig_ablation", "fig_tradeoff", "fig_when"), REWEIGHTED),
    "fig_scores": SCORED,
}
