"""The mini models: real architectures at about a million parameters, trained from scratch to look first and to answer then.

``python -m pidlib.models.minis train llava`` trains one and saves it into data/minis/llava. A mini stands in for a model of billions of
parameters in code path, not in scale, and whatever is measured on it is a statement about it.
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
from pidlib.benchmarks import micro
from pidlib.benchmarks.pictures import BACKGROUNDS, COLORS, FRAME, SHAPES, Picture
from pidlib.experiment import derive_seed, fingerprint, unknown
from pidlib.extraction import FAMILIES, extract, family_of
from pidlib.extraction.masking import full_pass
from pidlib.models.films import THINGS, listening
from pidlib.models.recipes import RECIPES, Leaning, Recipe
from pidlib.models.registry import MINIS, LoadedModel, load
from pidlib.models.tiny import build
from pidlib.models.training import encode, fit, stream

TOKENS = 4  # the picture reaches the language model as 4 x 4 tokens in every family
ATTRIBUTES = ["nothing", *(f"{color} {shape}" for color in COLORS for shape in SHAPES)]


def answered(family: str) -> tuple[str, ...]:
    """The benchmarks that minis of a family are trained and tested on: those of clips where it hears."""
    return benchmarks.OMNI if FAMILIES[family].hears else benchmarks.BENCHMARKS


def vocabulary(names: Sequence[str] = benchmarks.BENCHMARKS, n: int | None = None) -> set[str]:
    """Every word of every question and answer: the closed vocabulary of the minis; of the first n of each benchmark."""
    words = set()
    for name in names:
        for sample in benchmarks.load(name, "train", n, options=True):
            words.update(re.findall(r"\w+", sample.text), sample.candidates)
    return words


def train(name: str, recipe: Recipe, folder: Path, threads: int = 1) -> dict[str, float]:
    """Train one mini, save it, and return its test accuracy per benchmark.

    Both stages write a checkpoint beside the result now and then; an interrupted training goes on from the last one and ends with the
    weights of an uninterrupted one.
    """
    torch.set_num_threads(threads)
    if isinstance(recipe, Leaning):
        started = load(recipe.start, device="cpu")
        model, processor = started.model, started.processor
    else:
        model, processor = build(recipe.family, _words(recipe.family), recipe.size, recipe.seed)
    mini = LoadedModel(name, model, processor, family_of(model), "in training", torch.device("cpu"))
    if mini.family.hears:
        head = _head(mini, recipe, 1 + len(THINGS) + 4)
        together = torch.nn.ModuleDict({"model": model, "head": head})
        fit(together, listening(mini, head, recipe), recipe.answers, recipe, "answer", folder)
    elif isinstance(recipe, Leaning):
        blocks = mini.family.blocks_of(model)
        last = torch.nn.ModuleList(blocks[-round(recipe.last * len(blocks)) :])
        fit(last, _answering(mini, recipe), recipe.answers, recipe, "answer", folder)
    else:
        _fit_seeing(mini, recipe, folder)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    accuracy = evaluate(load(folder, device="cpu"))
    _write_card(name, recipe, accuracy, folder)
    for checkpoint in folder.glob("*.checkpoint"):
        checkpoint.unlink()
    return accuracy


def _words(family: str) -> set[str]:
    """Clips take memory, and a few hundred questions of each task have all of its wordings."""
    return vocabulary(answered(family), 512 if FAMILIES[family].hears else None)


def _fit_seeing(mini: LoadedModel, recipe: Recipe, folder: Path) -> None:
    """Both stages of those that see pictures."""
    head = _head(mini, recipe, len(ATTRIBUTES) + len(BACKGROUNDS))
    together = torch.nn.ModuleDict({"model": mini.model, "head": head})
    looking, answering = _looking(mini, head, recipe), _answering(mini, recipe)
    fit(together, looking, recipe.looks, recipe, "look", _tower_folder(recipe, folder))
    # Questions alone would let the tower forget shapes long before the language model has learned to ask for them.
    fit(together, lambda step: answering(step) + looking(recipe.looks + step, recipe.batch // 2), recipe.answers, recipe, "answer", folder)


def _head(mini: LoadedModel, recipe: Recipe, classes: int) -> torch.nn.Linear:
    """What tells, in training alone, what a token stands for."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(recipe.seed, "head"))
        return torch.nn.Linear(mini.model.config.text_config.hidden_size, classes)


def _tower_folder(recipe: Recipe, folder: Path) -> Path:
    """Where the first stage is kept: recipes that differ in the second alone share it, and the vision tower with it."""
    shared = {name: getattr(recipe, name) for name in ("family", "size", "looks", "batch", "learning_rate", "pool", "seed")}
    return folder.parent / ".towers" / fingerprint(**shared)


def evaluate(mini: LoadedModel, split: str = "test", n: int | None = None) -> dict[str, float]:
    """Share of questions whose likeliest candidate is the answer, by benchmark."""
    accuracy = {}
    for name in answered(mini.family.name):
        samples = benchmarks.load(name, split, n)
        full = full_pass(samples[0])
        accuracy[name] = extract(mini, samples, passes=(full,)).accuracy(full)
    return accuracy


