"""Sensory PID of decisions against exact tables; conditions, references and noise."""

import warnings

import numpy as np
import pytest
import torch
from scipy.special import rel_entr

from pidlib.benchmarks import micro_av
from pidlib.decomposition import pid
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.solve import solve as couple
from pidlib.experiments.omni.profiles import bootstrap, reference_shift
from pidlib.extraction import Extraction
from pidlib.extraction.masking import drawn
from pidlib.sensory import (
    PASSES,
    REFERENCES,
    decompose,
    permuted,
    split_by,
)

N_CLIPS = 80  # per question: every probability of every law is a multiple of 1/80


def record(logits, templates, questions, answers=None):
    """An extraction with given logits [N, k] by pass; other passes are uniform."""
    n, k = next(iter(logits.values())).shape
    names = drawn(tuple(PASSES.values()), 3)
    logits = {
        key: logits.get(key, logits.get(key[:-2], np.full((n, k), -np.log(k)))) for key in names
    }
    return Extraction(
        sample_ids=tuple(f"s{i}" for i in range(n)),
        answers=answers or ("0",) * n,
        candidates=tuple(map(str, range(k))),
        logits=logits,
        log_normalizer={key: np.logaddexp.reduce(values, 1) for key, values in logits.items()},
        embeddings={},
        layers=(),
        hidden=None,
        lens_logits={},
        lens_log_normalizer={},
        pairs=None,
        templates=tuple(templates),
        questions=tuple(questions),
    )


def ideal(*names):
    """The ideal answerer on templates, with clips in proportion to their law, and their content."""
    logits = {key: [] for key in PASSES.values()}
    templates, questions, content = [], [], []
    for name in names:
        for t, (_, table) in micro_av.joint(name).items():
            for v, a in np.argwhere(table.sum(2)):
                count = round(table[v, a].sum() * N_CLIPS)
                rows = {
                    "joint": table[v, a],
                    "vision": table[v].sum(0),
                    "audio": table[:, a].sum(0),
                    "text": table.sum((0, 1)),
                }
                for role, row in rows.items():
                    logits[PASSES[role]] += [np.log(np.clip(row / row.sum(), 1e-12, 1))] * count
                templates += [name] * count
                questions += [t] * count
                content += [(v, a)] * count
    logits = {key: np.array(rows) for key, rows in logits.items()}
    return record(logits, templates, questions), content


def soft(n=60, texts=3, seed=0, templates=1):
    """Soft decisions that depend on vision, audio and text."""
    rng = np.random.default_rng(seed)
    v, a = rng.normal(size=(n, 4)), rng.normal(size=(n, 4))
    t = 1.5 * rng.normal(size=(texts, 4))[np.arange(n) % texts]
    noise = {
        f"language#{i}" if i else "language": t + 0.3 * rng.normal(size=(n, 4)) for i in range(3)
    }
    logits = {"vision+audio+language": v + a + t, "vision+language": v + t}
    questions = [f"q{i % texts}" for i in range(n)]
    forms = [f"t{i % texts % templates}" for i in range(n)]
    return record(logits | {"audio+language": a + t} | noise, forms, questions)


def solve(extraction, condition, content=None):
    return decomposed(split_by(extraction, condition, content=content)).pid


def decomposed(groups, **options):
    return decompose([group.decisions for group in groups], **options)


@pytest.mark.parametrize("name", micro_av.TEMPLATES)
def test_ideal_decisions_have_the_atoms_of_their_law(name):
    extraction, content = ideal(name)
    given = micro_av.sensory_truth(name).atoms
    ignored = micro_av.sensory_truth(name, ignored=True).atoms
    assert solve(extraction, "question").atoms == pytest.approx(given, abs=3e-4)
    assert solve(extraction, "ignored", content).atoms == pytest.approx(ignored, abs=3e-4)


def test_ignoring_the_question_loses_information_and_pooling_does_not():
    (polarity, content), (gated, others) = ideal("polarity"), ideal("gated")
    assert solve(polarity, "question").synergy == pytest.approx(1, abs=3e-4)
    assert solve(polarity, "template").synergy == pytest.approx(1, abs=3e-4)
    assert solve(polarity, "ignored", content).total == pytest.approx(0, abs=3e-4)
    atoms = {"redundancy": 0, "unique_vision": 0.5, "unique_audio": 0, "synergy": 0.5}
    assert solve(gated, "question").atoms == pytest.approx(atoms, abs=3e-4)
    assert solve(gated, "ignored", others).synergy == pytest.approx(0.311, abs=1e-3)


