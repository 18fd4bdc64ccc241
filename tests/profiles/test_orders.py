"""Answers in several orders of the options, averaged by content: of made-up and of tiny models."""

from dataclasses import replace
from zlib import crc32

import numpy as np
import pytest
from small_world import WORDS, hearing, picture, random_model, samples, spread

from pidlib import benchmarks
from pidlib.benchmarks.orders import in_orders, rotations
from pidlib.benchmarks.sample import lettered_options
from pidlib.decomposition.decisions import decision_pid
from pidlib.extraction import PASSES, Extraction, Pairs, drawn, extract
from pidlib.extraction.job import draw_partners
from pidlib.models import LoadedModel, family_of, load_model
from pidlib.profiles import compare
from pidlib.profiles.modes import MODES
from pidlib.profiles.orders import averaged
from profiles.test_profile import quietly

LETTERS = ("A", "B", "C")
TEXTS = ("red", "green", "blue")
N = 36


def questions(least=3):
    """Each picture v of 3 with each question t of 4, which list the options in different orders."""
    made = []
    for index, each in enumerate(samples(N)):
        v, t = index % 3, index // 3 % 4
        turned = (TEXTS * 2)[t : t + 3] if t < 3 else TEXTS[:least]
        facts = {"question": f"question {t}?", "options": lettered_options(turned)}
        facts |= {"candidates": LETTERS, "answer": LETTERS[index % least], "image": picture(v)}
        made.append(replace(each, **facts))
    return made


def shown(sample):
    """The texts of a sample's options by letter."""
    return dict(line.split(". ") for line in sample.options.splitlines()[:-1])


def extracted(asked, rule):
    """Answers by ``rule(v, sample)``, where v or the sample is None if it is masked."""
    v = [index % 3 for index in range(N)]
    inputs = {"vision+language": list(zip(v, asked, strict=True))}
    for key in drawn(PASSES[1:], 2):
        hides = key.startswith("vision")
        inputs[key] = [(i, None) if hides else (None, s) for i, s in inputs["vision+language"]]
    logits = {key: np.array([rule(*each) for each in given]) for key, given in inputs.items()}
    partners = draw_partners(asked, 8, 0)
    index = np.array([(row, q) for row, of_row in enumerate(partners) for q in of_row])
    weights = np.concatenate([list(of_row.values()) for of_row in partners]) / N
    paired = np.array([rule(v[row], asked[q]) for row, q in index])
    spots = np.random.default_rng(0).normal(0, 0.01, (N, 4))
    return Extraction(
        sample_ids=tuple(s.sample_id for s in asked),
        answers=tuple(s.answer for s in asked),
        candidates=LETTERS,
        logits=logits,
        log_normalizer={key: np.full(N, 2.0) for key in logits},
        embeddings={"vision": spots + np.eye(4)[v], "language": spots},
        layers=(),
        hidden=None,
        lens_logits={},
        lens_log_normalizer={},
        pairs=Pairs(index, weights, paired, np.full(len(index), 2.0)),
        questions=tuple(s.text for s in asked),
        media=tuple(map(str, v)),
    )


def by_letter(v, sample):
    """Prefer a letter by what is seen, whatever the options say."""
    return 2.0 + np.log(
        np.roll([0.8, 0.1, 0.1], (v or 0) + int(sample.question[9] if sample else 0))
    )


def by_text(v, sample):
    """Prefer the text of the color that is seen; without options or picture a text or nothing."""
    if sample is None:
        return 2.0 + np.log(np.full(3, 1 / 3))
    texts, wanted = shown(sample), TEXTS[v or 0]
    p = np.array([0.7 if texts.get(letter) == wanted else 0.15 for letter in LETTERS])
    return 2.0 + np.log(p / p.sum())


def by_both(v, sample):
    """Any answers: of each picture, question, letter and text."""
    texts = shown(sample) if sample else {}
    return np.array(
        [crc32(repr((v, letter, texts.get(letter))).encode()) % 97 / 30 for letter in LETTERS]
    )


def asked_in(orders, rule, items):
    made = [extracted(each, rule) for each in in_orders(items, orders)]
    return made, *averaged(made, items)


@pytest.mark.parametrize("mode", MODES)
def test_what_letters_alone_decide_vanishes(mode):
    (first, *_), mean, spread_ = asked_in(3, by_letter, questions())
    biased, fair = (decision_pid(getattr(each, mode)(tau=0.5)).pid for each in (first, mean))
    assert biased.total > 0.1
    assert max(map(abs, fair.atoms.values())) < 1e-9
    assert mean.decisions("vision", tau=0.5) == pytest.approx(np.full((N, 3), 1 / 3))
    assert spread_ == {"spread_orders": pytest.approx(0.8 - 1 / 3)}


