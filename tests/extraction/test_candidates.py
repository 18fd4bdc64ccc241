"""Candidates of several tokens have the log probability that the model's own forward pass gives."""

import numpy as np
import pytest
import torch
from small_world import FAMILY_NAMES, loaded, sample

from pidlib.extraction import extract
from pidlib.extraction.candidates import CandidateTokens
from pidlib.extraction.reader import Reader
from pidlib.extraction.rows import Row, collate
from pidlib.models.families import arguments_of

WHOLE = ("red", "blue shape", "blue shape it")
ATTENDING = {"paligemma"}  # its prompt attends to what follows it


def data(**changes):
    return [sample(i, candidates=WHOLE, answer="red", **changes) for i in range(4)]


def log_probabilities(model, item, candidate):
    """By the model's own forward pass on pixels, and the candidate's tokens behind the prompt."""
    reader = Reader(model, item.candidates, (), item.question, 1)
    tokens = dict(zip(WHOLE, reader.candidates.tokens, strict=True))[candidate]
    inputs, ((question, picture),) = reader.prompter.tokenize([item])
    fields, _ = collate([Row(picture, question, stem=tokens)], [{}], reader.pad)
    inputs |= {name: torch.from_numpy(value) for name, value in fields.items()}
    named = {name: inputs[name] for name in arguments_of(model.model) & inputs.keys()}
    with torch.no_grad():
        rows = model.model(**named).logits[0, -len(tokens) - 1 : -1].log_softmax(-1)
    return [row[token].item() for row, token in zip(rows, tokens, strict=True)]


@pytest.mark.parametrize("family", [name for name in FAMILY_NAMES if name not in ATTENDING])
def test_whole_candidates_are_scored(family):
    model = loaded(family)
    extraction = extract(model, data(), layers=(-1,), partners=2, progress=False)
    means = extract(model, data(), length_normalized=True, progress=False)
    key = "vision+language"
    assert (extraction.log_normalizer[key] == 0).all()
    np.testing.assert_allclose(extraction.lens_logits[key][:, 0], extraction.logits[key], atol=1e-5)
    for row, item in enumerate(data()):
        each = [log_probabilities(model, item, candidate) for candidate in WHOLE]
        np.testing.assert_allclose(extraction.logits[key][row], [*map(sum, each)], atol=1e-4)
        np.testing.assert_allclose(means.logits[key][row], [*map(np.mean, each)], atol=1e-4)
    own = (extraction.pairs.index[:, 0] == extraction.pairs.index[:, 1]).nonzero()[0]
    np.testing.assert_allclose(
        extraction.pairs.logits[own],
        extraction.logits[key][extraction.pairs.index[own, 0]],
        atol=1e-4,
    )
    assert means.fingerprint != extraction.fingerprint


def test_a_model_whose_prompt_attends_to_answers_reads_single_tokens_only():
    with pytest.raises(ValueError, match="paligemma .*its prompt attends.*single tokens"):
        extract(loaded("paligemma"), data(), progress=False)


def test_stems_are_few_and_scores_sum_over_them():
    tokens = CandidateTokens(((1,), (1, 2), (3, 4, 5), (3, 6)))
    assert sorted(tokens.stems) == [(1,), (3, 4)] and tokens.vocabulary == [1, 2, 3, 4, 5, 6]
    assert CandidateTokens(((7,), (8,))).stems == [()]
    generator = np.random.default_rng(0)
    read = {"logits": generator.normal(size=(2, 3, 6)), "log_normalizer": np.zeros((2, 3))}
    read["logits"][1, 0] = read["logits"][0, 0]  # right behind the prompt
    scores = tokens.whole(read)["logits"][0]
    first, second = read["logits"] if tokens.stems[0] == (1,) else read["logits"][::-1]
    expected = [first[0, 0], first[0, 0] + first[1, 1]]
    expected += [second[0, 2] + second[1, 3] + second[2, 4], second[0, 2] + second[1, 5]]
    np.testing.assert_allclose(scores, expected)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [
        (("red", "mauve"), "'mauve': the tokenizer has no tokens for it"),
        (("red", "<pad>"), "'<pad>': the tokenizer has no tokens for it"),
        (("red", "red"), "candidates must be"),
    ],
)
def test_unknown_and_equal_candidates_are_refused(candidates, message):
    items = [sample(i, candidates=candidates, answer="red") for i in range(2)]
    with pytest.raises(ValueError, match=message):
        extract(loaded("llava"), items, progress=False)
