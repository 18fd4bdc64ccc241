"""Decisions: validation, decomposition against that of tables, local atoms, bootstrap."""

import numpy as np
import pytest
import torch
from scipy.special import softmax

from pidlib._common import derive_seed
from pidlib.decomposition import pid
from pidlib.decomposition.atoms import atoms as atoms_of
from pidlib.decomposition.decisions import Decisions, bootstrap_decisions, decision_pid
from pidlib.decomposition.information import mutual_information
from pidlib.decomposition.solve import NEWTON_WORK, solve

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


def masked(n=60, k=4, seed=0, scale=1.5):
    """Decisions of a noisy model that adds both logits, with either modality masked."""
    v, t, noise = np.random.default_rng(seed).normal(size=(3, n, k)) * scale
    return Decisions(
        softmax(v + t + noise / 4, axis=1),
        {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)},
    )


def resampled(n=60, questions=8, k=4, seed=0, scale=1.5):
    """The same model on all pairs of a picture and a question, with means over the other side."""
    generator = np.random.default_rng(seed)
    v, t = (
        generator.normal(size=(n, 1, k)) * scale,
        generator.normal(size=(1, questions, k)) * scale,
    )
    w = generator.dirichlet(np.full(questions, 5.0))
    joint = softmax(v + t, axis=2)
    sources = {"vision": np.einsum("vty,t->vy", joint, w)[:, None], "language": joint.mean(0)[None]}
    rows = {
        name: np.broadcast_to(table, joint.shape).reshape(-1, k) for name, table in sources.items()
    }
    return Decisions(
        joint.reshape(-1, k),
        rows,
        np.tile(w / n, n),
        np.repeat(np.arange(n), questions),
        averaged=True,
    )


def sharp(n=96, k=4, gap=12.0, seed=0):
    """Near one-hot decisions, 95 % correct, 60 % with one modality; one-hot for an infinite gap."""
    generator = np.random.default_rng(seed)
    y = generator.integers(k, size=n)

    def answers(wrong):
        said = np.eye(k)[np.where(generator.random(n) < wrong, generator.integers(k, size=n), y)]
        return (
            said if np.isinf(gap) else softmax(gap * said + generator.normal(size=(n, k)), axis=1)
        )

    return Decisions(answers(0.05), {"vision": answers(0.4), "language": answers(0.4)})


def solved_draws(made, n, seed, tol=1e-3):
    """The atoms of the draws of the bootstrap, with I_Q of each solved."""
    samples, groups = np.unique(made.groups, return_inverse=True)
    generator = np.random.default_rng(derive_seed("bootstrap_decisions", seed))
    counts = generator.multinomial(len(samples), np.full(len(samples), 1 / len(samples)), n)
    weights = made.weights * counts[:, groups]
    weights = weights / weights.sum(1, keepdims=True)
    a, b, _ = made.marginals.at(weights)
    i1, i2 = mutual_information(a), mutual_information(b)
    i12 = mutual_information(weights[..., None] * made.joint)
    # a draw has no rows for values that it does not contain
    pairs = ([t[t.sum(1) > 0][None] for t in pair] for pair in zip(a, b, strict=True))
    couplings = [solve(*pair, tol=tol) for pair in pairs]
    assert all(coupling.converged for coupling in couplings)
    iq = torch.cat([coupling.upper for coupling in couplings])
    named = atoms_of(made.sources, i1, i2, i12, iq)
    return {name: values.numpy() for name, values in named.items()}


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
        (made.sources["vision"], local["redundancy"] + local["unique_vision"]),
        (made.sources["language"], local["redundancy"] + local["unique_language"]),
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
    swapped = Decisions(
        made.joint, dict(reversed(made.sources.items())), made.weights, averaged=True
    )
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
    draws = bootstrap_decisions(made, n=20, solved=solved)
    assert all(np.isfinite(values).all() for values in draws.atoms.values())


def test_unconverged_decisions_warn(monkeypatch):
    precise = decision_pid(masked()).pid
    monkeypatch.setitem(NEWTON_WORK, "cpu", 0)
    with pytest.warns(
        UserWarning, match="60 and 60 distinct rows have a gap of .* bits, above tol=1.0e-06"
    ):
        coarse = decision_pid(masked(), max_iterations=20).pid
    assert not coarse.converged and coarse.gap > 1e-6
    assert coarse.lower - 1e-12 <= precise.upper <= coarse.upper + precise.gap


def test_many_samples_take_stage_one_and_keep_the_certificate():
    made = masked(n=700, scale=0.7)
    with pytest.warns(UserWarning, match="distinct rows"):
        solved = decision_pid(made, max_iterations=40)
    assert 1e-6 < solved.pid.gap < 0.05
    alone = [solved.pid.redundancy + value for value in solved.pid.unique.values()]
    assert max(alone) <= solved.pid.upper <= sum(alone) + 1e-9