def test_redundancies_by_other_definitions_are_means_over_conditions():
    result = decomposed(split_by(soft(), "question"), tol=1e-6)
    assert len(result.solved) == 3
    smaller = [min(part.pid.unique.values()) for part in result.solved]
    least = [min(part.pid.informations.values()) for part in result.solved]
    assert result.others["mmi"] == pytest.approx(np.mean(least), abs=1e-5)
    assert result.others["mmi"] - result.pid.redundancy == pytest.approx(np.mean(smaller), abs=1e-5)
    assert 0 < result.others["i_min"] < result.others["mmi"]


def test_questions_of_one_template_are_coupled():
    """T = 0 asks about V and T = 1 about A: unique information becomes redundancy and synergy."""
    blocks = np.zeros((2, 2, 2, 2, 2))
    for v, a in np.ndindex(2, 2):
        blocks[0, v, 0, a, v] = blocks[1, v, 1, a, a] = 0.125
    known = pid(blocks.reshape(4, 4, 2), ("vision", "audio"))
    sure, uniform = np.log(np.clip(np.eye(2), 1e-12, 1)), np.full(2, np.log(0.5))
    v, a, t = np.array(list(np.ndindex(2, 2, 2)) * 4).T
    logits = {
        "vision+audio+language": sure[np.where(t, a, v)],
        "vision+language": np.where(t[:, None], uniform, sure[v]),
        "audio+language": np.where(t[:, None], sure[a], uniform),
    }
    extraction = record(logits, ["t"] * 32, [f"q{i}" for i in t])
    assert solve(extraction, "template").atoms == pytest.approx(known.atoms, abs=3e-4)
    assert known.redundancy == pytest.approx(0.5, abs=1e-5)
    assert known.unique["vision"] == pytest.approx(0, abs=1e-5)
    given = solve(extraction, "question")
    assert given.unique == pytest.approx({"vision": 0.5, "audio": 0.5}, abs=3e-4)
    assert given.redundancy == pytest.approx(0, abs=3e-4)


def divergence(rows, r):
    """Mean of KL(row || r) in bits, for rows weighted by their mass."""
    return rel_entr(rows, rows.sum(1, keepdims=True) * r).sum() / np.log(2)


def atoms_by_hand(groups, reference, reconciled=True):
    """The atoms as in the paper, with the reference in each term and an explicit coupling.

    Only the coupling is taken from the solver; it is completed to the pair marginals.
    """
    values, total = np.zeros(4), sum(len(group.decisions) for group in groups)
    marginal = sum(len(group.decisions) * group.decisions.target for group in groups) / total
    for group in groups:
        own = group.decisions
        template = [other for other in groups if other.template == group.template]
        weights = np.array([len(other.decisions) for other in template], float)
        targets = np.stack([other.decisions.target for other in template])
        r = {
            "question": own.target,
            "template": weights @ targets / weights.sum(),
            "sample": group.drawn["text"].mean((0, 1)),
            "marginal": marginal,
        }[reference]
        a, b, _ = own.marginals()
        coupling = couple(a[None], b[None], tol=1e-7)
        factors = coupling.A[0], coupling.U[0], coupling.V[0]
        q = torch.einsum("ij,iy,jy->ijy", *factors).numpy()
        a, b = a.numpy(), b.numpy()
        left, right = a - q.sum(1), b - q.sum(0)
        q += left[:, None] * right[None] / left.sum(0).clip(1e-300)
        assert q.min() >= 0
        assert q.sum(1) == pytest.approx(a, abs=1e-12) and q.sum(0) == pytest.approx(b, abs=1e-12)
        raw = [own.weights[:, None] * source for source in own.sources.values()]
        i_v, i_a = (divergence(rows, r) for rows in ((a, b) if reconciled else raw))
        i_q = divergence(q.reshape(-1, q.shape[2]), r)
        i_va = divergence(own.weights[:, None] * own.joint, r)
        atoms = np.array([i_v + i_a - i_q, i_q - i_a, i_q - i_v, i_va - i_q])
        values += len(own) / total * atoms
    names = ("redundancy", "unique_vision", "unique_audio", "synergy")
    return dict(zip(names, values, strict=True))


