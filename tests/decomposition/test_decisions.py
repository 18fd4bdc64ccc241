"""Decisions: validation, values, decomposition against that of tables, local atoms."""

import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.special import softmax

from decomposition.made_decisions import masked, resampled, sharp
from pidlib.decomposition import pid
from pidlib.decomposition import solve as router
from pidlib.decomposition.decisions import Decisions, decision_pid, pid_together
from pidlib.decomposition.solve import NEWTON_WORK

AND = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]]) / 4
XOR = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]]) / 4
UNQ = np.array([[[1, 0], [1, 0]], [[0, 1], [0, 1]]]) / 4
RDN = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]]) / 2


def of_table(p):
    """Decisions of the ideal model of a table: one row per pair (x1, x2) with true conditionals."""
    p = p / p.sum()
    x1, x2 = np.nonzero(p.sum(2))
    first, second = p.sum(1), p.sum(0)
    sources = {
        "vision": (first / first.sum(1, keepdims=True))[x1],
        "language": (second / second.sum(1, keepdims=True))[x2],
    }
    weights = p.sum(2)[x1, x2]
    return Decisions(p[x1, x2] / weights[:, None], sources, weights)


def atoms(solved):
    return np.array(list(solved.pid.atoms.values()))


@pytest.mark.parametrize(
    ("table", "expected"),
    [(AND, (0.311278, 0, 0, 0.5)), (XOR, (0, 0, 0, 1)), (UNQ, (0, 1, 0, 0)), (RDN, (1, 0, 0, 0))],
    ids=["AND", "XOR", "UNQ", "RDN"],
)
def test_gates(table, expected):
    solved = decision_pid(of_table(table))
    np.testing.assert_allclose(atoms(solved), expected, atol=2e-6)
    assert solved.pid.converged
    assert max(solved.reconciliation.values()) < 1e-15


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_decomposition_of_the_table(seed):
    generator = np.random.default_rng(seed)
    table = generator.dirichlet(np.full(5 * 7 * 3, 0.4)).reshape(5, 7, 3)
    expected, solved = pid(table), decision_pid(of_table(table))
    np.testing.assert_allclose(atoms(solved), list(expected.atoms.values()), atol=2e-6)
    assert solved.pid.lower <= expected.upper + 1e-12 and expected.lower <= solved.pid.upper + 1e-12
    assert solved.pid.total == pytest.approx(expected.total, abs=1e-12)


@pytest.mark.parametrize("made", [masked(), resampled()], ids=["masked", "resampled"])
@pytest.mark.parametrize("stage", [1, 2])
def test_local_atoms_average_to_the_atoms(made, stage, monkeypatch):
    if stage == 1:
        monkeypatch.setitem(NEWTON_WORK, "cpu", 0)
    solved = decision_pid(made, tol=1e-3 if stage == 1 else 1e-6)
    assert solved.local["synergy"].shape == (len(made),)
    for name, value in solved.pid.atoms.items():
        assert made.weights @ solved.local[name] == pytest.approx(value, abs=1e-9)
    i1 = solved.local["redundancy"] + solved.local["unique_vision"]
    assert (i1 > -1e-12).all() and solved.local["synergy"].std() > 0.01


def test_local_terms_are_divergences_from_the_prior():
    made = resampled()
    local, prior = decision_pid(made).local, made.target
    for rows, total in (
        (made.unimodal["vision"], local["redundancy"] + local["unique_vision"]),
        (made.unimodal["language"], local["redundancy"] + local["unique_language"]),
        (made.joint, sum(local.values())),
    ):
        np.testing.assert_allclose(total, (rows * np.log2(rows / prior)).sum(1), atol=1e-9)


def test_both_stages_agree(monkeypatch):
    made = masked()
    precise = decision_pid(made)
    monkeypatch.setitem(NEWTON_WORK, "cpu", 0)
    coarse = decision_pid(made, tol=2e-3)
    assert precise.pid.gap <= 1e-6 and coarse.pid.gap <= 2e-3
    assert coarse.pid.lower <= precise.pid.upper and precise.pid.lower <= coarse.pid.upper
    np.testing.assert_allclose(atoms(coarse), atoms(precise), atol=2e-3)