def test_decisions_by_content_are_the_same_in_every_order():
    (first, *others), mean, spread_ = asked_in(3, by_text, questions())
    assert not np.allclose(others[0].decisions(), first.decisions())  # other letters
    assert spread_["spread_orders"] < 1e-12
    for key in first.logits:
        assert mean.decisions(key) == pytest.approx(first.decisions(key), abs=1e-12)
    assert mean.correct().tolist() == first.correct().tolist()
    assert mean.fallback(tau=0.9) == 0  # the candidates have all of the mass
    for mode in MODES:
        atoms = [decision_pid(getattr(each, mode)()).pid.atoms for each in (first, mean)]
        assert atoms[1] == pytest.approx(atoms[0], abs=1e-6)


@pytest.mark.parametrize(("orders", "least"), [(2, 3), (3, 3), (3, 2)])
def test_probabilities_are_averaged_by_text(orders, least):
    """Also of pairs, and of lists that are shorter than others, in as many orders as they have."""
    items = questions(least)
    made, mean, _ = asked_in(orders, by_both, items)
    shows = {"vision+language": (1, 1), "vision#1": (1, 0), "language": (0, 1), "pairs": (1, 1)}
    for key, (picture_shown, text_shown) in shows.items():
        logs = mean.pairs.logits if key == "pairs" else mean.logits[key]
        index = mean.pairs.index.tolist() if key == "pairs" else [(row, row) for row in range(N)]
        for (row, question), found in zip(index, logs, strict=True):
            place = {text: letter for letter, text in shown(items[question]).items()}
            turned = [order for order, _ in rotations(items[question])[:orders]]
            sums = dict.fromkeys(LETTERS, 0.0)
            for order in turned:
                given = row % 3 if picture_shown else None, order if text_shown else None
                for letter, score in zip(LETTERS, by_both(*given), strict=True):
                    sums[place.get(shown(order).get(letter), letter)] += np.exp(score - 2)
            assert np.exp(found) * len(turned) == pytest.approx(list(sums.values()))


def test_one_order_is_the_extraction_itself():
    (first,), mean, spread_ = asked_in(1, by_both, questions())
    assert mean is first and not spread_


def test_texts_with_other_options_are_other_values():
    items = [replace(each, question="which?") for each in questions()]
    (first, *_), mean, _ = asked_in(3, by_text, items)
    for each in (first, mean):
        for mode in ("masked", "resampled"):
            assert getattr(each, mode)().values["language"].max() == 2  # of three lists


@pytest.fixture(scope="module")
def lettering():
    """A tiny model with random weights that has tokens for letters."""
    words = {*WORDS, *LETTERS, *lettered_options("").split()}
    model, processor = random_model("llava", words)
    facts = (family_of(model), "0" * 40, model.device)
    return LoadedModel("lettering", spread(model, 0), processor, *facts)


def test_a_profile_in_all_orders_goes_on_from_that_in_one(lettering, tmp_path):
    items = questions()
    options = {"cache": tmp_path, "tau": 0, "partners": 4}
    once = quietly(lettering, items, **options)
    before = set(tmp_path.iterdir())
    profile = quietly(lettering, items, orders=3, **options)
    assert (
        len(before) == 1 and before < set(tmp_path.iterdir()) and len(list(tmp_path.iterdir())) == 3
    )
    assert set(profile.table["orders"]) == {3} and set(once.table["orders"]) == {1}
    assert profile.diagnostics["spread_orders"] > 0.01
    assert "spread_orders" not in once.diagnostics
    # A picture alone does not say which letter has which option.
    assert profile.extraction.decisions("vision", tau=0) == pytest.approx(
        np.full((N, 3), 1 / 3), abs=0.01
    )
    assert profile.atoms["masked"]["unique_vision"] < 1e-3
    with pytest.raises(ValueError, match="differ in orders"):
        compare(once, profile)


def test_a_mini_is_asked_in_orders_of_words():
    items = benchmarks.load("micro/grounding", "test", n=32, options=True)
    model = load_model("internvl_compact")
    profile = quietly(model, items, orders=2, partners=0)
    first, *others = items[0].candidates
    turned = f"{', '.join(others)} or {first}?"
    asked = (items, [replace(each, options=turned) for each in items])
    made = [extract(model, each, passes=drawn(PASSES, 2), progress=False) for each in asked]
    for key in ("vision+language", "language#1"):
        mass = [np.exp(each.logits[key] - each.log_normalizer[key][:, None]) for each in made]
        p = np.mean(mass, 0) / np.mean(mass, 0).sum(1, keepdims=True)
        assert profile.extraction.decisions(key, tau=0) == pytest.approx(p, abs=1e-6)
    assert 0.01 < profile.diagnostics["spread_orders"] < 0.5


@pytest.mark.filterwarnings("ignore:.*the median condition")
def test_clips_are_asked_in_orders_of_words():
    clips = benchmarks.load("micro_av/visual", "test", n=24, options=True)
    profile = quietly(hearing(), clips, orders=2, tau=0)
    assert set(profile.table["orders"]) == {2} and profile.diagnostics["spread_orders"] > 1e-4
