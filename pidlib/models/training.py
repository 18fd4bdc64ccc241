"""What every training takes: the inputs of whole questions, and steps that can be interrupted without a trace in the weights."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm
from transformers import BatchFeature

from pidlib.benchmarks import Sample
from pidlib.experiment import derive_seed
from pidlib.extraction.prompts import Prompter
from pidlib.models.recipes import Recipe
from pidlib.models.registry import LoadedModel

EVERY = 500  # steps between checkpoints


def encode(mini: LoadedModel, samples: Sequence[Sample]) -> BatchFeature:
    """The inputs of the forward pass on whole samples, padded on the left, so that the last position is the answer's."""
    prompter = Prompter(mini.processor, mini.family, mini.family.placeholder_ids(mini.model))
    texts = [prompter.render(sample.text)[0] for sample in samples]
    inputs = mini.processor(text=texts, **prompter.media(samples), padding=True, return_tensors="pt")
    inputs.pop("labels", None)  # PaliGemma's own idea of what to learn
    if mini.family.decoder is None:
        inputs.update(mini.family.arguments)
    if mini.family.counts_padding:
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return inputs


def stream(recipe: Recipe, stage: str, step: int) -> torch.Generator:
    """The randomness of one step, whichever step training went on from."""
    return torch.Generator().manual_seed(derive_seed(recipe.seed, stage, step))


def fit(module: torch.nn.Module, loss_at: Callable[[int], Tensor], steps: int, recipe: Recipe, stage: str, folder: Path) -> None:
    """Minimise ``loss_at(step)`` over the parameters it reaches, from the last checkpoint of the stage in ``folder`` if there is one.

    AdamW with a linear warm-up and a cosine to zero; checkpoints hold weights and moments, and are written whole or not at all.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    warm = max(1, steps // 20)
    schedule = lambda step: min((step + 1) / warm, 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item()))  # noqa: E731
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stage}.checkpoint"
    first = restore(path, module, optimizer)
    progress = tqdm(range(first, steps), initial=first, total=steps, desc=stage, file=sys.stderr)
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * schedule(step)
        optimizer.zero_grad()
        loss = loss_at(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % EVERY == 0 or step + 1 == steps:
            checkpoint(path, step + 1, module, optimizer)


def checkpoint(path: Path, step: int, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Write the weights of ``module`` and the moments of ``optimizer`` after some steps, whole or not at all."""
    state = {f"weights/{name}": value for name, value in module.named_parameters()}
    for index, moments in optimizer.state_dict()["state"].items():
        state |= {f"moments/{index}/{name}": value for name, value in moments.items()}
    part = path.with_suffix(".part")
    save_file({name: value.detach().contiguous().clone() for name, value in state.items()}, part, metadata={"step": str(step)})
    os.replace(part, path)


def restore(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint into ``module`` and ``optimizer``; the step to go on with, 0 without one."""
    if not path.exists():
        return 0
    weights, moments = dict(module.named_parameters()), {}
    with safe_open(path, framework="pt") as file:
        step = int(file.metadata()["step"])
        for key in file.keys():
            kind, name = key.split("/", 1)
            if kind == "weights":
                weights[name].data.copy_(file.get_tensor(key))
            else:
                index, moment = name.split("/")
                moments.setdefault(int(index), {})[moment] = file.get_tensor(key)
    optimizer.load_state_dict({"state": moments, "param_groups": optimizer.state_dict()["param_groups"]})
    return step