@pytest.mark.parametrize("many", [500, 10])
def test_together_is_as_one_by_one(many, monkeypatch):
    monkeypatch.setattr("pidlib.decomposition.decisions.MANY", many)
    rng = np.random.default_rng(0)
    parts = [sharp(30, gap=4), masked(20), resampled(12, questions=6)]
    weights = [rng.dirichlet(np.full(len(part), 3.0), size=2) for part in parts]
    weights[1][:, :8] = 0  # a row without weight is absent
    weights[1] /= weights[1].sum(1, keepdims=True)
    solved = pid_together(list(zip(parts, weights, strict=True)), tol=1e-5)
    assert len(solved) == 6 and solved.converged.all()
    for index, found in enumerate(solved):
        part, w = parts[index // 2], weights[index // 2][index % 2]
        keep = w > 0
        rows = {name: values[keep] for name, values in part.sources.items()}
        values = {name: values[keep] for name, values in part.values.items()}
        options = {"weights": w[keep], "values": values}
        alone = decision_pid(Decisions(part.joint[keep], rows, **options), tol=1e-5).pid
        assert found.atoms == pytest.approx(alone.atoms, abs=2e-5)
    other = replace(parts[1], reconciliation="channel")
    with pytest.raises(ValueError, match=r"different sources or reconciliation: .*'channel'"):
        pid_together([(parts[0], weights[0]), (other, weights[1])], tol=1e-5)


def test_equal_rows_are_one_value():
    made = masked(n=20)
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(20), 3))
    thrice = Decisions(
        made.joint[order], {name: rows[order] for name, rows in made.sources.items()}
    )
    once, solved = decision_pid(made), decision_pid(thrice)
    assert [len(rows) for rows in solved.potentials] == [20, 20]
    np.testing.assert_allclose(atoms(solved), atoms(once), atol=2e-6)
    np.testing.assert_allclose(solved.local["synergy"], once.local["synergy"][order], atol=1e-3)


def test_swapped_sources_swap_the_unique_atoms():
    made = resampled(n=20, questions=6)
    swapped = replace(made, sources=dict(reversed(made.sources.items())))
    one, two = decision_pid(made).pid, decision_pid(swapped).pid
    assert two.sources == ("language", "vision")
    for name in ("redundancy", "synergy", "unique_vision", "unique_language"):
        assert one.atoms[name] == pytest.approx(two.atoms[name], abs=2e-6)


def test_masked_decisions_are_reconciled_and_the_distance_reported():
    made = masked()
    apart = {
        name: np.abs(rows.mean(0) - made.target).sum() / 2 for name, rows in made.sources.items()
    }
    solved = decision_pid(made)
    for name, least in apart.items():
        assert least - 1e-12 <= solved.reconciliation[name] < 3 * least
    assert max(decision_pid(resampled()).reconciliation.values()) < 1e-14


def test_synergy_is_negative_if_one_modality_is_more_informative_than_both():
    n, k = 40, 4
    sure = np.eye(k)[np.arange(n) % k]
    solved = decision_pid(
        Decisions(np.full((n, k), 1 / k), {"vision": sure, "language": np.full((n, k), 1 / k)})
    )
    np.testing.assert_allclose(atoms(solved), [0, 2, 0, -2], atol=2e-6)


def test_more_masked_samples_have_more_synergy_and_less_unique_information():
    v, t = np.random.default_rng(0).normal(size=(2, 256, 4)) * 1.5
    few, many = (
        decision_pid(
            Decisions(
                softmax(v[:n] + t[:n], axis=1),
                {"vision": softmax(v[:n], axis=1), "language": softmax(t[:n], axis=1)},
            )
        ).pid
        for n in (32, 256)
    )
    assert many.synergy > few.synergy + 0.05
    assert sum(many.unique.values()) < sum(few.unique.values()) - 0.05


def test_one_hot_decisions_with_another_prior_stay_finite():
    n = 40
    joint, vision, language = (
        np.eye(2)[(np.arange(n) % 4 == 0).astype(int)],
        np.eye(2)[np.zeros(n, int)],
        np.full((n, 2), 0.5),
    )
    made = Decisions(joint, {"vision": vision, "language": language})
    solved = decision_pid(made)
    # one-hot rows cannot be scaled: a quarter of their mass goes where the joint rows are
    assert (
        solved.reconciliation["vision"] == pytest.approx(0.25) == solved.reconciliation["language"]
    )
    np.testing.assert_allclose(atoms(solved), [0, 0, 0, solved.pid.total], atol=1e-9)


