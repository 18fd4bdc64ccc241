"""Questions about real pictures: stamps of Tux Paint, of six kinds of things.

Questions and test pictures are in data/stamps (GPL-2 or later), training pictures in a Debian
package. No picture, name or noun of the test is in training. Answers are balanced, and neither the
words nor the picture alone makes one likelier, unless a task wants it so. An ideal answerer has, in
bits: `category` 2.58 unique to vision; `both` and `naming` 1 of synergy; `knowledge` 1 unique to
language; `captioned` 2.58 of redundancy; `pair`, whose answer has a part from each source, 1.58
unique to vision and 1 unique to language. The caption of `captioned_80` is right in 80 %, that of
`captioned_17` by chance, for tuning. data/stamps/expected.csv says which atoms must dominate.
"""

import csv
from functools import cache
from pathlib import Path
from random import Random

from pidlib._common import derive_seed, project_root
from pidlib.benchmarks.sample import Sample

FOLDER = project_root() / "data" / "stamps"
PICTURES = {"test": FOLDER / "pictures", "train": project_root() / "data" / "cache" / "stamps"}
KINDS = dict(animal="an animal", food="food", vehicle="a vehicle")
PAIR = tuple(KINDS)  # the kinds with the most pictures
KINDS |= dict(clothing="clothing", plant="a plant", building="a building")
AGREES = {"captioned": (1, 1), "captioned_80": (4, 5), "captioned_17": (1, 6)}  # right, of all
TASKS = dict.fromkeys(("category", *AGREES), tuple(KINDS))
TASKS |= dict.fromkeys(("both", "naming"), ("yes", "no"))
TASKS["knowledge"] = ("true", "false")
TASKS["pair"] = tuple(f"{truth} {kind}" for truth in TASKS["knowledge"] for kind in PAIR)


def load(task: str, split: str, n: int | None = None, seed: int = 0) -> list[Sample]:
    """Load the first n samples of a split in an order shuffled by the seed; by default all.

    Raises a ValueError if there are fewer than n, and a FileNotFoundError without pictures.
    """
    rows = [row for row in _questions() if row[1:3] == (task, split)]
    if n is not None and n > len(rows) or split not in PICTURES:
        raise ValueError(
            f"stamps/{task} {split} has {len(rows)} samples; give a smaller n, or None"
        )
    Random(derive_seed(seed, "stamps", task, split)).shuffle(rows)
    paths = [picture_file(row[3], split) for row in rows[:n]]
    if lost := [path for path in paths if not path.exists()]:
        raise FileNotFoundError(
            f"stamps/{task} {split}: {len(lost)} pictures are missing, {lost[0]} ...; run `make"
            " real-pictures`, which takes them from the Debian package tuxpaint-stamps-default"
        )
    return [
        Sample(
            sample_id=f"stamps/{task}/{split}/{index:05d}",
            benchmark=f"stamps/{task}",
            template=task,
            question=question,
            candidates=TASKS[task],
            answer=answer,
            split=split,
            image=path,
        )
        for (index, *_, question, answer), path in zip(rows[:n], paths, strict=True)
    ]


def picture_file(stamp_id: str, split: str) -> Path:
    """Return the file of a picture."""
    return PICTURES[split] / f"{stamp_id.replace('/', '.')}.webp"


@cache
def _questions() -> list[tuple[int, str, str, str, str, str]]:
    """Return (index, task, split, stamp id, question, answer) of each question."""
    with open(FOLDER / "questions.csv", encoding="utf-8", newline="") as file:
        return [(index, *row) for index, row in enumerate(csv.reader(file)) if index]
