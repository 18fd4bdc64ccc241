"""Every mechanism hears both encoders and starts from the same ones; a training is its seed's; the study resumes and knows what moved."""

import numpy as np
import pandas as pd
import pytest
import torch

from pidlib import fusion_study, results
from pidlib.experiment import load_preset
from pidlib.fusion import MECHANISMS, WIDTH, Fusion, Posed, pool, train
from pidlib.fusion_study import fusion_table, moved, questions

N = 96


@pytest.fixture(scope="module")
def asked() -> Posed:
    """Four pictures of two patches and three questions of different lengths: one of the answers is the picture's, one the question's."""
    generator = torch.Generator().manual_seed(0)
    image, question = (torch.randint(size, (N,), generator=generator) for size in (4, 3))
    words = torch.tensor([[1, 2, 3], [1, 4, 0], [5, 0, 0]])
    answer = torch.where(question == 2, torch.tensor(4), image)  # the last question is answered blind
    return Posed(torch.randn(4, 2, 8, generator=generator), words, image, question, answer, 6, 5)


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_both_modalities_have_influence_and_gradient_and_padding_has_none(mechanism, asked):
    torch.manual_seed(0)
    module = MECHANISMS[mechanism](WIDTH)
    vision, language = (torch.randn(2, length, WIDTH, requires_grad=True) for length in (4, 3))
    present = torch.tensor([[True, True, True], [True, False, False]])
    fused = module(vision, language, present)
    assert fused.shape == (2, WIDTH)
    fused.sum().backward()
    assert vision.grad.abs().amax((1, 2)).min() > 1e-4 and language.grad[present].abs().amax(1).min() > 1e-6
    assert language.grad[~present].abs().max() == 0
    noise = torch.randn(2, 3, WIDTH) * ~present[..., None]
    torch.testing.assert_close(module(vision, language + noise, present), fused)


def test_cross_attention_each_way_differs():
    torch.manual_seed(0)
    one, other = (MECHANISMS[f"{name}_queries"](WIDTH) for name in ("language", "vision"))
    other.load_state_dict(one.state_dict())
    vision, language, present = torch.randn(1, 3, WIDTH), torch.randn(1, 3, WIDTH), torch.ones(1, 3, dtype=torch.bool)
    assert not torch.allclose(one(vision, language, present), other(vision, language, present), atol=1e-2)
    torch.testing.assert_close(one(vision, language, present), other(language, vision, present))


def test_mechanisms_of_one_seed_start_from_the_same_encoders_and_head(asked):
    models = [Fusion(mechanism, 3, asked) for mechanism in MECHANISMS]
    for part in ("vision", "language", "hidden", "head"):
        first, *rest = ([weight for weight in getattr(model, part).parameters()] for model in models)
        assert all(torch.equal(a, b) for other in rest for a, b in zip(first, other, strict=True))
    assert not torch.equal(Fusion("product", 4, asked).head.weight, models[0].head.weight)
    with pytest.raises(ValueError, match="unknown mechanism 'produkt'; did you mean 'product'"):
        Fusion("produkt", 0, asked)


def test_states_do_not_depend_on_the_batch(asked):
    model = Fusion("co_attention", 0, asked).eval()
    together, alone = model(asked, torch.arange(8)), [model(asked, torch.tensor([row])) for row in range(8)]
    for part, states in enumerate(together):
        torch.testing.assert_close(states, torch.cat([one[part] for one in alone]), atol=1e-5, rtol=1e-4)


def test_a_training_learns_and_is_its_seed_s(asked):
    before = torch.random.get_rng_state()
    model, again, other = (train("product", seed, asked, 40) for seed in (0, 0, 1))
    assert torch.equal(before, torch.random.get_rng_state())
    right = (model(asked, torch.arange(N))[3].argmax(1) == asked.answer).double().mean()
    assert right > asked.prior + 0.2 > 0.6
    assert torch.equal(model.head.weight, again.head.weight) and not torch.equal(model.head.weight, other.head.weight)


def test_means_over_tokens_leave_out_the_absent():
    tokens = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert pool(tokens, torch.tensor([[True, True, False]])).item() == 2 and pool(tokens[:, :2]).item() == 2


def test_questions_of_a_source_are_of_all_its_benchmarks():
    some = questions("easy_vqa", "test", 200)
    assert {sample.benchmark for sample in some} == {"easy_vqa/yes_no", "easy_vqa/shape", "easy_vqa/color"}
    assert [sample.sample_id for sample in some[:9]] == [sample.sample_id for sample in questions("easy_vqa", "test", 9)]
    assert {sample.benchmark for sample in questions("micro/scene", "test", 3)} == {"micro/scene"}
    with pytest.raises(ValueError, match="unknown benchmark 'easy_vq'"):
        questions("easy_vq", "test", 1)


