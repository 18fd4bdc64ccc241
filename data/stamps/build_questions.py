"""Write questions.csv, and with a SOURCE the pictures: ``build_questions.py [SOURCE]``.

`pidlib.benchmarks.stamps` reads both. things.csv says which stamps are asked about; its names,
nouns and splits were edited by hand. SOURCE is as for build_features.py; drawings need the package
resvg-py. Pictures of the test are written into the folder pictures, with their checksums, those for
training into data/cache/stamps.
"""

import argparse
import csv
import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice, product
from pathlib import Path
from random import Random

from build_features import find, opened, squared, unpacked
from tqdm import tqdm

from pidlib._common import derive_seed
from pidlib.benchmarks.stamps import AGREES, FOLDER, KINDS, PAIR, PICTURES, TASKS, picture_file

SIDE, QUALITY = 160, 90  # pixels and WebP quality
SIZES = {"train": 720, "test": 360}  # questions of a task; all combinations equally often
WORDINGS = (
    "What kind of thing is in the picture?",
    "What kind of thing does the picture show?",
    "What kind of thing is this?",
)
YES, TRUE = ("no", "yes"), ("false", "true")


def deck(rng: Random, cards: Iterable) -> Iterator:
    """Deal shuffled cards without end."""
    cards = list(cards)
    while True:
        rng.shuffle(cards)
        yield from cards


def questions(things: list[dict[str, str]], task: str, split: str) -> Iterator[tuple[str, ...]]:
    """Yield (stamp id, question, answer) without end.

    Each kind with each answer comes once before any comes again, and so does each picture of a
    kind.
    """
    rng = Random(derive_seed("stamps", task, split))
    members = {kind: [] for kind in KINDS}
    for thing in things:
        if thing["split"] == split:
            members[thing["kind"]].append(thing)
    shown = {kind: deck(rng, each) for kind, each in members.items()}
    named = {kind: deck(rng, [x for x in each if x["name"]]) for kind, each in members.items()}
    topics, cases = deck(rng, KINDS), product(PAIR if task == "pair" else KINDS, (True, False))
    right, of_all = AGREES.get(task, (1, 1))
    agrees = deck(rng, [True] * right + [False] * (of_all - right))
    for kind, fits in deck(rng, cases):
        topic = next(topics) if task == "pair" else kind  # of the words; kind is of the picture
        other = rng.choice([each for each in KINDS if each != topic])
        stated, thing, answer = topic if fits else other, next(named[kind]), kind
        if task == "category":
            thing, question = next(shown[kind]), rng.choice(WORDINGS)
        elif task in AGREES:
            caption = thing if next(agrees) else next(named[other])
            question = f"Caption: {caption['name']}. {WORDINGS[0]}"
        elif task == "naming":
            name = (thing if fits else next(named[other]))["name"]
            question, answer = f"Does the picture show {name}?", YES[fits]
        elif task == "both":
            thing, answer = next(shown[kind]), YES[fits]
            question = f"Does the picture show {KINDS[stated]}?"
        else:
            name = next(named[topic])["name"]
            verb = "are" if name.endswith("s") and not name.startswith(("a ", "an ")) else "is"
            question, answer = f"True or false: {name} {verb} {KINDS[stated]}.", TRUE[fits]
            thing = next(shown[rng.choice(list(KINDS))])
            if task == "pair":
                thing, answer = next(shown[kind]), f"{answer} {kind}"
                question += " And what kind of thing is in the picture?"
        yield thing["stamp_id"], question, answer


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the questions, and the pictures.")
    parser.add_argument("source", type=Path, nargs="?", help="see build_features.py")
    source = parser.parse_args().source
    with open(FOLDER / "things.csv", encoding="utf-8", newline="") as file:
        things = list(csv.DictReader(file))
    with open(FOLDER / "questions.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["task", "split", "stamp_id", "question", "answer"])
        for task, (split, size) in product(TASKS, SIZES.items()):
            rows = islice(questions(things, task, split), size)
            table.writerows((task, split, *row) for row in rows)
    if source is None:
        return
    sums = []
    with unpacked(source) as stamps:
        pictures = {stamp.stamp_id: stamp.picture for stamp in find(stamps)}
        for thing in tqdm(things, desc="pictures"):
            path = picture_file(thing["stamp_id"], thing["split"])
            path.parent.mkdir(parents=True, exist_ok=True)
            squared(opened(pictures[thing["stamp_id"]]), SIDE).save(path, quality=QUALITY, method=6)
            if thing["split"] == "test":
                sums.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums))
    (PICTURES["test"] / "SHA256SUMS").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
