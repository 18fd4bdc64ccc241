"""Fine-tuning with weighted samples: an adapter of low rank in the last blocks, by peft and the Trainer of transformers."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments, get_scheduler

from pidlib.benchmarks import Sample
from pidlib.experiment import derive_seed, fingerprint
from pidlib.extraction.checks import check_samples
from pidlib.extraction.extractor import identity
from pidlib.extraction.prompts import Prompter
from pidlib.models.adapters import CONFIG, claim, no_trace, save, twin, with_adapter
from pidlib.models.registry import LoadedModel
from pidlib.models.training import checkpoint, encode, restore

EVERY = 50  # steps between checkpoints


@dataclass(frozen=True)
class Tuning:
    """All that decides how an adapter is trained, but data and seed; by default the paper's, for Qwen2.5-VL-7B, as far as it is known.

    Known are rank, alpha, dropout, last, learning rate, schedule, warmup and batch. Targets, AdamW, one pass and the clipping are our
    reconstruction. Clipping bears on what a weight means: a batch of heavy samples has a longer gradient and is clipped more, and AdamW
    takes the scale of all gradients out; so a weight of 3 is three samples against others, not a step three times as long.

    Attributes
    ----------
    rank, alpha, dropout
        Of the adapter: the weights of a module become :math:`W + (alpha / rank) B A`; dropout of what enters A.
    last
        Share of the language model's blocks, from the last, that are adapted; at least one.
    targets
        Modules of a block that are.
    learning_rate, schedule, warmup
        Of AdamW without weight decay, gradients clipped at norm 1; a schedule of transformers by name, and the share of steps it warms up.
    batch
        Samples a step.
    epochs, steps
        How long: passes over the samples, or steps, if they are given.
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
        """The steps of a training on n samples."""
        return math.ceil(self.epochs * n / self.batch) if self.steps is None else self.steps


PAPER = Tuning()


def tune(
    loaded: LoadedModel,
    samples: Sequence[Sample],
    weights: Float[np.ndarray, " n"] | None = None,
    tuning: Tuning = PAPER,
    seed: int = 0,
    *,
    folder: str | Path,
    sampling: Float[np.ndarray, " n"] | None = None,
) -> LoadedModel:
    r"""Train an adapter to answer, save it in ``folder``, and give the model with it; the model that was given stays as it is.

    The loss of a batch is :math:`\frac{1}{B} \sum_i w_i \left(-\log p_i\right)`, where :math:`p_i` is the probability of the answer's first
    token among all tokens at the end of the prompt: the one that answers are read by, and all of an answer that is a letter or a word of
    the minis; the paper's loss on longer answers is not known. It is not divided by the weights' sum, so weights of 1 are no weights.

    Samples come in an order drawn anew in each pass, and all randomness of a step is that of its number; so a training that was interrupted
    goes on from its last checkpoint, every `EVERY` steps, and ends with the weights of an uninterrupted one. A finished one is read.

    Parameters
    ----------
    loaded : LoadedModel
        From `pidlib.models.load`.
    samples : sequence of Sample
        As for `pidlib.extraction.extract`: of one alphabet of candidates, ids that differ.
    weights : array, optional
        Of the samples' losses, >= 0; 1 if left out.
    tuning : Tuning
        Size of the adapter and length of the training.
    seed : int
        Of the adapter's first weights, of order and dropout.
    folder : path
        Where adapter and checkpoint are kept, and all that is written.
    sampling : array, optional
        Shares of the samples, up to a factor, in place of passes over all: of all draws each sample has its share, up to one draw.

    Raises
    ------
    ValueError
        For samples that make no training set, weights that are not one for each, >= 0 and finite, a folder of another training, or
        ``targets`` that the blocks do not have.
    """
    samples, folder = check_samples(samples, hears=loaded.family.hears), Path(folder)
    weights = _checked("weights", np.ones(len(samples)) if weights is None else weights, len(samples))
    sampling = None if sampling is None else _checked("sampling", sampling, len(samples))
    told = {"tuning": asdict(tuning), "weights": weights.tolist(), "sampling": None if sampling is None else sampling.tolist()}
    claim(folder, fingerprint(**identity(loaded, samples, (), 0, (), seed), **told))
    if not (folder / CONFIG).exists():
        with no_trace(loaded.device):
            torch.manual_seed(derive_seed(seed, "adapter"))
            adapted = get_peft_model(twin(loaded.model), _config(loaded, tuning))
            _train(replace(loaded, model=adapted), samples, weights, tuning, seed, sampling, folder / "training.checkpoint")
        save(adapted, loaded.name, folder)
    return with_adapter(loaded, folder)


def _checked(name: str, values: Sequence[float], n: int) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all() or values.min() < 0 or not values.any():
        raise ValueError(f"{name} of {n} samples: got {values.shape}, {values.tolist()[:4]} ...; give one for each, >= 0 and not all 0")
    return values


