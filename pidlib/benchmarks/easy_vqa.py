"""easy-VQA: one shape on a plain ground and simple questions about it, from the PyPI package ``easy-vqa`` (Zhou 2019, MIT).

The package comes with 5,000 images and 48,248 questions in two splits. Its test split is ours; one training image in ten, chosen by its id,
is set aside with all its questions for validation. The three tasks are the three kinds of answer.
"""

import json
import re
from functools import cache
from importlib.resources import files
from random import Random

from PIL import Image

from pidlib.benchmarks.pictures import COLORS, SHAPES
from pidlib.benchmarks.sample import Sample
from pidlib.experiment import derive_seed

TASKS = {"yes_no": ("yes", "no"), "shape": SHAPES, "color": tuple(COLORS)}
VALIDATION_SHARE = 10  # one training image in this many validates

_PLACEHOLDERS = {word: "<shape>" for word in SHAPES} | {word: "<color>" for word in COLORS}
_WORD = re.compile(rf"\b({'|'.join(_PLACEHOLDERS)})\b")


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """The first n samples of the split in an order shuffled by the seed; by default all. Only their images are read.

    A sample's id carries its index in the package's list of questions, so ids of a task never depend on the seed.
    """
    rows = [row for row in _questions(split) if row[2] in TASKS[task]]
    if n is not None and n > len(rows):
        raise ValueError(f"asked for {n} samples of 'easy_vqa/{task}' {split}, which has {len(rows)}; ask for fewer, or None for all")
    Random(derive_seed(seed, "easy_vqa", task, split)).shuffle(rows)
    return [
        Sample(
            sample_id=f"easy_vqa/{task}/{split}/{index:05d}",
            benchmark=f"easy_vqa/{task}",
            template=_WORD.sub(lambda word: _PLACEHOLDERS[word[0]], question),
            question=question,
            candidates=TASKS[task],
            answer=answer,
            split=split,
            image=_image(_folder(split), image),
        )
        for index, question, answer, image in rows[:n]
    ]


def _folder(split: str) -> str:
    return "test" if split == "test" else "train"


@cache
def _read(folder: str) -> list[tuple[str, str, int]]:
    return json.loads(files("easy_vqa").joinpath("data", folder, "questions.json").read_text())


def _questions(split: str) -> list[tuple[int, str, str, int]]:
    """(index, question, answer, image id) of a split."""
    rows = [(index, *row) for index, row in enumerate(_read(_folder(split)))]
    if split == "test":
        return rows
    return [row for row in rows if (derive_seed("easy_vqa", row[3]) % VALIDATION_SHARE == 0) == (split == "validation")]


@cache
def _image(folder: str, image: int) -> Image.Image:
    with files("easy_vqa").joinpath("data", folder, "images", f"{image}.png").open("rb") as file:
        return Image.open(file).convert("RGB")
