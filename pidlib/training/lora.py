"""Fine-tuning on weighted samples: a low-rank adapter (peft) in the last blocks."""

from pidlib.models import _transformers  # noqa: F401  (before transformers and peft)

# isort: split

import copy
import hashlib
import json
import math
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import get_scheduler

from pidlib._common import derive_seed, fingerprint, replacing
from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_samples
from pidlib.extraction.extractor import identity
from pidlib.extraction.prompts import Prompter
from pidlib.models import LoadedModel
from pidlib.training.loop import answer_loss, fit

EVERY = 50  # steps between checkpoints
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # names given by peft


@dataclass(frozen=True)
class Tuning:
    """Hyperparameters of an adapter; by default the paper's for Qwen2.5-VL-7B, as far as known.

    The paper reports rank, alpha, dropout, last, learning rate, schedule, warmup and batch;
    targets, AdamW, a single pass and clipping are our choice. Clipping limits the gradients of
    heavy batches and AdamW divides out the scale of all: a weight of 3 counts as three samples
    relative to the others, not as a step three times as long.

    Attributes
    ----------
    rank, alpha, dropout
        The weights of a module become :math:`W + (alpha / rank) B A`; dropout applies to A's input.
    last, targets
        Share of the language model's blocks, from the last, that are adapted, at least one; names
        of the adapted modules of a block.
    learning_rate, schedule, warmup
        Of AdamW without weight decay, gradients clipped at norm 1; the name of a schedule of
        transformers, and the share of steps in its warm-up.
    batch, epochs, steps
        Samples per step; passes over the samples, or steps, if given.
    """

    rank: int = 16
    alpha: float = 32
    dropout: float = 0.05
    last: float = 0.2
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj")
    learning_rate: float = 2e-5
    schedule: str = "cosine"
    warmup: float = 0.05
    batch: int = 16
    epochs: float = 1.0
    steps: int | None = None

    def length(self, n: int) -> int:
        """Return the number of steps of a training on n samples."""
        return math.ceil(self.epochs * n / self.batch) if self.steps is None else self.steps


def tune(
    loaded: LoadedModel,
    samples: Sequence[Sample],
    weights: Float[np.ndarray, " n"] | None = None,
    tuning: Tuning | None = None,
    seed: int = 0,
    *,
    folder: str | Path,
    sampling: Float[np.ndarray, " n"] | None = None,
) -> LoadedModel:
    r"""Train an adapter, save it in ``folder`` and return the adapted model.

    The loss of a batch is :math:`\frac{1}{B} \sum_i w_i \left(-\log p_i\right)`, where :math:`p_i`
    is the probability of the answer's first token, among all, after the prompt; if candidates share
    it, :math:`\log p_i` is the mean over the answer's tokens (the paper's loss is not known). The
    loss is not divided by the sum of weights, so weights of 1 equal no weights.

    Each pass has its own order of samples, and the randomness of a step depends on its number only:
    an interrupted training resumes from its last checkpoint (every `EVERY` steps) and ends with the
    same weights. A finished training is read from the folder.

    Parameters
    ----------
    loaded, samples
        As for `pidlib.extraction.extract`: the same candidates in all, distinct ids.
    weights
        Of the samples' losses, >= 0; default 1.
    tuning, seed
        Size of the adapter and length of the training; seed of the adapter's initial weights, the
        order and dropout.
    folder
        Where adapter and checkpoint are written.
    sampling
        Shares of the samples among all draws, up to a factor, instead of passes over all. The
        number of draws of a sample differs from its share by less than 1.

    Raises a ValueError for samples that make no training set; for weights that are not finite, >= 0
    and one per sample; for a folder of another training; for unknown ``targets``.
    """
    tuning, folder = tuning or Tuning(), Path(folder)
    samples = check_samples(samples, loaded=loaded)
    n = len(samples)
    weights = _checked("weights", np.ones(n) if weights is None else weights, n)
    sampling = None if sampling is None else _checked("sampling", sampling, n)
    facts = {
        "tuning": asdict(tuning),
        "weights": weights.tolist(),
        "sampling": None if sampling is None else sampling.tolist(),
    }
    claim_folder(folder, fingerprint(**identity(loaded, samples, seed=seed), **facts))
    if not (folder / CONFIG).exists():
        with preserve_rng(loaded.device):
            torch.manual_seed(derive_seed(seed, "adapter"))
            adapted = get_peft_model(frozen_copy(loaded.model), _config(loaded, tuning)).train()
            order = _order(n, tuning.length(n) * tuning.batch, seed, sampling)
            path = folder / "training.checkpoint"
            _fit(replace(loaded, model=adapted), samples, weights, order, tuning, seed, path)
        _save(adapted, loaded.name, folder)
    return with_adapter(loaded, folder)


def with_adapter(loaded: LoadedModel, folder: str | Path) -> LoadedModel:
    """Return a model with a saved adapter; its revision identifies both.

    The adapter remains separate from the weights, which both models share: added to weights of 16
    bits it would be lost in rounding. Raises a ValueError if there is no adapter, or it was trained
    for another model.
    """
    folder = Path(folder)
    if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        raise ValueError(
            f"no adapter in {folder}: it lacks {CONFIG} or {WEIGHTS}; give a folder that tune has"
            " finished"
        )
    config = PeftConfig.from_pretrained(str(folder))
    if config.revision != loaded.revision:
        raise ValueError(
            f"the adapter in {folder} is for revision {config.revision}, and {loaded.name} is"
            f" {loaded.revision}; load the revision it was trained for"
        )
    with preserve_rng(loaded.device):
        adapted = PeftModel.from_pretrained(
            frozen_copy(loaded.model), str(folder), torch_device=str(loaded.device)
        )
    digest = hashlib.sha256(f"{loaded.revision} {config.r} {config.lora_alpha} ".encode())
    digest.update((folder / WEIGHTS).read_bytes())
    model = adapted.get_base_model().eval()
    return replace(loaded, model=model, revision=digest.hexdigest()[:40])


