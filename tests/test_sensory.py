"""Sensory PID of the ideal answerer's decisions against that of its exact tables, and what conditions, references and noise do to it."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from pidlib.benchmarks import micro_av
from pidlib.coupling import couple
from pidlib.decisions import Decisions
from pidlib.decomposition import pid
from pidlib.extraction import Extraction
from pidlib.marginals import PairMarginals
from pidlib.sensory import ASKED, PASSES, REFERENCES, TURNS, added, bootstrap, conditions, decompose, median

CLIPS = 80  # of each question: every probability of every law is a multiple of 1/80
K = 8


def record(logits, templates, questions, answers=None):
    """An extraction of given logits [N, k], pass by pass; passes that are not given answer uniformly."""
    n, k = next(iter(logits.values())).shape
    logits = {key: logits.get(key, np.full((n, k), -np.log(k))) for key in ASKED}
    told = {"sample_ids": tuple(f"s{i}" for i in range(n)), "answers": answers or ("0",) * n, "candidates": tuple(map(str, range(k)))}
    read = {"embeddings": {}, "layers": (), "hidden": None, "lens_logits": {}, "lens_log_normalizer": {}, "pairs": None}
    normal = {key: np.logaddexp.reduce(values, 1) for key, values in logits.items()}
    return Extraction(logits=logits, log_normalizer=normal, templates=tuple(templates), questions=tuple(questions), **told, **read)


def ideal(*names):
    """The ideal answerer's extraction on templates, clips as often as their law has it, and what is seen and heard in each."""
    answers, templates, questions, content = {key: [] for key in PASSES.values()}, [], [], []
    for name in names:
        for t, (_, table) in micro_av.joint(name).items():
            for v, a in np.argwhere(table.sum(2)):
                count = round(table[v, a].sum() * CLIPS)
                rows = {"joint": table[v, a], "vision": table[v].sum(0), "audio": table[:, a].sum(0), "text": table.sum((0, 1))}
                for role, row in rows.items():
                    answers[PASSES[role]] += [np.log(np.clip(row / row.sum(), 1e-12, 1))] * count
                templates += [name] * count
                questions += [t] * count
                content += [(v, a)] * count
    return record({key: np.array(rows) for key, rows in answers.items()}, templates, questions), content


def measured(extraction, given, content=None):
    return decompose([one.decisions for one in conditions(extraction, given, content=content)]).pid


@pytest.mark.parametrize("name", micro_av.TEMPLATES)
def test_decisions_of_the_ideal_answerer_have_the_atoms_of_its_law(name):
    extraction, content = ideal(name)
    for given, states, ignored in (("question", None, False), ("none", content, True)):
        truth = micro_av.sensory_truth(name, ignored=ignored)
        assert measured(extraction, given, states).atoms == pytest.approx(truth.atoms, abs=3e-4), given


def test_the_conditional_case_and_what_becomes_of_it_where_the_question_is_ignored():
    nothing = {"redundancy": 0, "unique_vision": 0, "unique_audio": 0, "synergy": 0}
    gated, polarity = ideal("gated"), ideal("polarity")
    assert measured(gated[0], "question").atoms == pytest.approx(nothing | {"unique_vision": 0.5, "synergy": 0.5}, abs=3e-4)
    assert measured(polarity[0], "question").atoms == pytest.approx(nothing | {"synergy": 1}, abs=3e-4)
    assert measured(polarity[0], "none", polarity[1]).atoms == pytest.approx(nothing, abs=3e-4)
    assert measured(gated[0], "none", gated[1]).synergy == pytest.approx(0.311, abs=1e-3)
    assert measured(polarity[0], "template").synergy == pytest.approx(1, abs=3e-4)  # thrown together, rows still know their question


def soft(n=60, texts=3, seed=0, templates=1):
    """A model whose answers owe something to everything, in the texts' turn."""
    rng = np.random.default_rng(seed)
    v, a, t = rng.normal(size=(n, 4)), rng.normal(size=(n, 4)), 1.5 * rng.normal(size=(texts, 4))[np.arange(n) % texts]
    noise = {f"language#{draw}" if draw else "language": t + 0.3 * rng.normal(size=(n, 4)) for draw in range(3)}
    logits = {"vision+audio+language": v + a + t, "vision+language": v + t, "audio+language": a + t, **noise}
    questions = [f"q{i % texts}" for i in range(n)]
    return record(logits, [f"t{i % texts % templates}" for i in range(n)], questions)


