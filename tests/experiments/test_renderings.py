"""Finite laws: the ideal answerer has the truth, others have the atoms of their own tables."""

import numpy as np
import pytest
from media_files import amplitudes, centers

from pidlib.benchmarks import micro_av, names, truth
from pidlib.benchmarks.task import split_of
from pidlib.decomposition import pid
from pidlib.experiments import renderings
from pidlib.experiments.renderings import finite_laws

GENERATED = [name for name in names() if name.split("/")[0] in ("micro", "prior", "micro_av")]


def ideal(law) -> np.ndarray:
    return np.eye(len(law.samples[0].candidates))[
        [sample.candidates.index(sample.answer) for sample in law.samples]
    ]


@pytest.mark.parametrize("mode", ["masked", "resampled"])
@pytest.mark.parametrize("name", GENERATED)
def test_ideal_answerer_has_the_truth(name, mode):
    for template, law in finite_laws(name, 2).items():
        assert law.weights.sum() == pytest.approx(1) and law.weights.size == len(law.samples)
        states = law.joint(ideal(law), mode, latent=True)
        if name.startswith("micro_av/"):
            expected = micro_av.sensory_truth(template, mode)
            assert states.shape[0] == len({sample.question for sample in law.samples})
        else:
            expected = pid(truth(name, mode))
            np.testing.assert_allclose(states[0], truth(name, mode), atol=1e-12)
        for latent in (True, False):
            actual = law.pid(ideal(law), mode, latent=latent)
            assert actual.atoms == pytest.approx(expected.atoms, abs=1e-5)


@pytest.mark.parametrize("name", ["micro/pair_shared", "micro_av/pair"])
def test_a_model_that_guesses_has_the_atoms_of_its_noise(name):
    (law,) = finite_laws(name, 2).values()
    table = truth(name) if name.startswith("micro/") else micro_av.joint("pair")["pair"][1]
    guess = table.sum(-1, keepdims=True) / table.shape[-1]
    expected = pid(0.6 * table + 0.4 * guess, law.sources)
    assert min(expected.atoms.values()) > 0.05  # every atom is tested
    answers = 0.6 * ideal(law) + 0.4 / table.shape[-1]
    for latent in (True, False):
        assert law.pid(answers, latent=latent).atoms == pytest.approx(expected.atoms, abs=1e-5)


def test_an_effect_of_the_rendering_is_information_of_the_input_and_noise_of_the_state():
    law = finite_laws("micro/pair", 2)["pair"]
    second = np.tile([False, True], 3).repeat(2)  # of both pictures of each shape
    answers = np.where(second[:, None], 1 / 6, ideal(law))
    inputs, states = law.pid(answers), law.pid(answers, latent=True)
    half = pid(0.5 * truth("micro/pair") + 0.5 * np.full((3, 2, 6), 1 / 36))
    assert states.atoms == pytest.approx(half.atoms, abs=1e-5)
    assert inputs.total == pytest.approx(np.log2(6) / 2, abs=1e-6) and inputs.total > states.total
    assert law.joint(answers, latent=True).shape == (1, 3, 2, 6)


def test_all_questions_about_a_picture_share_it_and_it_is_of_the_split():
    law = finite_laws("micro/grounding", 3, "validation", seed=2)["grounding"]
    assert law.weights.shape == (1, 72, 4) and law.renderings == (3, 1)
    rows = [law.samples[index : index + 4] for index in range(0, 288, 4)]
    assert all(len({id(sample.image) for sample in row}) == 1 for row in rows)
    assert all(len({sample.question for sample in row}) == 4 for row in rows)
    assert len({row[0].image.tobytes() for row in rows}) == 72
    assert len({sample.sample_id for sample in law.samples}) == 288
    for row in rows:  # grounding: each state has each color at each cell
        assert sorted(sample.answer for sample in row) == ["blue", "green", "red", "yellow"]
    again = finite_laws("micro/grounding", 3, "validation", seed=2)["grounding"]
    other = finite_laws("micro/grounding", 3, "validation", seed=3)["grounding"]
    pictures = [[s.image.tobytes() for s in each.samples] for each in (law, again, other)]
    assert again.samples == law.samples and pictures[0] == pictures[1] != pictures[2]


def test_pictures_belong_to_the_split(monkeypatch):
    kept, intact = [], renderings.draw_in_split
    monkeypatch.setattr(
        renderings,
        "draw_in_split",
        lambda split, draw: kept.append(intact(split, draw)) or kept[-1],
    )
    finite_laws("micro_av/pair", 2, "train")
    assert len(kept) == 12 and {split_of(clip.layout) for clip in kept} == {"train"}


def test_clips_combine_every_video_with_every_sound():
    law = finite_laws("micro_av/pair", 2)["pair"]
    assert law.weights.shape == (3, 8, 4) and law.renderings == (2, 2)
    for index, sample in enumerate(law.samples):
        text, video, sound = np.unravel_index(index, law.weights.shape)
        assert sample.video is law.samples[4 * video].video
        assert sample.audio is law.samples[sound].audio
        red, blue = (np.diff(centers(sample.video, channel)[[0, -1]])[0] > 0 for channel in (0, 2))
        low = np.linalg.norm(amplitudes(sample.audio)[95:125]) > 0.042
        assert sample.answer == sample.candidates[2 * (2 * red + blue) + (not low)]
        assert law.weights[text, video, sound] == pytest.approx(
            (0.8 if low != red else 0.2) / 4 / 4 / 3
        )


def test_errors():
    law = finite_laws("micro/scene", 1)["scene"]
    with pytest.raises(ValueError, match="p.y | inputs. of 4 samples, one row for each"):
        law.joint(np.eye(4)[:3])
    with pytest.raises(ValueError, match="unknown mode 'mask'; did you mean 'masked'"):
        law.pid(np.eye(4), "mask")
    with pytest.raises(ValueError, match="0 renderings of 'micro/scene'; give 1 or more"):
        finite_laws("micro/scene", 0)
    with pytest.raises(KeyError, match="no truth for 'easy_vqa/shape'"):
        finite_laws("easy_vqa/shape")
    with pytest.raises(ValueError, match="did you mean 'micro_av/pair'"):
        finite_laws("micro_av/pairs")
    with pytest.raises(ValueError, match="unknown split 'tests'"):
        finite_laws("micro/scene", split="tests")