def stop_stage_one(monkeypatch, steps):
    monkeypatch.setattr(router, "ipfp", partial(router.ipfp, max_iterations=steps))


def test_unconverged_decisions_warn(monkeypatch):
    precise = decision_pid(masked()).pid
    monkeypatch.setitem(NEWTON_WORK, "cpu", 0)
    stop_stage_one(monkeypatch, 20)
    with pytest.warns(
        UserWarning, match="60 and 60 distinct rows have a gap of .* bits, above tol=1.0e-06"
    ):
        coarse = decision_pid(masked()).pid
    assert not coarse.converged and coarse.gap > 1e-6
    assert coarse.lower - 1e-12 <= precise.upper <= coarse.upper + precise.gap


def test_decisions_most_of_which_are_uniform_are_warned_about():
    """A model that names no candidate has a certified profile of zeros."""
    sharp_rows, uniform = np.eye(2)[np.arange(8) % 2], np.full((8, 2), 0.5)
    sources = dict.fromkeys(("vision", "language"), uniform)

    def solved(n_uniform):
        joint = np.concatenate([uniform[:n_uniform], sharp_rows[n_uniform:]])
        return decision_pid(Decisions(joint, sources)).pid

    with pytest.warns(UserWarning, match=r"0\.75 of the decisions are uniform, .* \(fallback\)"):
        assert solved(6).total == pytest.approx(0.25)
    with pytest.warns(UserWarning, match=r"1\.00 of the decisions are uniform"):
        assert solved(8).total == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solved(4)


def test_many_samples_take_stage_one_and_keep_the_certificate(monkeypatch):
    made = masked(n=700, scale=0.7)
    stop_stage_one(monkeypatch, 40)
    with pytest.warns(UserWarning, match="distinct rows"):
        solved = decision_pid(made)
    assert 1e-6 < solved.pid.gap < 0.05
    alone = [solved.pid.redundancy + value for value in solved.pid.unique.values()]
    assert max(alone) <= solved.pid.upper <= sum(alone) + 1e-9


def test_decisions_fill_in_weights_and_groups():
    made = masked(n=5)
    np.testing.assert_allclose(made.weights, 0.2)
    np.testing.assert_array_equal(made.groups, np.arange(5))
    np.testing.assert_allclose(made.target, made.joint.mean(0))
    single = Decisions(
        made.joint.astype(np.float32),
        {name: rows.astype(np.float32) for name, rows in made.sources.items()},
    )
    np.testing.assert_allclose(single.joint.sum(1), 1, atol=1e-15)


def test_invalid_distributions_raise():
    made = masked(n=5)
    for value, message in (
        (np.nan, "rows 2 "),
        (np.inf, "rows 2 "),
        (-0.5, "rows 2 "),
        (0.9, "rows 2 "),
    ):
        joint = made.joint.copy()
        joint[2, 0] = value
        with pytest.raises(ValueError, match=f"'joint' has 1 of 5 rows .* {message}"):
            Decisions(joint, made.sources)
    with pytest.raises(ValueError, match=r"two different sources, but got \('vision',\)"):
        Decisions(made.joint, {"vision": made.joint})
    with pytest.raises(ValueError, match=r"source 'language' \(4, 4\)"):
        Decisions(made.joint, {"vision": made.joint, "language": made.joint[:4]})
    with pytest.raises(ValueError, match="not empty"):
        Decisions(made.joint[0], made.sources)
    with pytest.raises(ValueError, match="one entry for each of the 5 rows"):
        Decisions(made.joint, made.sources, np.ones(4) / 4)
    for weights in (
        np.ones(5),
        np.array([0.5, 0.5, 0, 0, 0]),
        np.array([np.nan, 0.25, 0.25, 0.25, 0.25]),
    ):
        with pytest.raises(ValueError, match="positive and sum to one"):
            Decisions(made.joint, made.sources, weights)
    with pytest.raises(ValueError, match="groups must be integers"):
        Decisions(made.joint, made.sources, groups=np.linspace(0, 1, 5))
    with pytest.raises(ValueError, match=r"one or two for each of the 5 rows; .* \(5, 3\)"):
        Decisions(made.joint, made.sources, groups=np.zeros((5, 3), int))


