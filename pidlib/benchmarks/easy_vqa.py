"""easy-VQA: simple questions about one shape on a plain background (Zhou 2019, MIT).

The PyPI package ``easy-vqa`` contains 5,000 images and 48,248 questions in two splits. Its test
split is ours; a tenth of the training images, chosen by id, are for validation with all their
questions. The tasks are the three kinds of answers.
"""

import json
import re
from functools import cache
from importlib.resources import files
from random import Random

from PIL import Image

from pidlib._common import derive_seed
from pidlib.benchmarks.pictures import COLORS, SHAPES
from pidlib.benchmarks.sample import Sample

TASKS = {"yes_no": ("yes", "no"), "shape": SHAPES, "color": tuple(COLORS)}
VALIDATION_SHARE = 10  # every tenth training image, by hash of its id, is for validation

_PLACEHOLDERS = {word: "<shape>" for word in SHAPES} | {word: "<color>" for word in COLORS}
_WORD = re.compile(rf"\b({'|'.join(_PLACEHOLDERS)})\b")


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """Load the first n samples of the split in an order shuffled by the seed; by default all.

    Only their images are read. The id of a sample contains its index in the package's list of
    questions and does not depend on the seed. Raises a ValueError if there are fewer than n.
    """
    rows = [row for row in _questions(split) if row[2] in TASKS[task]]
    if n is not None and n > len(rows):
        raise ValueError(
            f"{n} samples of 'easy_vqa/{task}' {split}, which has {len(rows)}; give a smaller n, or"
            " None for all"
        )
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
    """Return (index, question, answer, image id) of each question of a split."""
    rows = [(index, *row) for index, row in enumerate(_read(_folder(split)))]
    if split == "test":
        return rows
    validates = {row[3]: derive_seed("easy_vqa", row[3]) % VALIDATION_SHARE == 0 for row in rows}
    return [row for row in rows if validates[row[3]] == (split == "validation")]


@cache
def _image(folder: str, image: int) -> Image.Image:
    with files("easy_vqa").joinpath("data", folder, "images", f"{image}.png").open("rb") as file:
        return Image.open(file).convert("RGB")