def exact_table(joint_of):
    """P((t, v), (t, a), y) of tables [v, a, y] with weights: what is seen and heard along with the question."""
    (rows, columns, k), count = joint_of[0][1].shape, len(joint_of)
    table = np.zeros((count, rows, count, columns, k))
    for t, (weight, joint) in enumerate(joint_of):
        table[t, :, t] = weight * joint
    return table.reshape(count * rows, count * columns, k)


def test_questions_of_one_template_are_coupled_with_each_other():
    copies = [np.zeros((2, 2, 2)) for _ in range(2)]
    for v, a in np.ndindex(2, 2):
        copies[0][v, a, v] = copies[1][v, a, a] = 0.25
    sure, uniform = np.log(np.clip(np.eye(2), 1e-12, 1)), np.full(2, np.log(0.5))
    v, a, t = np.array(list(np.ndindex(2, 2, 2)) * 4).T
    logits = {"vision+audio+language": sure[np.where(t, a, v)], "vision+language": np.where(t[:, None], uniform, sure[v])}
    extraction = record(logits | {"audio+language": np.where(t[:, None], sure[a], uniform)}, ["t"] * 32, [f"q{one}" for one in t])
    known = pid(exact_table([(0.5, copy) for copy in copies]), ("vision", "audio"))
    assert measured(extraction, "template").atoms == pytest.approx(known.atoms, abs=3e-4)
    assert known.redundancy == pytest.approx(0.5, abs=1e-5) and known.unique["vision"] == pytest.approx(0, abs=1e-5)
    given = measured(extraction, "question")
    assert given.unique == pytest.approx({"vision": 0.5, "audio": 0.5}, abs=3e-4) and given.redundancy == pytest.approx(0, abs=3e-4)


def relative(rows, r):
    """Mean of KL(row || r) in bits, of rows weighted by their mass."""
    return rel_entr(rows, rows.sum(1, keepdims=True) * r).sum() / np.log(2)


def by_hand(parts, reference, reconciled=True):
    """The atoms as the paper writes them, the reference in each of the four terms, I_Q of an explicit coupling; rows reconciled or not.

    Nothing is taken from the solver but the coupling, which is filled up to the pair marginals as the certificate's proof does it.
    """
    values, total = np.zeros(4), sum(len(one.decisions) for one in parts)
    everything = sum(len(one.decisions) * one.decisions.target for one in parts) / total
    for one in parts:
        mine = one.decisions
        template = [other for other in parts if other.template == one.template]
        weights = np.array([len(other.decisions) for other in template], float)
        form = weights @ np.stack([other.decisions.target for other in template]) / weights.sum()
        r = {"question": mine.target, "template": form, "sample": one.told.mean(0), "marginal": everything}[reference]
        a, b, _ = PairMarginals(mine.joint, mine.sources, averaged=False).at(mine.weights)
        made = couple(a, b, 1e-7)
        q = torch.einsum("ij,iy,jy->ijy", made.A[0], made.U[0], made.V[0]).numpy()
        a, b = a.numpy(), b.numpy()
        left, right = a - q.sum(1), b - q.sum(0)
        q += left[:, None] * right[None] / left.sum(0).clip(1e-300)
        assert q.min() >= 0 and q.sum(1) == pytest.approx(a, abs=1e-12) and q.sum(0) == pytest.approx(b, abs=1e-12)
        rows = (a, b) if reconciled else [mine.weights[:, None] * source for source in mine.sources.values()]
        i_v, i_a, i_q = relative(rows[0], r), relative(rows[1], r), relative(q.reshape(-1, q.shape[2]), r)
        i_va = relative(mine.weights[:, None] * mine.joint, r)
        values += len(mine) / total * np.array([i_v + i_a - i_q, i_q - i_a, i_q - i_v, i_va - i_q])
    return dict(zip(("redundancy", "unique_vision", "unique_audio", "synergy"), values, strict=True))