def shares(of_mechanism, of_seed, noise=0.01) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"benchmark": "b", "target": "hidden", "model": f"m{m}", "seed": s, "fingerprint": "f"}
        | {"contribution": 0.5 + of_mechanism * m + of_seed * s + noise * rng.normal()}
        for m in range(6)
        for s in range(5)
    ]
    return pd.DataFrame(rows)


def test_movement_by_the_mechanism_is_told_from_that_by_the_seed():
    (by_mechanism,), (by_seed,) = (moved(table).to_dict("records") for table in (shares(0.03, 0.05), shares(0, 0.05)))
    assert by_mechanism["moved"] == pytest.approx(15, abs=2) and by_mechanism["null_p"] < 0.01
    assert by_mechanism["ci_low"] < by_mechanism["moved"] < by_mechanism["ci_high"]
    assert by_mechanism["spread_mechanism"] == pytest.approx(3 * np.std(range(6), ddof=1), rel=0.2)
    assert by_mechanism["spread_low"] < by_mechanism["spread_mechanism"] < by_mechanism["spread_high"]
    assert by_seed["spread_low"] == 0 < by_seed["spread_high"] < 2
    assert by_mechanism["moved_once"] == pytest.approx(15, abs=3) and by_seed["moved_once"] > by_seed["moved"]
    assert by_seed["moved"] < by_seed["null_high"] < 3 and by_seed["null_p"] > 0.05
    assert by_mechanism["spread_rest"] == pytest.approx(1, rel=0.4)


def test_the_interval_of_a_range_is_about_it_and_tests_are_corrected_together():
    tables = [shares(0.03 * (name == "b"), 0.05).assign(benchmark=name) for name in "abc"]
    rows = moved(pd.concat(tables)).set_index("benchmark")
    assert (rows["ci_low"] < rows["moved"]).all() and (rows["moved"] < rows["ci_high"]).all()
    assert rows.loc["b", "null_q"] == pytest.approx(3 * rows.loc["b", "null_p"])
    assert (rows.loc[["a", "c"], "null_q"] >= rows.loc[["a", "c"], "null_p"]).all()


def test_seeds_without_a_share_are_left_out_and_movement_of_one_seed_is_missing():
    table = shares(0.03, 0.05)
    table.loc[(table["seed"] > 0) & (table["model"] == "m2"), "contribution"] = np.nan
    (row,) = moved(table).to_dict("records")
    assert row["n_seeds"] == 1 and "moved" not in row
    table.loc[table["seed"] == 1, "contribution"] = 0.4
    (row,) = moved(table).to_dict("records")
    assert row["n_seeds"] == 2 and row["moved"] > 0


def test_the_study_resumes_where_it_stopped_and_holds_its_schema(tmp_path, monkeypatch):
    names = ("concatenation", "product")
    monkeypatch.setattr(fusion_study, "MECHANISMS", {name: MECHANISMS[name] for name in names})
    preset = load_preset("smoke", cache=str(tmp_path), n_embedded=32, fusion_steps=1)
    trainings, made = [], fusion_study.train
    monkeypatch.setattr(fusion_study, "train", lambda *of: (trainings.append(of[:2]), made(*of))[1])
    stopped = fusion_study.trained(preset)
    next(stopped), next(stopped)
    stopped.close()
    assert [mechanism for mechanism, _ in trainings] == list(names)
    table = fusion_table(preset)
    assert len(trainings) == 4  # two mechanisms of two seeds, each once
    pd.testing.assert_frame_equal(fusion_table(preset), table)
    assert len(trainings) == 4
    models = table[table["kind"] == "model"]
    assert len(models) == 4 * 2 * 3 * 4  # models, benchmarks, targets, atoms
    bits = models.pivot(index=["model", "seed", "benchmark", "atom"], columns="target", values="value_bits").xs("concatenation")
    assert (bits["hidden"] == bits["hidden, same sources"]).all()  # the first mechanism's sources are its own
    assert models["converged"].all() and models["accuracy"].between(0, 1).all()
    assert set(table["kind"]) == {"model", "moved", "published"}
    path = results.write(table, tmp_path / "fig_fusion.csv")
    assert len(results.read(path)) == len(table)
