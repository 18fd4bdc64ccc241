"""Recipes of the minis: everything that determines their weights."""

from dataclasses import dataclass, field, replace


def _weights(source: str, **weights: float) -> dict[str, float]:
    return {f"{source}/{task}": weight for task, weight in weights.items()}


MIXTURE = _weights(
    "micro", grounding=3.0, existence=2.0, knowledge=0.5, relation=2.0, captioned=1.5, scene=0.5
) | _weights("easy_vqa", yes_no=3.0, shape=1.0, color=1.0)
ADDED, ADDED_CLIPS = _weights("micro", pair=3.0, pair_shared=1.0), _weights("micro_av", pair=4.0)
PRIORS = _weights("micro", knowledge=3.0, captioned=3.0, existence=3.0, relation=1.0)
PRIORS |= _weights("easy_vqa", yes_no=1.0)
LEANING = _weights("easy_vqa", yes_no=3.0) | _weights(
    "micro", captioned=2.0, existence=1.0, grounding=1.0, knowledge=0.5, scene=0.5
)


@dataclass(frozen=True)
class Recipe:
    """Everything that determines a mini's weights."""

    family: str  # as for `pidlib.training.tiny.build`
    size: str = "small"
    tower_steps: int = 3000  # of the first stage: classify shape and color at each vision token
    answer_steps: int = 2500  # of the second stage: answer questions, with the first loss
    batch: int = 128
    learning_rate: float = 1e-3  # of AdamW, with linear warm-up and cosine decay to zero per stage
    pool: int = 6000  # pictures of each micro task; easy-VQA is used whole
    seed: int = 0
    wrong_image_rate: float = 0.0  # share of questions with the picture or video of another sample
    options: float = 0.0  # share of questions that list their candidates
    wrong_sound_rate: float = 0.0  # share of clips with the sound of another sample
    noise_rate: float = 0.0  # share of videos, and of sounds, with noise for their embeddings
    mixture: dict[str, float] = field(default_factory=MIXTURE.copy)  # benchmark -> weight
    added: dict[str, float] = field(default_factory=ADDED.copy)  # to the mixture, in a third stage
    added_share: float = 0.2  # steps of the third stage, as a share of `answer_steps`

    def extended(self) -> "Recipe":
        """Return the recipe of the third stage, as one that repeats the second."""
        return replace(
            self,
            answer_steps=round(self.added_share * self.answer_steps),
            learning_rate=self.learning_rate / 4,
            pool=self.pool // 3,
            mixture=self.mixture | self.added,
        )


@dataclass(frozen=True)
class ContinuedRecipe(Recipe):
    """Recipe of a mini that starts from the weights of another and repeats the second stage."""

    start: str = ""  # the other mini
    last: float = 0.5  # share of the language model's blocks, from the last, that are trained


_SHARED = {"batch": 64, "learning_rate": 2e-3}


def _compact(family: str, answer_steps: int, tower_steps: int = 1000, **changes) -> Recipe:
    return Recipe(family, "compact", tower_steps, answer_steps, **_SHARED | changes)


def _leaning(family: str) -> ContinuedRecipe:
    stage = {"tower_steps": 0, "answer_steps": 180, "pool": 1000, "wrong_image_rate": 0.75}
    stage |= {"mixture": LEANING, "added_share": 0.0, **_SHARED}
    return ContinuedRecipe(family, start=family, **stage)


def _omni(
    size: str, answer_steps: int, *, audio: float = 2.0, visual: float = 2.0, **changes
) -> Recipe:
    shared = _SHARED | {"pool": 3000, "noise_rate": 0.2, "added": ADDED_CLIPS}
    rates = {"audio": audio, "visual": visual, "fusion": 4.0, "gated": 2.0, "polarity": 2.0}
    return Recipe(
        "qwen2_5_omni",
        size,
        0,
        answer_steps,
        **shared | {"mixture": _weights("micro_av", **rates)} | changes,
    )


# The first three are the exemplars, trained until they answer almost everything. The others differ
# in family, size, length of training, mixture and the share of wrong pictures, and therefore in how
# much they use the picture.
RECIPES = {
    "llava": Recipe("llava", answer_steps=3500),
    "paligemma": Recipe("paligemma"),
    "qwen2_5_vl": Recipe("qwen2_5_vl", tower_steps=2000, answer_steps=4500),
    "internvl": Recipe("internvl", tower_steps=1000, answer_steps=1200, batch=64),
    "llava_compact": _compact("llava", 3500, 1500),
    "llava_compact_brief": _compact("llava", 500, 1500),
    "llava_compact_blind": _compact("llava", 2000, 1500, wrong_image_rate=0.5),
    "llava_onevision_compact": _compact("llava_onevision", 1500, options=0.3),
    "paligemma_compact": _compact("paligemma", 1200),
    "paligemma_compact_blind": _compact("paligemma", 800, wrong_image_rate=0.5),
    "paligemma_compact_priors": _compact("paligemma", 800, mixture=PRIORS),
    "gemma3_compact": _compact("gemma3", 1000, wrong_image_rate=0.25),
    "gemma3_compact_brief": _compact("gemma3", 300),
    "idefics3_compact": _compact("idefics3", 2000, options=0.3),
    "idefics3_compact_priors": _compact("idefics3", 800, mixture=PRIORS),
    "internvl_compact": _compact("internvl", 1500, 1500, options=0.3),
    "internvl_compact_blind": _compact("internvl", 800, 1500, wrong_image_rate=0.75),
    "qwen2_vl_compact": _compact("qwen2_vl", 1200, 800),
    "qwen2_vl_compact_blind": _compact("qwen2_vl", 600, 800, wrong_image_rate=0.75),
    "qwen3_vl_compact": _compact("qwen3_vl", 800, 800, options=0.3),
    # Exemplars whose last blocks were trained on with mostly wrong pictures.
    "llava_leaning": _leaning("llava"),
    "paligemma_leaning": _leaning("paligemma"),
    # Audio-visual minis; the last is trained without noise.
    "qwen2_5_omni": _omni("small", 1500, learning_rate=1e-3),
    "qwen2_5_omni_compact": _omni("compact", 1500),
    "qwen2_5_omni_compact_seeing": _omni("compact", 1000, audio=0.5, wrong_sound_rate=0.5),
    "qwen2_5_omni_compact_plain": _omni("compact", 1200, noise_rate=0.0),
}
# Minis with 12 blocks, for curves over depth; not in the population.
DEEP = {
    "llava_deep": Recipe("llava", "deep", 2000, 3500, batch=64),
    "qwen2_5_omni_deep": _omni("deep", 2000, learning_rate=1e-3),
}