@pytest.mark.parametrize("reference", REFERENCES["question"])
def test_a_reference_moves_redundancy_alone(reference):
    parts = conditions(soft(texts=4, templates=2), "question")
    found, more = decompose([one.decisions for one in parts], tol=1e-7), float(added(parts, reference))
    assert (more == 0) if reference == "question" else more > 0.01
    expected = found.pid.atoms | {"redundancy": found.pid.redundancy + more}
    assert by_hand(parts, reference) == pytest.approx(expected, abs=1e-6)


def test_without_reconciliation_a_reference_moves_unique_atoms_too():
    parts = conditions(soft(texts=4, templates=2), "question")
    apart, moved = (
        {atom: abs(there[atom] - here[atom]) for atom in here}
        for here, there in ((by_hand(parts, "question", reconciled=of), by_hand(parts, "marginal", reconciled=of)) for of in (False, True))
    )
    assert min(apart["unique_vision"], apart["unique_audio"]) > 5e-3 and apart["synergy"] < 1e-6  # the joint rows need no reconciliation
    assert max(moved["unique_vision"], moved["unique_audio"]) < 1e-6


def test_the_answer_to_noise_is_the_mean_of_its_draws_and_the_floor_is_not_held_against_itself():
    parts = conditions(soft(), "question")
    mean = [np.mean([one.floor[turn].target for turn in range(3)], 0) for one in parts]
    assert np.stack([one.told.mean(0) for one in parts]) == pytest.approx(np.stack(mean))
    for number, turn in enumerate(TURNS):
        joint = np.stack([one.floor[number].target for one in parts])
        others = np.stack([(one.floor[turn[1]].target + one.floor[turn[2]].target) / 2 for one in parts])
        here = added(parts, "sample", joint, turn)
        assert here == pytest.approx(np.mean([relative(p[None], r) for p, r in zip(joint, others, strict=True)])) and here > 1e-5


def test_few_samples_a_condition_are_warned_of():
    with pytest.warns(UserWarning, match="given='question', a condition holds 10 samples in the median, fewer than 16.*given='template'"):
        parts = conditions(soft(n=30), "question")
    assert {one.given for one in parts} == {"question"} and median(parts) == 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        conditions(soft(n=30), "template")


def test_references_add_up_to_what_the_text_tells():
    extraction = soft(texts=4, templates=2)
    parts, forms = conditions(extraction, "question"), conditions(extraction, "template")
    mean = np.mean([one.decisions.target for one in parts], 0)
    told = np.mean([(one.decisions.target * np.log2(one.decisions.target / mean)).sum() for one in parts])
    assert added(parts, "marginal") == pytest.approx(told)  # I(Y; question) ...
    assert added(parts, "template") + added(forms, "marginal") == pytest.approx(told)  # ... by the chain rule
    targets = np.stack([one.decisions.target for one in parts])
    draws = np.stack([targets, targets[::-1]], axis=1)
    assert added(parts, "marginal", draws).tolist() == pytest.approx([told, told])


def test_a_finer_reference_than_the_condition_is_refused():
    with pytest.raises(ValueError, match="reference 'sample' is not one within each template, as are template, marginal"):
        added(conditions(soft(), "template"), "sample")


def test_samples_alone_in_their_condition_are_left_out():
    extraction = soft(n=31, texts=3)
    questions = ("by itself", *extraction.questions[1:])
    alone = record(extraction.logits, extraction.templates, questions)
    parts = conditions(alone, "question")
    assert [len(one.decisions) for one in parts] == [10, 10, 10] and "by itself" not in {one.question for one in parts}
    each = [f"q{i}" for i in range(31)]
    with pytest.raises(ValueError, match="no two of 31 samples share a question: .*given='template'"):
        conditions(record(extraction.logits, extraction.templates, each), "question")
    with pytest.raises(ValueError, match="no two of 31 samples share a template: ask more of them$"):
        conditions(record(extraction.logits, each, extraction.questions), "template")


@pytest.mark.parametrize("alone", [4, 5])
def test_more_than_a_tenth_alone_is_warned_of(alone):
    extraction = soft(n=40, texts=1)
    questions = [f"alone {i}" if i < alone else "q" for i in range(40)]
    asked = record(extraction.logits, extraction.templates, questions)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert [len(one.decisions) for one in conditions(asked, "question")] == [40 - alone]
    assert [str(one.message).startswith(f"{alone} of 40 samples share their question with none") for one in said] == [True] * (alone > 4)