def claim_folder(folder: Path, key: str) -> None:
    """Record the fingerprint of a training in its folder; raise if another is recorded there."""
    path = folder / "training.json"
    if path.exists() and json.loads(path.read_text()) != {"fingerprint": key}:
        raise ValueError(
            f"{folder} holds a training of other model, samples, weights, tuning or seed; give"
            " another folder, or remove it"
        )
    with replacing(path) as part:
        part.write_text(json.dumps({"fingerprint": key}) + "\n")


@contextmanager
def preserve_rng(device: torch.device) -> Iterator[None]:
    """Restore torch's random state at the end: peft draws initial weights even when loading."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft's
            yield


def frozen_copy(model: nn.Module) -> nn.Module:
    """Return a copy of the model that shares its weights, frozen; a ValueError if it is adapted."""
    if getattr(model, "peft_config", None):
        raise ValueError("the model has an adapter already; merge it into the weights first")
    weights = {
        id(weight): nn.Parameter(weight.data, requires_grad=False) for weight in model.parameters()
    }
    return copy.deepcopy(model, weights)


def _checked(name: str, values: Sequence[float], n: int) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    valid = values.shape == (n,) and np.isfinite(values).all() and values.min() >= 0
    if not valid or not values.any():
        raise ValueError(
            f"{name} of {n} samples: got {values.shape}, {values.tolist()[:4]} ...; give one for"
            " each, >= 0 and not all 0"
        )
    return values


def _config(loaded: LoadedModel, tuning: Tuning) -> LoraConfig:
    """Configure the adapter by full module names, as the towers use the same short names."""
    blocks = list(loaded.family.blocks_of(loaded.model))
    last = nn.ModuleList(blocks[-max(1, round(tuning.last * len(blocks))) :])
    adapted = {
        module for path, module in last.named_modules() if path.rpartition(".")[2] in tuning.targets
    }
    if not adapted:
        linear = {
            path.rpartition(".")[2]
            for path, module in last.named_modules()
            if isinstance(module, nn.Linear)
        }
        raise ValueError(
            f"the blocks of {loaded.family.name} have no {', '.join(tuning.targets)}; give targets"
            f" of {', '.join(sorted(linear))}"
        )
    modules = loaded.model.named_modules()
    names = "|".join(re.escape(path) for path, module in modules if module in adapted)
    return LoraConfig(
        target_modules=names,
        revision=loaded.revision,
        r=tuning.rank,
        lora_alpha=tuning.alpha,
        lora_dropout=tuning.dropout,
    )


def _order(n: int, size: int, seed: int, sampling: np.ndarray | None) -> list[int]:
    """Return the order of samples: shuffled passes over all, or a systematic draw by shares."""
    rng = np.random.default_rng(derive_seed(seed, "order"))
    if sampling is not None:
        order = rng.permutation(n)
        shares = sampling[order].cumsum() / sampling.sum()
        places = np.searchsorted(shares, (np.arange(size) + rng.random()) / size)
        return rng.permutation(order[places.clip(max=n - 1)]).tolist()
    passes = [rng.permutation(n) for _ in range(math.ceil(size / n))]
    return np.concatenate(passes)[:size].tolist()


def _fit(
    adapted: LoadedModel,
    samples: Sequence[Sample],
    weights: np.ndarray,
    order: Sequence[int],
    tuning: Tuning,
    seed: int,
    path: Path,
) -> None:
    """Train the adapter on the samples in ``order``, from the checkpoint if there is one."""
    model = adapted.model
    trained = nn.ParameterList(weight for weight in model.parameters() if weight.requires_grad)
    steps = len(order) // tuning.batch
    optimizer = torch.optim.AdamW(trained.parameters(), tuning.learning_rate, weight_decay=0.0)
    warm = math.ceil(tuning.warmup * steps)
    (factor_at,) = get_scheduler(tuning.schedule, optimizer, warm, steps).lr_lambdas
    candidates, prompter = samples[0].candidates, Prompter(adapted)
    ids = prompter.candidate_tokens(candidates, samples[0].question)
    if len({own[0] for own in ids}) == len(ids):  # the first decides
        ids = [own[:1] for own in ids]
    tokens = dict(zip(candidates, ids, strict=True))

    # For each row of a slice of states, torch would copy the weights of the head.
    head = adapted.family.head_of(model.get_base_model())
    head.register_forward_pre_hook(lambda _, given: given[0].contiguous())

    def loss_at(step: int) -> Tensor:
        torch.manual_seed(derive_seed(seed, "step", step))  # of dropout
        rows = order[step * tuning.batch : (step + 1) * tuning.batch]
        chosen = [samples[row] for row in rows]
        return answer_loss(adapted, chosen, tokens, torch.tensor(weights[rows]).float())

    def rate_at(step: int) -> float:
        return tuning.learning_rate * factor_at(step)

    fit(trained, loss_at, steps, optimizer, rate_at, path, every=EVERY)


def _save(adapted: PeftModel, name: str, folder: Path) -> None:
    """Save the adapter; the configuration comes last, so its presence marks a complete save."""
    adapted.peft_config["default"].base_model_name_or_path = name
    part = folder / "part"
    adapted.save_pretrained(part, save_embedding_layers=False)
    for file in (WEIGHTS, CONFIG):
        os.replace(part / file, folder / file)
    shutil.rmtree(part)
    (folder / "training.checkpoint").unlink(missing_ok=True)