def test_invalid_values_and_reconciliations_raise():
    made = masked(n=5)
    for labels in (np.arange(4), np.zeros((5, 2)), 3 * ["a"]):
        with pytest.raises(ValueError, match="values of 'vision' must be 5 labels, one for each"):
            replace(made, values={"vision": labels})
    hidden = np.ma.array(np.arange(5), mask=[0, 1, 0, 0, 0])
    for labels, message in (
        (hidden, "1 entries of values of 'vision' are masked"),
        ([0, 1, np.nan, np.nan, 0], "2 of 5 values of 'vision' are missing .*: samples 2, 3"),
    ):
        with pytest.raises(ValueError, match=message):
            Decisions(made.joint, made.sources, values={"vision": labels})
    with pytest.raises(ValueError, match="source of values 'audio'"):
        replace(made, values={"audio": np.arange(5)})
    with pytest.raises(ValueError, match="reconciliation 'least'; known: bounded, channel, none"):
        replace(made, reconciliation="least")
    with pytest.raises(ValueError, match="only BATCH takes them"):
        decision_pid(replace(made, reconciliation="none"))


def test_labels_of_values_may_be_texts_and_their_order_means_nothing():
    made = resampled(n=6, questions=4)
    number = made.values["language"]
    texts = [["what", "where", "who", "how"][label] for label in number]
    shuffled = np.array([30, -1, 7, 2])[number]
    expected = decision_pid(made)
    for labels in (texts, shuffled):
        given = replace(made, values={"vision": made.values["vision"], "language": labels})
        assert repr(given) == "Decisions(24 rows, 4 candidates; values: 6 of vision, 4 of language)"
        solved = decision_pid(given)
        np.testing.assert_allclose(atoms(solved), atoms(expected), atol=2e-6)
        for name, rows in given.unimodal.items():
            np.testing.assert_allclose(rows, made.unimodal[name], atol=1e-15)


def test_the_answer_to_a_value_is_the_weighted_mean_of_its_rows():
    made = resampled(n=5, questions=3)
    grid, w = made.joint.reshape(5, 3, 4), made.weights.reshape(5, 3)
    of_picture = np.einsum("vty,vt->vy", grid, w) / w.sum(1)[:, None]
    of_question = np.einsum("vty,vt->ty", grid, w) / w.sum(0)[:, None]
    np.testing.assert_allclose(made.unimodal["vision"], np.repeat(of_picture, 3, axis=0))
    np.testing.assert_allclose(made.unimodal["language"], np.tile(of_question, (5, 1)))
    means = replace(made, sources=made.unimodal)
    np.testing.assert_allclose(atoms(decision_pid(means)), atoms(decision_pid(made)), atol=2e-6)


def test_equal_rows_of_different_values_stay_apart_without_a_change_of_the_atoms():
    made = masked(n=20)
    index = np.repeat(np.arange(20), 3)
    sources = {name: rows[index] for name, rows in made.sources.items()}
    thrice = Decisions(made.joint[index], sources, values=dict.fromkeys(sources, np.arange(60)))
    solved = decision_pid(thrice, tol=1e-5)
    assert [len(rows) for rows in solved.potentials] == [60, 60]
    np.testing.assert_allclose(atoms(solved), atoms(decision_pid(made)), atol=2e-5)


def test_noise_between_the_answers_to_one_question_is_no_information():
    generator = np.random.default_rng(0)
    v, noise = generator.normal(size=(2, 128, 4)) * 2
    sources = {"vision": softmax(v, axis=1), "language": softmax(noise, axis=1)}
    noisy = Decisions(softmax(v, axis=1), sources)
    one_question = replace(noisy, values={"language": ["what is it?"] * 128})
    before, after = decision_pid(noisy), decision_pid(one_question)
    assert before.given["language"] > 0.3 and before.pid.redundancy > 0.3
    assert after.given["language"] == pytest.approx(0, abs=1e-12)
    alone = after.pid.redundancy + after.pid.unique["language"]
    assert alone == pytest.approx(0, abs=1e-9)
    # what the picture tells is no longer taken for redundant
    assert after.pid.unique["vision"] == pytest.approx(after.given["vision"], abs=0.01)


