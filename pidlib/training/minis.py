"""Train the mini models: real architectures of about a million parameters, from scratch.

``python -m pidlib.training.minis train llava`` trains a mini, first its vision tower, then the
whole model on questions, then on these and on added tasks, and saves it in data/minis/llava. Minis
replace large models in code path, not in scale: what is measured on a mini is a statement about the
mini.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from random import Random

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pidlib import benchmarks
from pidlib._common import derive_seed, fingerprint, unknown_name
from pidlib.benchmarks import micro
from pidlib.benchmarks.pictures import BACKGROUNDS, COLORS, FRAME, SHAPES, Picture
from pidlib.benchmarks.task import split_of
from pidlib.extraction import extract
from pidlib.extraction.masking import full_pass
from pidlib.models import LoadedModel, family_named, family_of, load_model
from pidlib.models.load import MINIS
from pidlib.training.clips import N_AUDIO, N_VISION, clip_loss
from pidlib.training.loop import encode, fit_stage, step_generator
from pidlib.training.recipes import DEEP, RECIPES, ContinuedRecipe, Recipe
from pidlib.training.tiny import build

TOKENS = 4  # the language model receives a picture as 4 x 4 tokens in every family
ATTRIBUTES = ["nothing", *(f"{color} {shape}" for color in COLORS for shape in SHAPES)]


def benchmarks_of(family: str) -> tuple[str, ...]:
    """Return the benchmarks that minis of a family are trained and tested on."""
    audio = family_named(family).has_audio
    pairs = (name for name in benchmarks.names("pairs") if name.startswith("micro_av/") == audio)
    return (*benchmarks.names("clips" if audio else "pictures"), *pairs)


def vocabulary(names: Sequence[str] | None = None, n: int | None = None) -> set[str]:
    """Return every word of the first n questions, and of the candidates, of each benchmark."""
    words = set()
    for name in benchmarks.names("pictures") if names is None else names:
        for sample in benchmarks.load(name, "train", n, options=True):
            words.update(re.findall(r"\w+", sample.text), sample.candidates)
    return words


def training_words(family: str) -> set[str]:
    """Return the closed vocabulary of a family's minis."""
    # Clips take memory, and 512 questions of each task contain all of its wordings.
    return vocabulary(benchmarks_of(family), 512 if family_named(family).has_audio else None)


def train(name: str, recipe: Recipe, folder: Path, threads: int = 1) -> dict[str, float]:
    """Train one mini, save it, and return its test accuracy per benchmark.

    All stages write checkpoints: an interrupted training resumes and ends with equal weights.
    """
    torch.set_num_threads(threads)
    if isinstance(recipe, ContinuedRecipe):
        start = load_model(recipe.start, device="cpu")
        model, processor = start.model, start.processor
    else:
        words = training_words(recipe.family)
        model, processor = build(recipe.family, words, recipe.size, recipe.seed)
    cpu = torch.device("cpu")
    mini = LoadedModel(name, model, processor, family_of(model), "in training", cpu)
    _fit_first_stages(mini, recipe, folder)
    if recipe.added_share:
        third = recipe.extended()
        loss = clip_loss(mini, None, third) if mini.family.has_audio else _answer_loss(mini, third)
        fit_stage(model, loss, third.answer_steps, third, "added", folder)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    accuracy = evaluate(load_model(folder, device="cpu"))
    _write_card(name, recipe, accuracy, folder)
    for checkpoint in folder.glob("*.checkpoint"):
        checkpoint.unlink()
    return accuracy


def evaluate(mini: LoadedModel, split: str = "test", n: int | None = None) -> dict[str, float]:
    """Return the share of questions whose likeliest candidate is the answer, by benchmark."""
    accuracy = {}
    for name in benchmarks_of(mini.family.name):
        samples = benchmarks.load(name, split, n)
        full = full_pass(samples[0])
        accuracy[name] = extract(mini, samples, passes=(full,)).accuracy(full)
    return accuracy