@pytest.mark.parametrize("reference", REFERENCES["question"])
def test_a_reference_changes_redundancy_alone(reference):
    groups = split_by(soft(texts=4, templates=2), "question")
    result, shift = decomposed(groups, tol=1e-7), float(reference_shift(groups, reference))
    assert (shift == 0) if reference == "question" else shift > 0.01
    expected = result.pid.atoms | {"redundancy": result.pid.redundancy + shift}
    assert atoms_by_hand(groups, reference) == pytest.approx(expected, abs=1e-6)


def test_without_reconciliation_a_reference_changes_unique_atoms_too():
    groups = split_by(soft(texts=4, templates=2), "question")
    raw, reconciled = (
        {
            atom: abs(marginal - atoms_by_hand(groups, "question", kind)[atom])
            for atom, marginal in atoms_by_hand(groups, "marginal", kind).items()
        }
        for kind in (False, True)
    )
    assert min(raw["unique_vision"], raw["unique_audio"]) > 5e-3 and raw["synergy"] < 1e-6
    assert max(reconciled["unique_vision"], reconciled["unique_audio"]) < 1e-6


def test_answers_permuted_within_conditions_carry_noise_alone():
    """The atoms of streams with information exceed all permutations; those of noise do not."""
    groups = split_by(soft(n=120), "question")
    generator = np.random.default_rng(0)
    nulls = [
        decompose(permuted(groups, stream, generator)).pid.atoms
        for stream in ("vision", "audio")
        for _ in range(5)
    ]
    atoms = decomposed(groups).pid.atoms
    assert atoms["redundancy"] > max(null["redundancy"] for null in nulls)
    noisy = soft(n=120)
    rng = np.random.default_rng(1)
    for key in noisy.logits:
        if key.partition("#")[0] in ("vision+language", "audio+language"):
            noisy.logits[key] = rng.normal(size=(120, 4))
    groups = split_by(noisy, "question")
    atoms = decomposed(groups).pid.atoms
    for stream in ("vision", "audio"):
        nulls = [decompose(permuted(groups, stream, generator)).pid.atoms for _ in range(9)]
        name = f"unique_{stream}"
        drawn = np.array([null[name] for null in nulls])
        assert abs(atoms[name] - drawn.mean()) < 4 * drawn.std()
    information = atoms["redundancy"] + atoms["unique_vision"]
    raw = noisy.decisions("vision+language#1")
    single = np.mean([divergence(raw[i::3] / 40, raw[i::3].mean(0)) for i in range(3)])
    assert information < 0.6 * single  # three draws are averaged


def test_references_satisfy_the_chain_rule():
    extraction = soft(texts=4, templates=2)
    groups, templates = split_by(extraction, "question"), split_by(extraction, "template")
    targets = np.stack([group.decisions.target for group in groups])
    information = (targets * np.log2(targets / targets.mean(0))).sum(1).mean()  # I(Y; question)
    assert reference_shift(groups, "marginal") == pytest.approx(information)
    parts = reference_shift(groups, "template") + reference_shift(templates, "marginal")
    assert parts == pytest.approx(information)


def test_a_reference_finer_than_the_condition_is_refused():
    message = "'sample' is not constant within condition='template'; choose one of template, marg"
    with pytest.raises(ValueError, match=message):
        reference_shift(split_by(soft(), "template"), "sample")


def test_small_groups_give_a_warning():
    message = "condition='question': the median condition has only 10 samples.*'template'"
    with pytest.warns(UserWarning, match=message):
        groups = split_by(soft(n=30), "question")
    assert {group.condition for group in groups} == {"question"}
    assert [len(group.decisions) for group in groups] == [10, 10, 10]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        split_by(soft(n=30), "template")


@pytest.mark.parametrize("alone", [4, 5])
def test_samples_alone_in_their_condition_are_left_out(alone):
    """With a warning if they are more than a tenth."""
    extraction = soft(n=40, texts=1)
    questions = [f"alone {i}" if i < alone else "q" for i in range(40)]
    extraction = record(extraction.logits, extraction.templates, questions)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (group,) = split_by(extraction, "question")
    assert (group.question, len(group.decisions)) == ("q", 40 - alone)
    text = f"{alone} of 40 samples share their question with no other and are left out"
    assert [str(each.message).startswith(text) for each in caught] == [True] * (alone > 4)


