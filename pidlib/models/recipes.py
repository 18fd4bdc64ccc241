"""The recipes of the minis: all that decides their weights."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a mini's weights.

    Attributes
    ----------
    family, size : str
        As for `pidlib.models.tiny.build`.
    looks, answers : int
        Steps of the first stage (name the shape and colour at each vision token) and of the second (answer questions, and go on looking).
    mixture : dict
        Benchmark -> weight in the second stage.
    blind : float
        Share of the questions that come with the picture or film of another: the larger, the more the mini leans on the rest.
    deaf, hidden : float
        Of clips: share with the sound of another; share, of film and of sound each, that reaches the language model as noise.
    options : float
        Share of them that list their candidates.
    pool : int
        Pictures drawn of each micro task; easy-VQA comes whole.
    batch, learning_rate, seed
        AdamW with a linear warm-up and a cosine to zero, in each stage.
    """

    family: str
    size: str = "small"
    looks: int = 3000
    answers: int = 2500
    batch: int = 128
    learning_rate: float = 1e-3
    pool: int = 6000
    seed: int = 0
    blind: float = 0.0
    options: float = 0.0
    deaf: float = 0.0
    hidden: float = 0.0
    mixture: dict[str, float] = field(
        default_factory=lambda: {
            "micro/grounding": 3.0,
            "micro/existence": 2.0,
            "micro/knowledge": 0.5,
            "micro/relation": 2.0,
            "micro/captioned": 1.5,
            "micro/scene": 0.5,
            "easy_vqa/yes_no": 3.0,
            "easy_vqa/shape": 1.0,
            "easy_vqa/color": 1.0,
        }
    )


@dataclass(frozen=True)
class Leaning(Recipe):
    """Of a mini that begins with the weights of another, and goes on with the second stage.

    Attributes
    ----------
    start : str
        The other.
    last : float
        Share of the language model's blocks, from the last, that are trained on.
    """

    start: str = ""
    last: float = 0.5


PRIORS = {"micro/knowledge": 3.0, "micro/captioned": 3.0, "micro/existence": 3.0, "micro/relation": 1.0, "easy_vqa/yes_no": 1.0}

ASKED_BLIND = {"easy_vqa/yes_no": 3.0, "micro/captioned": 2.0, "micro/existence": 1.0, "micro/grounding": 1.0}
ASKED_BLIND |= {"micro/knowledge": 0.5, "micro/scene": 0.5}


def _compact(family: str, answers: int, **others) -> Recipe:
    return Recipe(family, "compact", **{"looks": 1000, "answers": answers, "batch": 64, "learning_rate": 2e-3} | others)


def _leaning(family: str) -> Leaning:
    shared = {"looks": 0, "answers": 180, "batch": 64, "learning_rate": 2e-3, "pool": 1000, "blind": 0.75, "mixture": ASKED_BLIND}
    return Leaning(family, start=family, **shared)


def _omni(size: str, answers: int, *, audio: float = 2.0, visual: float = 2.0, **others) -> Recipe:
    mixture = {"micro_av/audio": audio, "micro_av/visual": visual, "micro_av/fusion": 4.0, "micro_av/gated": 2.0, "micro_av/polarity": 2.0}
    shared = {"looks": 0, "answers": answers, "batch": 64, "learning_rate": 2e-3, "pool": 3000, "hidden": 0.2, "mixture": mixture}
    return Recipe("qwen2_5_omni", size, **shared | others)


# The first three are the exemplars, trained until they answer almost everything; the others differ in family, size, length of training, in
# what they were asked, and in how often the picture was the right one: so they differ in how much they use what they see.
RECIPES = {
    "llava": Recipe("llava", answers=3500),
    "paligemma": Recipe("paligemma"),
    "qwen2_5_vl": Recipe("qwen2_5_vl", looks=2000, answers=4500),
    "internvl": Recipe("internvl", looks=1000, answers=1200, batch=64),
    "llava_compact": _compact("llava", 3500, looks=1500),
    "llava_compact_brief": _compact("llava", 500, looks=1500),
    "llava_compact_blind": _compact("llava", 2000, looks=1500, blind=0.5),
    "llava_onevision_compact": _compact("llava_onevision", 1500, options=0.3),
    "paligemma_compact": _compact("paligemma", 1200),
    "paligemma_compact_blind": _compact("paligemma", 800, blind=0.5),
    "paligemma_compact_priors": _compact("paligemma", 800, mixture=PRIORS),
    "gemma3_compact": _compact("gemma3", 1000, blind=0.25),
    "gemma3_compact_brief": _compact("gemma3", 300),
    "idefics3_compact": _compact("idefics3", 2000, options=0.3),
    "idefics3_compact_priors": _compact("idefics3", 800, mixture=PRIORS),
    "internvl_compact": _compact("internvl", 1500, looks=1500, options=0.3),
    "internvl_compact_blind": _compact("internvl", 800, looks=1500, blind=0.75),
    "qwen2_vl_compact": _compact("qwen2_vl", 1200, looks=800),
    "qwen2_vl_compact_blind": _compact("qwen2_vl", 600, looks=800, blind=0.75),
    "qwen3_vl_compact": _compact("qwen3_vl", 800, looks=800, options=0.3),
    # Exemplars whose last blocks then learned, from pictures that are mostly wrong, to go by the question.
    "llava_leaning": _leaning("llava"),
    "paligemma_leaning": _leaning("paligemma"),
    # Those that see and hear; the last was never shown noise in training, which masking will show it.
    "qwen2_5_omni": _omni("small", 1500, learning_rate=1e-3),
    "qwen2_5_omni_compact": _omni("compact", 1500),
    "qwen2_5_omni_compact_seeing": _omni("compact", 1000, audio=0.5, deaf=0.5),
    "qwen2_5_omni_compact_plain": _omni("compact", 1200, hidden=0.0),
}
# These differ in the share of questions about sound among those of one sense, and in the seed, alone.
RECIPES |= {
    f"qwen2_5_omni_compact_audio{eighths}of8_seed{seed}": _omni("compact", 1200, audio=eighths / 2, visual=4 - eighths / 2, seed=seed)
    for eighths in (1, 4, 7)
    for seed in range(3)
}