def _looking(mini: LoadedModel, head: torch.nn.Module, recipe: Recipe) -> Callable[[int], Tensor]:
    """The loss of the first stage: what is at each vision token, and before which background."""
    pictures = [
        picture
        for task in micro.TASKS
        for _, picture in micro.generate(task, "train", recipe.pool // 2, seed=derive_seed(recipe.seed, "look"))
    ]
    rng = Random(derive_seed(recipe.seed, "look"))
    single = (micro.TASKS["captioned"].picture(rng.choice(list(COLORS)), rng) for _ in range(4 * recipe.pool))
    pictures += [picture for picture in single if micro.split_of(picture) == "train"]
    images = [picture.draw() for picture in pictures]
    attributes = torch.tensor([_attributes(picture) for picture in pictures])
    grounds = torch.tensor([BACKGROUNDS.index(picture.background) for picture in pictures])

    def loss(step: int, batch: int = recipe.batch) -> Tensor:
        chosen = torch.randint(len(images), (batch,), generator=stream(recipe, "look", step))
        inputs = mini.processor.image_processor([[images[i]] for i in chosen], return_tensors="pt")
        features = mini.family.see(mini.model, {name: inputs[name] for name in mini.family.tower_inputs})
        # Before them a class token may stand; LLaVA-OneVision goes on with the picture's tiles, Qwen3-VL with what enters at the side.
        tokens = torch.stack(features)[:, mini.family.leading :][:, : TOKENS**2, : head.in_features]
        scores = head(tokens)
        at_token = cross_entropy(scores[..., : len(ATTRIBUTES)].flatten(0, 1), attributes[chosen].flatten())
        return 4 * at_token + cross_entropy(scores[..., len(ATTRIBUTES) :].mean(1), grounds[chosen])

    return loss


def _attributes(picture: Picture) -> list[int]:
    """For each vision token, in reading order, the item whose centre lies in it, as an index into `ATTRIBUTES`."""
    labels = [0] * TOKENS**2
    for item in picture.items:
        column, row = (min(position * TOKENS // FRAME, TOKENS - 1) for position in (item.x, item.y))
        labels[row * TOKENS + column] = ATTRIBUTES.index(f"{item.color} {item.shape}")
    return labels


def _answering(mini: LoadedModel, recipe: Recipe) -> Callable[[int], Tensor]:
    """The loss of the second stage: the answer's word, next after the prompt, among all words."""
    seed = derive_seed(recipe.seed, "answer")
    pools = {name: recipe.pool if name.startswith("micro/") else None for name in recipe.mixture}
    samples = {name: benchmarks.load(name, "train", pool, seed, options=True) for name, pool in pools.items()}
    names, weights = list(samples), torch.tensor(list(recipe.mixture.values()))

    def loss(step: int) -> Tensor:
        generator = stream(recipe, "answer", step)
        picks = torch.multinomial(weights, recipe.batch, replacement=True, generator=generator)
        draws = torch.rand(recipe.batch, generator=generator)
        chosen = [samples[names[i]][int(u * len(samples[names[i]]))] for i, u in zip(picks, draws, strict=True)]
        strangers = torch.randperm(recipe.batch, generator=generator)[: round(recipe.blind * recipe.batch)].tolist()
        pictures = [chosen[one].image for one in strangers]
        for one, picture in zip(strangers, pictures[1:] + pictures[:1], strict=True):
            chosen[one] = replace(chosen[one], image=picture)
        plain = torch.rand(recipe.batch, generator=generator) >= recipe.options
        chosen = [replace(sample, options="") if bare else sample for sample, bare in zip(chosen, plain, strict=True)]
        answers = mini.processor.tokenizer.convert_tokens_to_ids([sample.answer for sample in chosen])
        logits = mini.model(**encode(mini, chosen), logits_to_keep=1).logits[:, -1]
        return cross_entropy(logits, torch.tensor(answers))

    return loss


def _write_card(name: str, recipe: Recipe, accuracy: dict[str, float], folder: Path) -> None:
    rows = "\n".join(f"| {benchmark} | {value:.4f} |" for benchmark, value in accuracy.items())
    seen = "generated clips" if FAMILIES[recipe.family].hears else "generated pictures and easy-VQA"
    parameters = sum(value.numel() for value in load(folder, device="cpu").model.parameters())
    (folder / "README.md").write_text(
        f"# {name}\n\nA mini model: the {recipe.family} architecture of transformers with {parameters:,} parameters, trained from scratch\n"
        f"on {seen}. It stands in for its large relatives in code path, not in scale or ability.\n\n"
        f"Made by `python -m pidlib.models.minis train {name}`; weights in float16. Test accuracy, all questions of each test split:\n\n"
        f"| benchmark | accuracy |\n|---|---|\n{rows}\n\n## Recipe\n\n```json\n{json.dumps(asdict(recipe), indent=2)}\n```\n"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line: ``train [NAME ...] [--threads N]``; all of them, if none is named."""
    parser = argparse.ArgumentParser(prog="python -m pidlib.models.minis", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["train"])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(RECIPES)}; all, if none is named")
    parser.add_argument("--threads", type=int, default=1, help="more than one pays only on idle cores")
    chosen = parser.parse_args(arguments)
    for name in chosen.names:
        if name not in RECIPES:
            parser.error(unknown("mini", name, RECIPES))
    for name in chosen.names or RECIPES:
        accuracy = train(name, RECIPES[name], MINIS / name, chosen.threads)
        lines = "".join(f"\n  {benchmark:20s} {value:.4f}" for benchmark, value in accuracy.items())
        sys.stdout.write(f"wrote {MINIS / name}; test accuracy:{lines}\n")


if __name__ == "__main__":
    main()