@pytest.mark.parametrize("made", [masked(n=80), resampled(n=80)], ids=["masked", "resampled"])
def test_dual_bootstrap_has_the_spread_of_the_exact_one(made):
    solved = decision_pid(made)
    priced = bootstrap_decisions(made, n=60, seed=1, solved=solved)
    exact = solved_draws(made, n=60, seed=1, tol=1e-4)
    assert repr(priced).startswith("Draws(60 draws of redundancy, ")
    for name, values in exact.items():
        assert np.corrcoef(priced.atoms[name], values)[0, 1] > 0.8
        assert priced.atoms[name].std() == pytest.approx(values.std(), rel=0.3)
        # draws scatter around the estimate; their distance to exact ones is of second order
        assert abs(priced.atoms[name].mean() - solved.pid.atoms[name]) < 0.5 * values.std()
    iq = sum(
        exact[name] - priced.atoms[name]
        for name in ("redundancy", "unique_vision", "unique_language")
    )
    assert (iq > -1e-3).all()  # the price is a lower bound


@pytest.mark.parametrize("made", [sharp(), sharp(gap=np.inf)], ids=["sharp", "one-hot"])
def test_dual_bootstrap_of_sharp_decisions_respects_the_bounds(made):
    solved = decision_pid(made)
    priced = bootstrap_decisions(made, n=40, seed=1, solved=solved).atoms
    exact = solved_draws(made, n=40, seed=1)
    for name, values in exact.items():
        assert priced[name].std() == pytest.approx(
            values.std(), rel=0.6 if name.startswith("unique") else 0.4
        )
        assert abs(priced[name].mean() - values.mean()) < 1.5 * values.std()
        assert np.corrcoef(priced[name], values)[0, 1] > 0.5
    assert (
        min(priced[name].min() for name in ("redundancy", "unique_vision", "unique_language"))
        > -1e-9
    )


def test_bootstrap_resamples_groups():
    made = resampled(n=30)
    one = Decisions(made.joint, made.sources, made.weights, np.zeros(len(made), int), averaged=True)
    solved = decision_pid(one)
    still = bootstrap_decisions(one, n=5, solved=solved)
    for name, value in solved.pid.atoms.items():
        np.testing.assert_allclose(still.atoms[name], value, atol=1e-9)
    first, again, other = (bootstrap_decisions(made, n=50, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.atoms["synergy"], again.atoms["synergy"])
    assert not np.allclose(first.atoms["synergy"], other.atoms["synergy"])
    centre = {name: draws.mean() for name, draws in first.atoms.items()}
    low, high = first.interval(centre, 0.9)["synergy"]
    assert np.mean(
        (low <= first.atoms["synergy"]) & (first.atoms["synergy"] <= high)
    ) == pytest.approx(0.9, abs=0.03)
    moved = first.interval(centre | {"synergy": centre["synergy"] + 1}, 0.9)["synergy"]
    assert moved == pytest.approx((low + 1, high + 1))


@pytest.mark.parametrize("made", [masked(n=20), resampled(n=12)], ids=["masked", "resampled"])
def test_draws_are_independent_of_the_block_size(made, monkeypatch):
    solved = decision_pid(made)
    together = bootstrap_decisions(made, n=7, solved=solved)
    monkeypatch.setattr("pidlib.decomposition.decisions.BLOCK", 1)
    alone = bootstrap_decisions(made, n=7, solved=solved)
    for name, values in together.atoms.items():
        assert len(values) == 7
        np.testing.assert_array_equal(values, alone.atoms[name])
    np.testing.assert_array_equal(together.target, alone.target)


def test_bootstrap_needs_a_draw():
    with pytest.raises(ValueError, match="n=0 draws: at least 1"):
        bootstrap_decisions(masked(n=5), n=0)


def test_solved_draws_are_those_of_the_resampled_table():
    made = resampled(n=10, questions=4)
    samples = np.random.default_rng(derive_seed("bootstrap_decisions", 3)).multinomial(
        10, np.full(10, 0.1), 1
    )[0]
    w = made.weights.reshape(10, 4)[0] * 10
    joint = np.repeat(made.joint.reshape(10, 4, 4), samples, axis=0)
    table = joint * w[None, :, None] / 10
    drawn = solved_draws(made, n=1, seed=3, tol=1e-6)
    for name, value in pid(table).atoms.items():
        assert drawn[name][0] == pytest.approx(value, abs=2e-6)


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


def test_averaged_rows_must_be_the_means():
    made = resampled(n=5, questions=3)
    assert made.averaged and not masked(n=5).averaged
    sources = dict(made.sources)
    sources["language"] = sources["language"].copy()
    sources["language"][1::3] = sources["language"][0]
    with pytest.raises(
        ValueError,
        match=r"averaged=True, but 10 of 15 rows of .language. .* rows 0, 1, 3, 4, 6 \.\.\.",
    ):
        Decisions(made.joint, sources, made.weights, averaged=True)
    assert len(Decisions(made.joint, sources, made.weights)) == 15
