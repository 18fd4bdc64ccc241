"""Each mechanism uses both modalities; models of one seed share encoders, head and batches."""

import pytest
import torch

from pidlib.training.fusion import (
    MECHANISMS,
    WIDTH,
    Fusion,
    Mechanism,
    QuestionTensors,
    pool,
    train,
)

N = 96


@pytest.fixture(scope="module")
def questions() -> QuestionTensors:
    """Four pictures of two patches and three questions; the last needs no picture."""
    generator = torch.Generator().manual_seed(0)
    image, question = (torch.randint(size, (N,), generator=generator) for size in (4, 3))
    words = torch.tensor([[1, 2, 3], [1, 4, 0], [5, 0, 0]])
    answer = torch.where(question == 2, torch.tensor(4), image)
    patches = torch.randn(4, 2, 8, generator=generator)
    return QuestionTensors(patches, words, image, question, answer, 6, 5)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_both_modalities_have_gradients_and_padding_has_no_influence(mechanism):
    torch.manual_seed(0)
    module = Mechanism(mechanism, WIDTH)
    vision, language = (torch.randn(2, length, WIDTH, requires_grad=True) for length in (4, 3))
    present = torch.tensor([[True, True, True], [True, False, False]])
    fused = module(vision, language, present)
    assert fused.shape == (2, WIDTH)
    fused.sum().backward()
    assert vision.grad.abs().amax((1, 2)).min() > 1e-4
    assert language.grad[present].abs().amax(1).min() > 1e-6
    assert language.grad[~present].abs().max() == 0
    noise = torch.randn(2, 3, WIDTH) * ~present[..., None]
    torch.testing.assert_close(module(vision, language + noise, present), fused)


def test_cross_attention_differs_by_the_modality_that_queries():
    torch.manual_seed(0)
    first, second = (Mechanism(f"{name}_queries", WIDTH) for name in ("language", "vision"))
    second.load_state_dict(first.state_dict())
    vision, language = torch.randn(2, 1, 3, WIDTH)
    present = torch.ones(1, 3, dtype=torch.bool)
    expected = first(vision, language, present)
    assert not torch.allclose(expected, second(vision, language, present), atol=1e-2)
    torch.testing.assert_close(expected, second(language, vision, present))


def test_mechanisms_of_one_seed_start_from_the_same_encoders_and_head(questions):
    first, *others = (Fusion(mechanism, 3, questions) for mechanism in MECHANISMS)
    for part in ("vision", "language", "hidden", "head"):
        for other in others:
            weights = (getattr(model, part).parameters() for model in (first, other))
            assert all(torch.equal(*pair) for pair in zip(*weights, strict=True))
    assert not torch.equal(Fusion("product", 4, questions).head.weight, first.head.weight)
    with pytest.raises(ValueError, match="unknown mechanism 'produkt'; did you mean 'product'"):
        Fusion("produkt", 0, questions)


def test_states_do_not_depend_on_the_batch(questions):
    model = Fusion("co_attention", 0, questions).eval()
    together = model(questions, torch.arange(8))
    alone = [model(questions, torch.tensor([row])) for row in range(8)]
    for part, states in enumerate(together):
        single = torch.cat([states[part] for states in alone])
        torch.testing.assert_close(states, single, atol=1e-5, rtol=1e-4)


def test_training_learns_and_is_reproducible(questions):
    before = torch.random.get_rng_state()
    model, again, other = (train("product", seed, questions, 40) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    answer = model(questions, torch.arange(N))[3].argmax(1)
    assert (answer == questions.answer).double().mean() > questions.prior + 0.2 > 0.6
    assert torch.equal(model.head.weight, again.head.weight)
    assert not torch.equal(model.head.weight, other.head.weight)


def test_means_leave_out_absent_tokens():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert pool(tokens, torch.tensor([[True, True, False]])).item() == 2
    assert pool(tokens[:, :2]).item() == 2
