"""Folders of adapters: claimed for one training, saved by peft, loaded beside the weights of a model, which stay as they are."""

import copy
import gc
import hashlib
import json
import os
import random
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from peft import PeftConfig, PeftModel
from torch import nn

from pidlib.models.registry import LoadedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # as peft names them


def with_adapter(loaded: LoadedModel, folder: str | Path) -> LoadedModel:
    """A model with an adapter that was saved in a folder; its revision tells which.

    The adapter stays beside the weights it adapts: added to those in 16 bits, it would be lost in rounding. Both models share them.

    Raises
    ------
    ValueError
        If there is no adapter, or it was trained for another model.
    """
    folder = Path(folder)
    if not all((folder / name).is_file() for name in (CONFIG, WEIGHTS)):
        raise ValueError(f"no adapter in {folder}: it has no {CONFIG} or no {WEIGHTS}; give a folder that tune has finished")
    config = PeftConfig.from_pretrained(str(folder))
    if config.revision != loaded.revision:
        raise ValueError(f"the adapter in {folder} is for revision {config.revision}; {loaded.name} is {loaded.revision}: load the other")
    with no_trace(loaded.device):
        adapted = PeftModel.from_pretrained(twin(loaded.model), str(folder), torch_device=str(loaded.device))
    digest = hashlib.sha256(f"{loaded.revision} {config.r} {config.lora_alpha} ".encode() + (folder / WEIGHTS).read_bytes())
    return replace(loaded, model=adapted.get_base_model().eval(), revision=digest.hexdigest()[:40])


def claim(folder: Path, mark: str) -> None:
    """Say in the folder what it is for; raise if that is something else."""
    path, part = folder / "training.json", folder / "training.part"
    if path.exists() and json.loads(path.read_text()) != {"fingerprint": mark}:
        raise ValueError(f"{folder} holds a training of other model, samples, weights, tuning or seed; give another folder, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    part.write_text(json.dumps({"fingerprint": mark}) + "\n")
    os.replace(part, path)


def save(adapted: PeftModel, name: str, folder: Path) -> None:
    """Save the adapter, the configuration last: a folder that has it has all."""
    adapted.peft_config["default"].base_model_name_or_path = name
    part = folder / "part"
    adapted.save_pretrained(part, save_embedding_layers=False)
    for file in (WEIGHTS, CONFIG):
        os.replace(part / file, folder / file)
    shutil.rmtree(part)
    (folder / "training.checkpoint").unlink(missing_ok=True)


@contextmanager
def no_trace(device: torch.device) -> Iterator[None]:
    """The Trainer seeds all there is, and peft draws first weights even to load others; afterwards randomness is as before."""
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    gc.freeze()  # the Trainer collects garbage: half a second among all the objects of the libraries, a third of a mini's training
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated")  # peft asks by the old name
            yield
    finally:
        gc.unfreeze()
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def twin(model: nn.Module) -> nn.Module:
    """A model of its own that shares the weights, frozen."""
    return copy.deepcopy(model, {id(weight): nn.Parameter(weight.data, requires_grad=False) for weight in model.parameters()})