def _config(loaded: LoadedModel, tuning: Tuning) -> LoraConfig:
    """The adapter of the last blocks, by the full names of its modules: towers have modules of the same short names."""
    blocks = list(loaded.family.blocks_of(loaded.model))
    last = nn.ModuleList(blocks[-max(1, round(tuning.last * len(blocks))) :])
    adapted = {module for path, module in last.named_modules() if path.rpartition(".")[2] in tuning.targets}
    if not adapted:
        there = sorted({path.rpartition(".")[2] for path, module in last.named_modules() if isinstance(module, nn.Linear)})
        raise ValueError(f"the blocks of {loaded.family.name} have no {', '.join(tuning.targets)}; give targets of {', '.join(there)}")
    names = "|".join(re.escape(path) for path, module in loaded.model.named_modules() if module in adapted)
    shape = {"r": tuning.rank, "lora_alpha": tuning.alpha, "lora_dropout": tuning.dropout}
    return LoraConfig(target_modules=names, revision=loaded.revision, **shape)


def _order(n: int, size: int, seed: int, sampling: np.ndarray | None) -> list[int]:
    """Which sample comes when: passes over all, each in an order of its own; or a systematic draw, in a random order."""
    draws = np.random.default_rng(derive_seed(seed, "order"))
    if sampling is not None:
        order = draws.permutation(n)
        shares = sampling[order].cumsum() / sampling.sum()
        drawn = order[np.searchsorted(shares, (np.arange(size) + draws.random()) / size).clip(max=n - 1)]
        return draws.permutation(drawn).tolist()
    return np.concatenate([draws.permutation(n) for _ in range(math.ceil(size / n))])[:size].tolist()


class _Weighted(Trainer):
    """The loss of `tune`."""

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        weights, answers = inputs.pop("weight"), inputs.pop("answer")
        outputs = model(**inputs, logits_to_keep=1)
        loss = (weights * cross_entropy(outputs.logits[:, -1].float(), answers, reduction="none")).mean()
        return (loss, outputs) if return_outputs else loss

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> int:
        return 0  # nobody reads it, and counting takes time


@dataclass
class _Steps(TrainerCallback):
    """Seeds each step by its number, and keeps the training now and then."""

    first: int
    seed: int
    keep: Callable[[int], None]

    def on_step_begin(self, args, state, control, **_):
        torch.manual_seed(derive_seed(self.seed, "step", self.first + state.global_step))

    def on_step_end(self, args, state, control, **_):
        if (self.first + state.global_step) % EVERY == 0:
            self.keep(self.first + state.global_step)


def _train(
    adapted: LoadedModel,
    samples: Sequence[Sample],
    weights: np.ndarray,
    tuning: Tuning,
    seed: int,
    sampling: np.ndarray | None,
    path: Path,
) -> None:
    """Train the adapter, from the checkpoint if there is one."""
    trained = nn.ParameterList(weight for weight in adapted.model.parameters() if weight.requires_grad)
    optimizer = torch.optim.AdamW([{"params": list(trained), "initial_lr": tuning.learning_rate}], tuning.learning_rate, weight_decay=0.0)
    first, steps = restore(path, trained, optimizer), tuning.length(len(samples))
    warm = math.ceil(tuning.warmup * steps)
    schedule = get_scheduler(tuning.schedule, optimizer, warm, steps, scheduler_specific_kwargs={"last_epoch": first - 1})
    order = _order(len(samples), steps * tuning.batch, seed, sampling)[first * tuning.batch :]
    if not order:
        return
    prompter = Prompter(adapted.processor, adapted.family, adapted.family.placeholder_ids(adapted.model))
    candidates = samples[0].candidates
    answers = dict(zip(candidates, prompter.first_tokens(candidates, samples[0].question).tolist(), strict=True))

    def collate(rows: list[dict]) -> dict[str, Tensor]:
        chosen = [samples[row["sample"]] for row in rows]
        inputs = dict(encode(adapted, chosen).to(adapted.model.dtype))
        inputs["weight"] = torch.tensor([row["weight"] for row in rows], dtype=torch.float32)
        inputs["answer"] = torch.tensor([answers[one.answer] for one in chosen])
        return inputs

    arguments = TrainingArguments(
        path.parent,  # it wants a folder, and writes nothing
        per_device_train_batch_size=tuning.batch,
        num_train_epochs=1,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        max_grad_norm=1.0,
        use_cpu=adapted.device.type == "cpu",
        seed=seed,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # on more it would take as many times the batch
    trainer = _Weighted(
        adapted.model,
        arguments,
        data_collator=collate,
        train_dataset=[{"sample": index, "weight": weights[index]} for index in order],
        optimizers=(optimizer, schedule),
        callbacks=[_Steps(first, seed, lambda step: checkpoint(path, step, trained, optimizer))],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