def red_anyway(n=256, k=4, seed=0):
    """The picture tells the answer; the language model says the first answer, with small tails."""
    generator = np.random.default_rng(seed)
    sure = 0.97 * np.eye(k)[generator.integers(k, size=n)] + 0.03 / k
    logits = generator.normal(0, 2, (n, k))
    logits[:, 0] += 20
    return Decisions(sure, {"vision": sure, "language": softmax(logits, axis=1)})


@pytest.mark.parametrize("seed", range(3))
def test_reconciliation_makes_no_answer_out_of_the_tails_of_a_constant_one(seed):
    made = red_anyway(seed=seed)
    bits = {}
    for method in ("bounded", "channel", "projection"):
        solved = decision_pid(replace(made, reconciliation=method), tol=1e-4)
        assert solved.given["language"] < 1e-4
        assert solved.pid.unique["vision"] + solved.pid.redundancy == pytest.approx(
            solved.given["vision"], abs=0.02
        )
        bits[method] = solved.pid.redundancy + solved.pid.unique["language"]
        if method != "projection":
            assert bits[method] <= solved.given["language"] + 1e-9
    assert bits["projection"] > 0.5  # of which almost nothing is in the answers


def test_tails_of_one_hot_answers_change_nothing():
    made, exponent = sharp(gap=np.inf), np.random.default_rng(0).uniform(-300, -20, (96, 4))

    def with_tails(tails, **options):
        sources = {name: np.where(rows > 0, rows, tails) for name, rows in made.sources.items()}
        return atoms(decision_pid(Decisions(made.joint, sources, **options)))

    expected = atoms(decision_pid(made))
    for tails in (1e-300, 10**exponent):
        np.testing.assert_allclose(with_tails(tails), expected, atol=1e-6)
    # the projection makes redundancy of them
    assert with_tails(10**exponent, reconciliation="projection")[0] > expected[0] + 0.3


def test_given_is_the_information_before_reconciliation():
    made = masked()
    solved = decision_pid(made)
    for name, rows in made.sources.items():
        expected = np.mean(np.sum(rows * np.log2(rows / rows.mean(0)), axis=1))
        assert solved.given[name] == pytest.approx(expected, abs=1e-12)
        after = solved.pid.redundancy + solved.pid.unique[name]
        assert after <= solved.given[name] + 1e-9
    fits = decision_pid(resampled())
    for name, value in fits.given.items():
        after = fits.pid.redundancy + fits.pid.unique[name]
        assert after == pytest.approx(value, abs=1e-9)


def test_on_samples_of_a_consistent_model_bounded_costs_little_redundancy():
    """The answers to one modality have the P(Y) of the law, the joint rows that of the sample."""
    v, t = (np.random.default_rng(seed).normal(size=(n, 4)) for seed, n in ((0, 12), (1, 6)))
    law = softmax(v[:, None] + t, axis=2)

    def of_pairs(picture, question):
        means = {"vision": law.mean(1)[picture], "language": law.mean(0)[question]}
        values = {"vision": picture, "language": question}
        return Decisions(law[picture, question], means, values=values)

    truth, found = decision_pid(of_pairs(*np.divmod(np.arange(72), 6))), {}
    samples = []
    for seed in range(10):
        generator = np.random.default_rng(seed)
        samples.append(of_pairs(generator.integers(12, size=64), generator.integers(6, size=64)))
    for method in ("bounded", "channel"):
        solved = [decision_pid(replace(made, reconciliation=method)) for made in samples]
        found[method] = np.abs(np.mean([atoms(each) for each in solved], axis=0) - atoms(truth))
    redundancy, synergy = 0, 3
    assert found["bounded"][redundancy] < found["channel"][redundancy] / 2
    assert found["bounded"][synergy] < found["channel"][synergy] / 2
    assert found["bounded"].max() < 0.02