def _fit_first_stages(mini: LoadedModel, recipe: Recipe, folder: Path) -> None:
    model = mini.model
    if isinstance(recipe, ContinuedRecipe):
        blocks = mini.family.blocks_of(model)
        trained = torch.nn.ModuleList(blocks[-round(recipe.last * len(blocks)) :])
        loss = _answer_loss(mini, recipe)
    elif mini.family.has_audio:
        head = _head(mini, recipe, N_VISION + N_AUDIO)
        trained = torch.nn.ModuleDict({"model": model, "head": head})
        loss = clip_loss(mini, head, recipe)
    else:
        head = _head(mini, recipe, len(ATTRIBUTES) + len(BACKGROUNDS))
        trained = torch.nn.ModuleDict({"model": model, "head": head})
        tower_loss, answer_loss = _tower_loss(mini, head, recipe), _answer_loss(mini, recipe)
        first = recipe.tower_steps
        fit_stage(trained, tower_loss, first, recipe, "look", _tower_folder(recipe, folder))

        # With questions alone the tower forgets shapes before the language model uses them.
        def loss(step: int) -> Tensor:
            return answer_loss(step) + tower_loss(first + step, recipe.batch // 2)

    fit_stage(trained, loss, recipe.answer_steps, recipe, "answer", folder)


def _head(mini: LoadedModel, recipe: Recipe, classes: int) -> torch.nn.Linear:
    """Return the classifier of tokens, used in training only."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(recipe.seed, "head"))
        return torch.nn.Linear(mini.model.config.text_config.hidden_size, classes)


def _tower_folder(recipe: Recipe, folder: Path) -> Path:
    """Return the folder of the first stage, shared by recipes that differ in the second only."""
    names = ("family", "size", "tower_steps", "batch", "learning_rate", "pool", "seed")
    return folder.parent / ".towers" / fingerprint(**{key: getattr(recipe, key) for key in names})


def _tower_loss(
    mini: LoadedModel, head: torch.nn.Module, recipe: Recipe
) -> Callable[[int], Tensor]:
    """Return the loss of the first stage: the item at each vision token, and the background."""
    seed = derive_seed(recipe.seed, "look")
    tasks = (micro.generate(task, "train", recipe.pool // 2, seed) for task in micro.TASKS)
    pictures = [picture for pairs in tasks for _, picture in pairs]
    rng, draw = Random(seed), micro.TASKS["captioned"].picture
    single = (draw(rng.choice(list(COLORS)), rng) for _ in range(4 * recipe.pool))
    pictures += [picture for picture in single if split_of(picture) == "train"]
    images = [picture.draw() for picture in pictures]
    attributes = torch.tensor([_attributes(picture) for picture in pictures])
    backgrounds = torch.tensor([BACKGROUNDS.index(picture.background) for picture in pictures])

    def loss(step: int, batch: int = recipe.batch) -> Tensor:
        generator = step_generator(recipe, "look", step)
        chosen = torch.randint(len(images), (batch,), generator=generator)
        rows = [[images[index]] for index in chosen]
        inputs = mini.processor.image_processor(rows, return_tensors="pt")
        features = torch.stack(list(mini.family.encode(mini.model, inputs)["vision"].pooler_output))
        # Prefix tokens come first; LLaVA-OneVision appends tiles.
        tokens = features[:, mini.family.n_prefix_tokens :][:, : TOKENS**2]
        scores = head(tokens)
        at_token, at_picture = scores.tensor_split([len(ATTRIBUTES)], -1)
        token_loss = cross_entropy(at_token.flatten(0, 1), attributes[chosen].flatten())
        return 4 * token_loss + cross_entropy(at_picture.mean(1), backgrounds[chosen])

    return loss


def _attributes(picture: Picture) -> list[int]:
    """Return, for each vision token in reading order, the index into `ATTRIBUTES` of its item."""
    labels = [0] * TOKENS**2
    for item in picture.items:
        column, row = (min(place * TOKENS // FRAME, TOKENS - 1) for place in (item.x, item.y))
        labels[row * TOKENS + column] = ATTRIBUTES.index(f"{item.color} {item.shape}")
    return labels


def _answer_loss(mini: LoadedModel, recipe: Recipe) -> Callable[[int], Tensor]:
    """Return the loss of the second stage: cross-entropy of the answer's token after the prompt."""
    seed = derive_seed(recipe.seed, "answer")
    sizes = [recipe.pool if name.startswith("micro/") else None for name in recipe.mixture]
    pools = [
        benchmarks.load(name, "train", size, seed, options=True)
        for name, size in zip(recipe.mixture, sizes, strict=True)
    ]
    weights = torch.tensor(list(recipe.mixture.values()))

    def loss(step: int) -> Tensor:
        generator = step_generator(recipe, "answer", step)
        picks = torch.multinomial(weights, recipe.batch, replacement=True, generator=generator)
        draws = torch.rand(recipe.batch, generator=generator)
        drawn = [pools[pick] for pick in picks]
        chosen = [pool[int(draw * len(pool))] for pool, draw in zip(drawn, draws, strict=True)]
        order = torch.randperm(recipe.batch, generator=generator)
        swapped = order[: round(recipe.wrong_image_rate * recipe.batch)].tolist()
        images = [chosen[index].image for index in swapped]
        for index, image in zip(swapped, images[1:] + images[:1], strict=True):
            chosen[index] = replace(chosen[index], image=image)
        plain = torch.rand(recipe.batch, generator=generator) >= recipe.options
        chosen = [
            replace(sample, options="") if bare else sample
            for sample, bare in zip(chosen, plain, strict=True)
        ]
        answers = mini.processor.tokenizer.convert_tokens_to_ids([row.answer for row in chosen])
        logits = mini.model(**encode(mini, chosen), logits_to_keep=1).logits[:, -1]
        return cross_entropy(logits, torch.tensor(answers))

    return loss


def _write_card(name: str, recipe: Recipe, accuracy: dict[str, float], folder: Path) -> None:
    rows = "\n".join(f"| {benchmark} | {value:.4f} |" for benchmark, value in accuracy.items())
    audio = family_named(recipe.family).has_audio
    data = "generated clips" if audio else "generated pictures and easy-VQA"
    parameters = sum(value.numel() for value in load_model(folder, device="cpu").model.parameters())
    (folder / "README.md").write_text(f"""# {name}

A mini model: the {recipe.family} architecture of transformers with {parameters:,} \
parameters, trained from scratch
on {data}. It stands in for its large relatives in code path, not in scale or ability.

Made by `python -m pidlib.training.minis train {name}`; weights in \
float16. Test accuracy, all questions of each test split:

| benchmark | accuracy |
|---|---|
{rows}

## Recipe

```json
{json.dumps(asdict(recipe), indent=2)}
```
""")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: ``train [NAME ...] [--threads N]``, by default all."""
    parser = argparse.ArgumentParser(
        prog="python -m pidlib.training.minis", description=__doc__.split("\n")[0]
    )
    parser.add_argument("command", choices=["train"])
    known = RECIPES | DEEP
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(known)}; default: all")
    parser.add_argument("--threads", type=int, default=1, help="more pays only on idle cores")
    options = parser.parse_intermixed_args(arguments)
    for name in options.names:
        if name not in known:
            parser.error(unknown_name("mini", name, known))
    for name in options.names or known:
        accuracy = train(name, known[name], MINIS / name, options.threads)
        lines = "".join(f"\n  {key:20s} {value:.4f}" for key, value in accuracy.items())
        sys.stdout.write(f"wrote {MINIS / name}; test accuracy:{lines}\n")


if __name__ == "__main__":
    main()