def test_conditions_without_groups_are_refused():
    extraction, each = soft(n=31), [f"q{i}" for i in range(31)]
    with pytest.raises(ValueError, match="no two of 31 samples share a question: .*'template'"):
        split_by(record(extraction.logits, extraction.templates, each), "question")
    with pytest.raises(ValueError, match="no two of 31 samples share a template: extract more s"):
        split_by(record(extraction.logits, each, extraction.questions), "template")


def test_a_text_is_one_condition_whatever_its_templates():
    extraction = soft(n=64, texts=2)
    varied = record(extraction.logits, [f"t{i}" for i in range(64)], extraction.questions)
    same, groups = split_by(extraction, "question"), split_by(varied, "question")
    labels = [(group.template, group.question) for group in groups]
    assert labels == [("", "q0"), ("", "q1")] and same[0].template == "t0"
    assert decomposed(groups).pid.atoms == decomposed(same).pid.atoms
    assert reference_shift(groups, "template") == pytest.approx(0)  # no shared form


def test_an_extraction_without_the_passes_is_refused():
    extraction = soft()
    extraction.logits.pop("language")
    with pytest.raises(ValueError, match="passes not extracted: language "):
        split_by(extraction, "question")


@pytest.mark.parametrize(
    ("condition", "content", "message"),
    [
        ("tempalte", None, "unknown condition 'tempalte'; did you mean 'template'"),
        ("ignored", None, r"needs content=.*condition='ignored', content=None"),
        ("question", [(0, 0)] * 60, "no other takes it; got condition='question'"),
    ],
)
def test_wrong_conditions_are_refused(condition, content, message):
    with pytest.raises(ValueError, match=message):
        split_by(soft(), condition, content=content)


def test_bootstrap_spread_matches_the_spread_of_new_studies():
    """Each study puts the same questions to other clips."""
    questions = soft(n=60).questions
    rng = np.random.default_rng(1)
    v, a = rng.normal(size=(2400, 4)), rng.normal(size=(2400, 4))
    t = 1.5 * rng.normal(size=(3, 4))[np.arange(2400) % 3]
    logits = {"vision+audio+language": v + a + t, "vision+language": v + t}
    logits |= {"audio+language": a + t, "language": t}
    totals, spreads = [], []
    for study in range(40):
        rows = slice(60 * study, 60 * study + 60)
        own = {key: values[rows] for key, values in logits.items()}
        groups = split_by(record(own, ["t"] * 60, questions), "question")
        decisions = [group.decisions for group in groups]
        result = decompose(decisions)
        totals.append(result.pid.total)
        if study % 8 == 0:
            draws = bootstrap(result, decisions, n=60, seed=study)
            spreads.append(sum(draws.values()).std())
    assert np.mean(spreads) == pytest.approx(np.std(totals), rel=0.25)


def test_draws_of_conditions_are_independent():
    """The mean of two equal conditions varies less than one of them by the root of two."""
    (part,) = [group.decisions for group in split_by(soft(texts=1), "question")]
    single, double = (bootstrap(decompose(parts), parts, n=300) for parts in ([part], [part, part]))
    for atom, draws in double.items():
        assert draws.std() == pytest.approx(single[atom].std() / np.sqrt(2), rel=0.15), atom


def test_draws_are_reproducible_and_shares_are_those_of_the_rows():
    parts = [group.decisions for group in split_by(soft(), "question")]
    result = decompose(parts)
    first, second = (bootstrap(result, parts, n=40, seed=3) for _ in range(2))
    assert all(np.array_equal(first[atom], second[atom]) for atom in first)
    doubled = [
        Decisions(
            joint=np.tile(part.joint, (2, 1)),
            sources={name: np.tile(rows, (2, 1)) for name, rows in part.sources.items()},
        )
        for part in parts
    ]
    mixed, shares = decompose([*doubled[:1], *parts[1:]]), np.array([0.5, 0.25, 0.25])
    assert mixed.pid.total == pytest.approx(shares @ [part.pid.total for part in mixed.solved])
    assert decompose(doubled).pid.atoms == pytest.approx(result.pid.atoms, abs=3e-4)
