"""The three sets of questions share nothing, and balanced questions leave text at chance."""

from collections import Counter
from dataclasses import replace

import pytest

from pidlib import benchmarks
from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting import questions as module
from pidlib.experiments.reweighting.questions import balanced, questions
from pidlib.experiments.reweighting.settings import TrainingSpec


def sets(trained_on, seed=0, **sizes):
    spec = TrainingSpec.from_preset(load_preset("offline"), "llava", trained_on, "B", seed)
    return questions(replace(spec, **sizes))


@pytest.mark.parametrize("trained_on", ["easy_vqa/yes_no", "prior/80"])
def test_sets_share_no_question_and_no_picture_for_any_seed(trained_on):
    by_seed = [sets(trained_on, seed) for seed in range(3)]
    first = by_seed[0]
    assert all(each[1:] == first[1:] for each in by_seed)  # test questions are the same
    train = [sample for each in by_seed for sample in each.train]
    for content in (lambda sample: sample.sample_id, lambda sample: sample.image.tobytes()):
        seen = [{content(sample) for sample in part} for part in (train, *first[1:])]
        assert len(set.union(*seen)) == sum(map(len, seen))
    ids = [[sample.sample_id for sample in each.train] for each in by_seed]
    assert set(ids[0]) != set(ids[1])
    assert [len(part) for part in first] == [480, 256, 480]


@pytest.mark.parametrize("trained_on", ["easy_vqa/yes_no", "prior/80"])
def test_the_text_alone_is_at_chance_on_evaluation_questions(trained_on):
    train, _, evaluation = sets(trained_on, n_profiled=8)
    counts = Counter((sample.text, sample.answer) for sample in evaluation)
    for sample in evaluation:
        of_text = {counts[sample.text, answer] for answer in sample.candidates}
        assert of_text == {counts[sample.text, sample.answer]}
    answers: dict[str, Counter] = {}
    for sample in train:  # where it is not at chance
        answers.setdefault(sample.text, Counter())[sample.answer] += 1
    known = sum(max(counter.values()) for counter in answers.values())
    assert known / len(train) > 0.7 > 0.5 >= 1 / len(train[0].candidates)


def test_captions_of_stamps_are_evaluated_where_they_are_right_by_chance(monkeypatch):
    calls = []
    monkeypatch.setattr(module, "_loaded", lambda *given, **_: calls.append(given) or [])
    sets("stamps/captioned_80", n_tuned=5, n_profiled=6, n_evaluated=7)
    assert [call[:3] for call in calls] == [
        ("stamps/captioned_80", "train", 5),
        ("stamps/captioned_80", "test", 6),
        ("stamps/captioned_17", "test", 7),
    ]
    assert module.evaluation_name("stamps/captioned_80") == "stamps/captioned_17"
    assert module.evaluation_name("stamps/pair") == "stamps/pair"


def test_balanced_keeps_the_first_whole_sets():
    samples = benchmarks.load("easy_vqa/yes_no", "test", 400)
    everything = balanced(samples)
    assert balanced(samples, 11) == everything[:10]
    ids = {sample.sample_id for sample in samples}
    assert {sample.sample_id for sample in everything} < ids
    with pytest.raises(ValueError, match="requested 398 balanced samples; .* ask for fewer"):
        balanced(samples, 398)
