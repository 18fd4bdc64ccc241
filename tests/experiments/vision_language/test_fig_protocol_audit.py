"""Independent labels give the published atoms; published files keep their unknowns; the figure."""

import numpy as np
import pandas as pd
import pytest

from experiments.vision_language.synthetic import MODELS, profiles
from pidlib import benchmarks
from pidlib.experiments.tables import published, validate
from pidlib.experiments.vision_language import fig_protocol_audit as audit
from pidlib.experiments.vision_language.protocols import EQUAL, LONGER, POOLED


@pytest.mark.parametrize("n", audit.LABEL_SIZES)
def test_independent_labels_give_the_published_atoms(n):
    reported = published("fig_protocol_audit").query("n_observations == @n")
    reported = reported.set_index("atom")["nats"].astype(float).to_dict()
    nats = audit._labels(0, n).set_index("atom")["value_bits"] * np.log(2)
    assert nats.to_dict() == pytest.approx(reported, abs=0.03)


def test_published_files_have_unknown_sizes():
    table = audit._published().assign(experiment="e", estimator="e", seed=0)
    table = validate(table, audit.COLUMNS)
    files = table[table["grade"] == "P"].set_index("atom")
    unknown = files[["n_observations", "n_codes", "ci_low", "null_mean"]]
    assert unknown.isna().all(axis=None) and set(files["n_samples"]) == {1001}
    assert files.loc["redundancy", "value_bits"] == pytest.approx(0.727 / np.log(2))
    assert table[table["grade"] == "R"]["n_observations"].notna().all()


def test_the_figure_shows_the_signal_of_models_and_of_the_mixture():
    sizes = {"n_codes": (3, 5, 10), "n_observations": (16, 64, 256, 1024)}
    rows = profiles(protocol=(EQUAL, LONGER, POOLED), benchmark=[audit.AUDITED], **sizes)
    models = {"benchmark": benchmarks.names("pictures")[-5:], "model": MODELS, "n_codes": [10]}
    rows += profiles(protocol=("released", POOLED), n_observations=[8], **models)
    rows += profiles(protocol=[audit.PUBLISHED], benchmark=["BLIP, VQA"], grade=["P"])
    labels = {"protocol": [audit.LABELS], "benchmark": ["labels"], "n_codes": [10]}
    rows += profiles(**labels, n_observations=audit.LABEL_SIZES, grade=(None, "R"))
    table = pd.DataFrame(rows).eval("corrected_bits = 0.9 * value_bits")
    table = validate(table, audit.COLUMNS)
    left, right = audit.figure(table).axes
    assert len(left.get_yticks()) == 5 and "10 codes; at 1024" in right.get_title()
    assert audit.signal(table[table["model"].notna()], "protocol").between(90, 100).all()
