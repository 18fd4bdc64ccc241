"""BATCH beside the exact solver: it is an approximation, and how good a one is stated here."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from pidlib.decomposition import batch
from pidlib.decomposition.batch import batch_pid
from pidlib.decomposition.decisions import Decisions, decision_pid


def gate(name, n=256, seed=0):
    """Samples of a gate of two fair bits, with the ideal unimodal answers."""
    v, t = np.random.default_rng(seed).integers(2, size=(2, n))
    t = v if name == "RDN" else t
    half, one = np.full((n, 2), 0.5), np.eye(2)
    seen = {"XOR": half, "UNQ": one[v], "RDN": one[v], "AND": np.where(v[:, None], half, one[0])}[
        name
    ]
    read = {"XOR": half, "UNQ": half, "RDN": one[v], "AND": np.where(t[:, None], half, one[0])}[
        name
    ]
    answer = {"XOR": v ^ t, "UNQ": v, "RDN": v, "AND": v & t}[name]
    return Decisions(one[answer], {"vision": seen, "language": read})


def soft(n=256, k=3, seed=0):
    v, t = np.random.default_rng(seed).normal(size=(2, n, k)) * 1.5
    return Decisions(
        softmax(v + t, axis=1), {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)}
    )


def distance(estimate, decisions):
    exact = decision_pid(decisions, tol=1e-4).pid.atoms
    assert exact.keys() == estimate.atoms.keys()
    return max(abs(exact[name] - value) for name, value in estimate.atoms.items())


@pytest.mark.parametrize("name", ["XOR", "UNQ", "RDN"])
def test_gates_without_a_choice_of_coupling(name):
    decisions = gate(name)
    assert distance(batch_pid(decisions), decisions) < 0.01


@pytest.mark.parametrize("decisions", [gate("AND"), soft()], ids=["AND", "soft"])
def test_comes_within_a_seventh_of_a_bit_when_trained_long(decisions):
    assert distance(batch_pid(decisions, epochs=60, n_batches=20), decisions) < 1 / 7


def test_published_training_is_too_short_and_the_spread_does_not_show_it():
    decisions = soft(k=4)
    exact = decision_pid(decisions, tol=1e-4).pid.atoms
    published, longer = (
        batch_pid(decisions, n_batches=4),
        batch_pid(decisions, epochs=20, batch_size=64, n_batches=20),
    )
    assert published.atoms["synergy"] < -0.1
    assert max(published.spread.values()) < 1e-3
    for estimate, least in ((published, 0.25), (longer, 0.08)):
        off = {name: exact[name] - value for name, value in estimate.atoms.items()}
        # one error, that of I_Q, moves all four
        assert least < off["redundancy"] < 0.5
        assert off["synergy"] == pytest.approx(off["redundancy"], abs=0.02)
        assert off["unique_vision"] == pytest.approx(-off["redundancy"], abs=0.02)


def test_wider_embeddings_come_closer_to_the_optimum_than_more_steps():
    """The embeddings bound the kernel, and so what any number of steps can reach."""
    off = {"steps": [], "width": []}
    options = {"steps": {"epochs": 400}, "width": {"width": 80, "epochs": 200}}
    for seed in range(2):
        decisions = soft(n=32, k=4, seed=seed)
        exact = decision_pid(decisions, tol=1e-5).pid.redundancy
        for name, each in options.items():
            found = batch_pid(decisions, n_batches=1, seed=seed, **each)
            off[name].append(exact - found.atoms["redundancy"])
    assert min(off["width"]) > 0  # from one side
    assert max(off["width"]) < 0.65 * min(off["steps"])


def informations(estimate):
    atoms = estimate.atoms
    alone = [atoms["redundancy"] + atoms[f"unique_{name}"] for name in ("vision", "language")]
    return [*alone, sum(atoms.values())]


def apart(n=64):
    """Decisions whose sources have another P(Y) than the joint rows."""
    made = soft(n=n)
    tilted = made.sources["language"] * [4, 1, 1]
    language = tilted / tilted.sum(1, keepdims=True)
    return Decisions(made.joint, {"vision": made.sources["vision"], "language": language})


def test_targets_are_reconciled_as_the_decisions_say():
    made, options = apart(), {"epochs": 1, "n_batches": 1, "batch_size": 64}
    for method in ("bounded", "channel", "projection"):
        decisions = replace(made, reconciliation=method)
        exact = decision_pid(decisions, tol=1e-3)
        alone = [exact.pid.redundancy + value for value in exact.pid.unique.values()]
        found = informations(batch_pid(decisions, **options))
        assert found == pytest.approx([*alone, exact.pid.total], abs=1e-6)


def test_targets_that_are_not_reconciled_are_compared_with_the_joint_rows():
    made, options = apart(), {"epochs": 1, "n_batches": 1, "batch_size": 64}
    found = informations(batch_pid(replace(made, reconciliation="none"), **options))
    rows = [*made.sources.values(), made.joint]
    expected = [np.mean(np.sum(each * np.log2(each / made.target), axis=1)) for each in rows]
    assert found == pytest.approx(expected, abs=1e-6)
    assert found[1] > informations(batch_pid(made, **options))[1] + 0.1


def test_scaling_of_targets_with_other_totals_stops_where_it_stalls(monkeypatch):
    """The published 500 iterations change nothing more."""
    decisions = replace(gate("AND"), reconciliation="none")
    steps, clamp = [], torch.Tensor.amax
    monkeypatch.setattr(torch.Tensor, "amax", lambda *a, **k: steps.append(1) or clamp(*a, **k))
    options = {"epochs": 2, "batch_size": 32, "n_batches": 2}
    stopped, few = batch_pid(decisions, **options), len(steps)
    monkeypatch.setattr(batch, "STALLED", -1.0)
    whole, many = batch_pid(decisions, **options), len(steps) - few
    assert few < many / 20
    assert stopped.atoms == pytest.approx(whole.atoms, abs=1e-5)


def test_the_derivative_of_the_loss_is_exact():
    generator = torch.Generator().manual_seed(0)
    values = torch.rand(4, 3, 2, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: batch._terms(q).sum() / q.sum(), values)


def test_rows_of_one_value_have_one_target():
    generator = np.random.default_rng(0)
    v, noise = generator.normal(size=(2, 64, 3)) * 2
    sources = {"vision": softmax(v, axis=1), "language": softmax(noise, axis=1)}
    noisy = Decisions(softmax(v, axis=1), sources)
    options = {"epochs": 1, "n_batches": 2, "batch_size": 64}
    one_question = replace(noisy, values={"language": np.zeros(64)})
    before, after = (informations(batch_pid(each, **options)) for each in (noisy, one_question))
    assert before[1] > 0.3 and after[1] == pytest.approx(0, abs=1e-6)


def test_embeddings_can_be_what_the_networks_see():
    decisions = gate("AND")
    generator = np.random.default_rng(1)
    embeddings = {
        name: np.eye(2)[(rows[:, 1] > 0).astype(int)] + generator.normal(0, 0.1, (256, 2))
        for name, rows in decisions.sources.items()
    }
    assert (
        distance(batch_pid(decisions, embeddings=embeddings, epochs=50, n_batches=10), decisions)
        < 0.1
    )
    blind = {name: np.zeros((256, 1)) for name in decisions.sources}
    # constant inputs leave the sources independent, with too little synergy
    assert batch_pid(decisions, embeddings=blind, epochs=10, n_batches=10).atoms["synergy"] < 0.4


def test_identities_hold():
    decisions = soft()
    estimate = batch_pid(decisions, epochs=1, n_batches=5)
    raw, exact = estimate.atoms, decision_pid(decisions, tol=1e-2).pid
    assert raw["redundancy"] - raw["synergy"] == pytest.approx(
        exact.redundancy - exact.synergy, abs=0.02
    )
    assert all(value >= 0 for value in estimate.spread.values())


def test_batches_are_drawn_by_weight():
    a, b = gate("UNQ", n=100, seed=1), gate("XOR", n=100, seed=2)
    joined = {name: np.concatenate([a.sources[name], b.sources[name]]) for name in a.sources}
    weights = np.repeat([0.999, 0.001], 100) / 100
    estimate = batch_pid(
        Decisions(np.concatenate([a.joint, b.joint]), joined, weights), batch_size=64, n_batches=20
    )
    assert estimate.atoms["unique_vision"] > 0.95 and estimate.atoms["synergy"] < 0.03


def test_each_row_has_its_own_part():
    v, t = np.random.default_rng(0).normal(size=(2, 128, 3)) * [[[4]], [[1]]]
    decisions = Decisions(
        softmax(v + t, axis=1), {"vision": softmax(v, axis=1), "language": softmax(t, axis=1)}
    )
    exact, result = (
        decision_pid(decisions, tol=1e-4).local,
        batch_pid(decisions, epochs=60, n_batches=1, batch_size=128),
    )
    assert (result.occurrences == 1).all()
    for atom, terms in result.local.items():
        # shares of I_Q by pictures alone, or by questions alone, correlate at most .93 with both
        assert np.corrcoef(terms, exact[atom])[0, 1] > 0.99
        assert terms.mean() == pytest.approx(result.atoms[atom], abs=1e-12)


def test_a_row_that_occurs_in_no_batch_has_no_part():
    result = batch_pid(soft(n=64), epochs=1, n_batches=3, batch_size=16)
    seen = result.occurrences > 0
    assert 16 < seen.sum() < 64 and result.occurrences.sum() == 48
    for atom, terms in result.local.items():
        assert (np.isfinite(terms) == seen).all()
        assert result.occurrences[seen] @ terms[seen] / 48 == pytest.approx(
            result.atoms[atom], abs=1e-12
        )


def test_one_seed_one_estimate_and_no_global_state():
    decisions = soft(n=64)
    before = torch.random.get_rng_state()
    one, two, other = (
        batch_pid(decisions, n_batches=3, batch_size=32, seed=seed) for seed in (0, 0, 1)
    )
    assert one.atoms == two.atoms and one.atoms != other.atoms
    assert torch.equal(before, torch.random.get_rng_state())


def test_refuses_embeddings_that_do_not_fit():
    decisions = soft(n=16)
    with pytest.raises(
        ValueError, match="embeddings of vision, audio for sources vision, language"
    ):
        batch_pid(decisions, embeddings={"vision": np.zeros((16, 2)), "audio": np.zeros((16, 2))})
    for wrong in (np.zeros((15, 2)), np.full((16, 2), np.nan), np.zeros(16)):
        with pytest.raises(
            ValueError,
            match="embeddings of 'language', .* must be finite, one row for each of 16 decisions",
        ):
            batch_pid(decisions, embeddings={"vision": np.zeros((16, 2)), "language": wrong})


@pytest.mark.parametrize("name", ["n_batches", "batch_size", "epochs", "width"])
def test_counts_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=-1.*: at least 1 each"):
        batch_pid(soft(n=16), **{name: -1})
