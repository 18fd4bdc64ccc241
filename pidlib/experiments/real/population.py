"""Train the population: adapters of one assembled model that differ in what they learned from.

``make real-population`` trains what `ADAPTERS` lacks, each in some 20 minutes on an idle core with
fast bfloat16, four times that without, and resumes from checkpoints. Before, if there is none, the
projector is aligned: each token of a picture is trained to be the mean embedding of the names of
ImageNet, weighted by what the tower's own classifier reads there.
"""

from pidlib.experiments.real.parts import ADAPTERS, MODEL, PARTS, PROJECTOR, VISION, read_vision

# isort: split

import argparse
import json
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random

import torch
from jaxtyping import Float
from peft import get_peft_model
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import linear, mse_loss

from pidlib import benchmarks
from pidlib._common import derive_seed, fingerprint, project_root, unknown_name
from pidlib.benchmarks.stamps import PICTURES
from pidlib.experiments.real import parts
from pidlib.extraction import FULL, extract
from pidlib.extraction.prompts import Prompter
from pidlib.models import LoadedModel, load_model
from pidlib.training import lora
from pidlib.training.loop import answer_loss, fit, restore

STEPS, BRIEF, BATCH = 300, 90, 16
EVERY = 20  # steps between checkpoints
ALIGNING, ROWS = 250, 1024  # steps of the projector, and tokens in each
_TASKS = ("category", "both", "knowledge", "captioned", "naming", "pair")
MIXTURE = {f"stamps/{task}": 2.0 if task == "naming" else 1.0 for task in _TASKS}
_TARGETS = ("q_proj", "v_proj")
TUNING = lora.Tuning(rank=8, alpha=16, dropout=0.0, last=1.0, targets=_TARGETS, learning_rate=1e-3)
PROJECTOR_RANK = 64  # its layers change more than those of the language model
WORK = MODEL.parent / "training"


@dataclass(frozen=True)
class Member:
    """What an adapter is trained on."""

    seed: int = 0  # of the initial weights and the order
    mixture: dict[str, float] = field(default_factory=MIXTURE.copy)  # benchmark -> weight
    wrong_pictures: bool = False  # each question comes with the picture of another
    steps: int = STEPS  # after which it stops; learning rates are those of `STEPS`


def _captions(name: str) -> dict[str, float]:
    return {name if key == "stamps/captioned" else key: w for key, w in MIXTURE.items()}


MEMBERS = {
    **{f"base_{seed}": Member(seed) for seed in range(3)},
    "picture_blind": Member(wrong_pictures=True),
    "caption_blind": Member(mixture=_captions("stamps/captioned_17")),
    "caption_prior": Member(mixture=_captions("stamps/captioned_80")),
    "brief": Member(steps=BRIEF),  # the state of base_0 at that step
}


def fast_type(processor: Path = Path("/proc/cpuinfo")) -> torch.dtype:
    """Return bfloat16 if the processor, or a GPU, multiplies it fast, otherwise float32."""
    flags = processor.read_text() if processor.exists() else ""
    fast = re.search("avx512_bf16|amx_bf16", flags) or torch.cuda.is_available()
    return torch.bfloat16 if fast else torch.float32


