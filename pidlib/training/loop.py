"""Inputs of whole questions, and a training loop that resumes with bit-identical weights."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from pidlib._common import derive_seed, replacing
from pidlib.benchmarks import Sample
from pidlib.extraction.prompts import Prompter
from pidlib.models import LoadedModel
from pidlib.training.recipes import Recipe

if TYPE_CHECKING:
    from transformers import BatchFeature

EVERY = 500  # steps between checkpoints


def encode(loaded: LoadedModel, samples: Sequence[Sample]) -> "BatchFeature":
    """Return the inputs of a forward pass, padded on the left: the answer is read at the end."""
    family = loaded.family
    prompter = Prompter(loaded)
    texts = [prompter.render(sample.text) for sample in samples]
    media = prompter.media(samples)
    inputs = loaded.processor(text=texts, **media, padding=True, return_tensors="pt")
    inputs.pop("labels", None)  # added by PaliGemma's processor
    inputs.update(family.forward_kwargs)
    if family.counts_padding:
        inputs["position_ids"] = (inputs["attention_mask"].cumsum(1) - 1).clamp(min=0)
    return inputs


def answer_loss(
    tuned: LoadedModel,
    samples: Sequence[Sample],
    tokens: Mapping[str, tuple[int, ...]],
    weights: Float[Tensor, " batch"] | None = None,
) -> Tensor:
    """Return the mean over samples of weight times cross-entropy, averaged over an answer's tokens.

    ``tokens`` are those of candidates. Raises a ValueError for several if the model reads more of
    a token than its id and mask, which would have to be continued.
    """
    inputs = encode(tuned, samples).to(tuned.model.dtype).to(tuned.device)
    width, answers = max(map(len, tokens.values())), [tokens[each.answer] for each in samples]
    targets = torch.tensor([[*ids, *[-1] * (width - len(ids))] for ids in answers])
    targets = targets.to(tuned.device)
    asked = targets >= 0
    if width > 1:
        shape, known = inputs["input_ids"].shape, {"input_ids", "attention_mask"}
        if others := {k for k, v in inputs.items() if getattr(v, "shape", ())[:2] == shape} - known:
            text = f"{', '.join(tokens)} have up to {width} tokens and share the first, and"
            text += f" {tuned.name} reads {', '.join(others)} of each token"
            raise ValueError(f"{text}; letter or rename the candidates")
        following = {"input_ids": targets[:, :-1].clamp(min=0), "attention_mask": asked[:, 1:]}
        for name, values in following.items():
            inputs[name] = torch.cat([inputs[name], values.to(inputs[name])], 1)
    logits = tuned.model(**inputs, logits_to_keep=width).logits[:, -width:]
    losses = cross_entropy(logits[asked].float(), targets[asked], reduction="none")
    shares = asked / asked.sum(1, keepdim=True)
    shares = shares if weights is None else shares * weights.to(shares)[:, None]
    return (shares[asked] * losses).sum() / len(samples)


def step_generator(recipe: Recipe, stage: str, step: int) -> torch.Generator:
    """Return the random generator of a step, independent of earlier steps."""
    return torch.Generator().manual_seed(derive_seed(recipe.seed, stage, step))


def fit_stage(
    module: torch.nn.Module,
    loss_at: Callable[[int], Tensor],
    steps: int,
    recipe: Recipe,
    stage: str,
    folder: Path,
) -> None:
    """Minimize ``loss_at(step)`` by AdamW with linear warm-up and cosine decay to zero."""
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    warm = max(1, steps // 20)

    def rate_at(step: int) -> float:
        decay = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * step / steps)).item())
        return recipe.learning_rate * min((step + 1) / warm, decay)

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stage}.checkpoint"
    fit(module, loss_at, steps, optimizer, rate_at, path, every=EVERY, description=stage)


def fit(
    module: torch.nn.Module,
    loss_at: Callable[[int], Tensor],
    steps: int,
    optimizer: torch.optim.Optimizer,
    rate_at: Callable[[int], float],
    path: Path,
    *,
    every: int,
    description: str | None = None,
) -> None:
    """Minimize a loss from the last checkpoint, if there is any; gradients are clipped at norm 1.

    ``loss_at`` and ``rate_at`` return loss and learning rate of a step. The checkpoint ``path`` is
    written at the end and after ``every`` so many steps. Without ``description``, the label of the
    progress bar, none is shown.
    """
    first = restore(path, module, optimizer)
    progress = tqdm(
        range(first, steps),
        initial=first,
        total=steps,
        desc=description,
        file=sys.stderr,
        disable=description is None,
    )
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step)
        optimizer.zero_grad()
        loss = loss_at(step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        if step % 20 == 0 and description:
            progress.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % every == 0 or step + 1 == steps:
            save_checkpoint(path, step + 1, module, optimizer)


def save_checkpoint(
    path: Path, step: int, module: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> None:
    """Write the weights of ``module`` and the moments of ``optimizer``, atomically."""
    state = {f"weights/{name}": value for name, value in module.named_parameters()}
    for index, moments in optimizer.state_dict()["state"].items():
        state |= {f"moments/{index}/{name}": value for name, value in moments.items()}
    state = {name: value.detach().contiguous().clone() for name, value in state.items()}
    with replacing(path) as part:
        save_file(state, part, metadata={"step": str(step)})


def restore(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a checkpoint and return the step to continue with; 0 if there is no checkpoint."""
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
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": moments, "param_groups": groups})
    return step
