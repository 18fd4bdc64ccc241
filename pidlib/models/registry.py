"""One way to load a model, from a folder or from a hub: the minis take the path of the real checkpoints."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, PreTrainedModel, ProcessorMixin

from pidlib.experiment import unknown
from pidlib.extraction.families import FAMILIES, Family, family_of
from pidlib.models.checkpoints import CHECKPOINTS, MARGIN

MINIS = Path(__file__).resolve().parents[2] / "data" / "minis"


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be read: with its processor, the facts of its family and the revision that was loaded.

    Attributes
    ----------
    name : str
        The name it was asked for by.
    revision : str
        40 hex digits: the commit of a hub checkpoint, or the head of the SHA-256 over a folder's files.
    """

    name: str
    model: PreTrainedModel
    processor: ProcessorMixin
    family: Family
    revision: str
    device: torch.device


def load(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    allow_unpinned: bool = False,
) -> LoadedModel:
    """Load a mini by its name, any saved model by its folder, or a checkpoint by its hub id.

    Parameters
    ----------
    name : str or Path
        ``"llava"`` (a folder of data/minis), a path, or ``"owner/checkpoint"``.
    revision : str, optional
        Needed for a hub checkpoint: the 40-hex commit, so that a rerun reads the same weights.
    device : str
        ``"auto"`` takes CUDA where there is one.
    dtype : torch.dtype, optional
        bfloat16 on CUDA and float32 on the CPU unless given.
    allow_unpinned : bool
        Read a hub checkpoint as it is today if no commit is given; the one it was read at is `LoadedModel.revision`.

    Raises
    ------
    ValueError
        If a hub checkpoint comes without a 40-hex revision or cannot be loaded, if the weights of a known one do not fit into the GPU, or
        the name is neither a mini, a folder nor a hub id.
    """
    folder, revision = locate(name, revision, allow_unpinned=allow_unpinned)
    if folder is None and revision is None:
        revision = newest(str(name))
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    if device.type == "cuda":
        check_memory(name, torch.cuda.get_device_properties(device).total_memory / 2**30)
    source = {"pretrained_model_name_or_path": str(folder or name), "revision": revision or "main", "trust_remote_code": False}
    config = AutoConfig.from_pretrained(**source)
    whole = FAMILIES.get(config.model_type)
    if whole and whole.part:  # of a model that thinks and talks, the one that thinks
        config = getattr(config, f"{whole.part}_config")
    model = AutoModelForImageTextToText.from_pretrained(**source, config=config, dtype=dtype, use_safetensors=True)
    processor = AutoProcessor.from_pretrained(**source)
    processor.tokenizer.padding_side = "left"
    family = family_of(model)
    for told in family.clock:
        setattr(processor, told, float(getattr(model.config, told)))
    return LoadedModel(
        name=str(name),
        model=model.to(device).eval(),
        processor=processor,
        family=family,
        revision=revision or folder_revision(folder),
        device=device,
    )


def folder_revision(folder: Path) -> str:
    """The first 40 hex digits of the SHA-256 over a saved model: weights, configuration, tokenizer, processor, chat template."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.suffix not in (".md", ".checkpoint")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:40]


def check_memory(name: str | Path, available: float) -> None:
    """Raise if the weights of a known checkpoint take more than the GiB of a GPU, before they are downloaded."""
    known = CHECKPOINTS.get(str(name))
    if known and known.memory / MARGIN > available:
        raise ValueError(f"{name} needs about {known.memory:.0f} GiB and the GPU has {available:.0f}; take a smaller one, or another GPU")


def newest(name: str) -> str:
    """The commit of a hub checkpoint that is the newest today."""
    return Path(hf_hub_download(name, "config.json")).parent.name


def locate(name: str | Path, revision: str | None = None, *, allow_unpinned: bool = False) -> tuple[Path | None, str | None]:
    """The folder of a mini or of a saved model, or None and the revision of a hub checkpoint; raises as `load` does, and loads nothing."""
    folder = next((path for path in (MINIS / str(name), Path(name)) if (path / "config.json").is_file()), None)
    if folder is not None:
        return folder, revision
    if Path(name).is_dir():
        raise ValueError(f"{name} is a folder without a config.json; give one that save_pretrained has written")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        minis = sorted(path.parent.name for path in MINIS.glob("*/config.json"))
        raise ValueError(unknown("model", str(name), minis) + "; or give a folder with a config.json, or a hub id")
    known = CHECKPOINTS.get(str(name))
    if known and known.reason:
        raise ValueError(f"{name} cannot be loaded: {known.reason}")
    if not re.fullmatch(r"[0-9a-f]{40}", revision or "") and not (allow_unpinned and revision is None):
        such = f", such as {name}@{known.revision}" if known and known.revision else ""
        raise ValueError(
            f"{name} is a hub checkpoint, asked for at revision {revision!r}; give the 40-hex commit to read it at{such}, or"
            " allow_unpinned to take it as it is today"
        )
    return None, revision