def align(
    base: LoadedModel,
    classifier: tuple[Float[Tensor, "names d"], Float[Tensor, " names"]],
    names: Sequence[str],
    images: Iterable[Image.Image],
    folder: Path,
    steps: int = ALIGNING,
) -> nn.Module:
    """Train the projector of a model (in float32) on the tokens of pictures, and return it."""
    model, tokenizer = base.model.model, base.processor.tokenizer
    with torch.no_grad():
        inputs = base.processor.image_processor(list(images), return_tensors="pt")["pixel_values"]
        tokens = [model.vision_tower(each).last_hidden_state for each in inputs.split(BATCH)]
        tokens = torch.cat(tokens).flatten(2).mT.flatten(0, 1)
        table = model.get_input_embeddings().weight
        ids = [tokenizer(f" {name}", add_special_tokens=False)["input_ids"] for name in names]
        embeddings = torch.stack([table[each].mean(0) for each in ids])
        targets = linear(tokens, *classifier).softmax(-1) @ embeddings
    projector, rate = model.multi_modal_projector, 2 * TUNING.learning_rate
    optimizer = torch.optim.AdamW(projector.parameters(), rate, weight_decay=0.0)

    def loss_at(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(derive_seed("align", step))
        rows = torch.randint(len(tokens), (ROWS,), generator=generator)
        return mse_loss(projector(tokens[rows]), targets[rows]) / targets.var()

    path = folder / "projector.checkpoint"
    fit(projector, loss_at, steps, optimizer, lambda t: rate * (1 - t / steps), path, every=50)
    return projector


def adapted(base: LoadedModel, seed: int) -> LoadedModel:
    """Return the model with a new adapter: low-rank changes of all its blocks and its projector."""
    config = lora._config(base, TUNING)
    for layer in ("linear_1", "linear_2"):
        config.target_modules += rf"|model\.multi_modal_projector\.{layer}"
        config.rank_pattern[layer] = PROJECTOR_RANK
        config.alpha_pattern[layer] = PROJECTOR_RANK * TUNING.alpha / TUNING.rank
    config.revision = None  # that of the folder depends on the version of transformers
    with lora.preserve_rng(base.device):
        torch.manual_seed(derive_seed(seed, "adapter"))
        return replace(base, model=get_peft_model(lora.frozen_copy(base.model), config).eval())


def train(name: str, base: LoadedModel, target: Path = ADAPTERS, work: Path = WORK) -> None:
    """Train a member and those that are earlier states of it, as far as ``target`` lacks them."""
    member = MEMBERS[name]
    ways = {key: replace(other, steps=0) for key, other in MEMBERS.items()}
    stops = sorted((MEMBERS[key].steps, key) for key, way in ways.items() if way == ways[name])
    path = work / f"{fingerprint(**asdict(ways[name]))}.checkpoint"
    pools = [benchmarks.load(key, "train", None, member.seed) for key in member.mixture]
    prompter, tokens, tuned = Prompter(base), {}, adapted(base, member.seed)
    for first, *_ in pools:
        ids = prompter.candidate_tokens(first.candidates, first.question)
        tokens |= dict(zip(first.candidates, ids, strict=True))
    trained = nn.ParameterList(each for each in tuned.model.parameters() if each.requires_grad)
    optimizer = torch.optim.AdamW(trained.parameters(), TUNING.learning_rate, weight_decay=0.0)

    def loss_at(step: int) -> Tensor:
        rng = Random(derive_seed(member.seed, "stamps", step))
        drawn = rng.choices(pools, list(member.mixture.values()), k=BATCH)
        chosen = [rng.choice(pool) for pool in drawn]
        shown = chosen[1:] + chosen[:1] if member.wrong_pictures else chosen
        images = (sample.image for sample in shown)
        images = [ImageOps.mirror(each) if rng.random() < 0.5 else each for each in images]
        rows = zip(chosen, images, strict=True)
        return answer_loss(tuned, [replace(each, image=image) for each, image in rows], tokens)

    def rate_at(step: int) -> float:
        decay = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / STEPS)).item())
        return TUNING.learning_rate * min((step + 1) / 20, decay)

    for steps, key in stops:
        if (target / key / lora.CONFIG).exists():
            continue
        if restore(path, trained, optimizer) > steps:
            raise ValueError(f"{path} is beyond {steps} steps; remove it to train {key} again")
        fit(trained, loss_at, steps, optimizer, rate_at, path, every=EVERY, description=key)
        save(tuned, key, target / key)


def save(tuned: LoadedModel, name: str, folder: Path) -> None:
    """Save an adapter in float16, with a card."""
    folder.mkdir(parents=True, exist_ok=True)
    card = json.dumps(asdict(MEMBERS[name]) | {"batch": BATCH, "tuning": asdict(TUNING)}, indent=2)
    kind = str(tuned.model.dtype).removeprefix("torch.")
    text = f"# {name}\n\nAn adapter of the assembled model, trained in {kind}: see ../README.md."
    (folder / "README.md").write_text(f"{text}\n\n```json\n{card}\n```\n", encoding="utf-8")
    lora._save(tuned.model, str(MODEL.relative_to(project_root())), folder)
    halves = {key: value.half() for key, value in load_file(folder / lora.WEIGHTS).items()}
    save_file(halves, folder / lora.WEIGHTS, {"format": "pt"})


def evaluate(tuned: LoadedModel, n: int | None = 120) -> dict[str, float]:
    """Return the share of right answers to the first n test questions of each task."""
    tests = ((name, benchmarks.load(name, "test", n)) for name in MIXTURE)
    return {name: extract(tuned, test, passes=(FULL,)).accuracy(FULL) for name, test in tests}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command: ``[NAME ...]``, by default all members."""
    parser = argparse.ArgumentParser(prog="python -m pidlib.experiments.real.population")
    parser.add_argument("names", nargs="*", help=f"any of {', '.join(MEMBERS)}; default: all")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in MEMBERS]:
        parser.error(unknown_name("member", unknown[0], MEMBERS))
    torch.set_num_threads(1)
    parts.main()
    if not PROJECTOR.exists():
        from torchvision.models._meta import _IMAGENET_CATEGORIES

        head = read_vision(PARTS / VISION)
        images = [Image.open(path) for path in sorted(PICTURES["train"].glob("*.webp"))]
        base, classifier = load_model(MODEL, device="cpu"), (head["_fc.weight"], head["_fc.bias"])
        projector = align(base, classifier, _IMAGENET_CATEGORIES, images, WORK)
        PROJECTOR.parent.mkdir(parents=True, exist_ok=True)
        save_file(projector.half().state_dict(), PROJECTOR)
        shutil.rmtree(MODEL)
        parts.main()
    base = load_model(MODEL, dtype=fast_type())
    for name in options.names or MEMBERS:
        train(name, base)
        shown = evaluate(load_model(f"{MODEL}+{ADAPTERS / name}", dtype=fast_type()))
        lines = "".join(f"\n  {key:20s} {value:.3f}" for key, value in shown.items())
        sys.stdout.write(f"{name}: accuracy on the test{lines}\n")


if __name__ == "__main__":
    main()