def test_one_text_is_one_condition_whatever_its_templates():
    extraction = soft(n=64, texts=2)
    apart = record(extraction.logits, [f"t{i}" for i in range(64)], extraction.questions)
    there, here = conditions(extraction, "question"), conditions(apart, "question")
    assert [(one.template, one.question) for one in here] == [("", "q0"), ("", "q1")] and there[0].template == "t0"
    assert decompose(here).pid.atoms == decompose(there).pid.atoms
    assert added(here, "template") == pytest.approx(0)  # texts of several templates share no form


def test_conditions_are_decomposed_as_their_decisions_are():
    parts = conditions(soft(), "question")
    assert decompose(parts).pid.atoms == decompose([one.decisions for one in parts]).pid.atoms


def test_an_extraction_without_the_passes_is_refused_with_those_to_ask_for():
    extraction = soft()
    extraction.logits.pop("language#1")
    with pytest.raises(ValueError, match="lacks the passes language#1; extract with passes=pidlib.sensory.ASKED"):
        conditions(extraction, "question")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"given": "tempalte"}, "unknown condition 'tempalte'; did you mean 'template'"),
        ({"given": "none"}, "content="),
        ({"given": "question", "content": [(0, 0)] * 60}, "given='none'"),
    ],
)
def test_what_cannot_be_given(asked, message):
    with pytest.raises(ValueError, match=message):
        conditions(soft(), **asked)


def test_intervals_cover_as_often_as_they_say():
    """The spread of the draws against that of studies made anew, of which each asks other clips the same questions."""
    questions = soft(n=60).questions
    rng = np.random.default_rng(1)
    v, a, t = rng.normal(size=(2400, 4)), rng.normal(size=(2400, 4)), 1.5 * rng.normal(size=(3, 4))[np.arange(2400) % 3]
    everything = {"vision+audio+language": v + a + t, "vision+language": v + t, "audio+language": a + t, "language": t}
    totals, spreads = [], []
    for study in range(40):
        rows = slice(60 * study, 60 * study + 60)
        extraction = record({key: values[rows] for key, values in everything.items()}, ["t"] * 60, questions)
        decisions = [one.decisions for one in conditions(extraction, "question")]
        found = decompose(decisions)
        totals.append(found.pid.total)
        if study % 8 == 0:
            draws, targets = bootstrap(found, decisions, n=60, seed=study)
            assert targets.shape == (3, 60, 4) and targets.sum(2) == pytest.approx(1)
            spreads.append(sum(draws.atoms.values()).std())
    assert np.mean(spreads) == pytest.approx(np.std(totals), rel=0.25)


def test_draws_of_different_conditions_are_independent():
    """Two conditions of the same decisions: their mean varies less than one of them by the root of two."""
    (one,) = [part.decisions for part in conditions(soft(texts=1), "question")]
    single, double = (bootstrap(decompose(parts), parts, n=300)[0].atoms for parts in ([one], [one, one]))
    for atom, draws in double.items():
        assert draws.std() == pytest.approx(single[atom].std() / np.sqrt(2), rel=0.15), atom


def test_draws_of_one_condition_are_those_of_its_decisions_and_shares_stay():
    parts = [one.decisions for one in conditions(soft(), "question")]
    found = decompose(parts)
    draws, _ = bootstrap(found, parts, n=40, seed=3)
    again, _ = bootstrap(found, parts, n=40, seed=3)
    assert all(np.array_equal(draws.atoms[atom], again.atoms[atom]) for atom in draws.atoms)
    doubled = [
        Decisions(joint=np.tile(one.joint, (2, 1)), sources={name: np.tile(rows, (2, 1)) for name, rows in one.sources.items()})
        for one in parts
    ]
    assert decompose([*doubled[:1], *parts[1:]]).shares == pytest.approx([0.5, 0.25, 0.25])
    assert decompose(doubled).pid.atoms == pytest.approx(found.pid.atoms, abs=3e-4)
