"""Load a model from a folder or from the hub; minis are loaded as real checkpoints are."""

import hashlib
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pidlib._common import resolve_device, unknown_name
from pidlib.models.checkpoints import CHECKPOINTS, MARGIN
from pidlib.models.families import Family, family_named, family_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin

FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")  # of a checkpoint
MINIS = Path(__file__).resolve().parents[2] / "data" / "minis"


@dataclass(frozen=True)
class LoadedModel:
    """A model with its processor, the facts of its family, and the revision that was loaded."""

    name: str  # as given to `load_model`
    model: "PreTrainedModel"
    processor: "ProcessorMixin"
    family: Family
    revision: str  # 40 hex digits: the commit of a hub checkpoint, or `folder_revision`
    device: torch.device
    # Further arguments of "model" and "processor".
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def load_model(
    name: str | Path,
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: torch.dtype | None = None,
    allow_unpinned: bool = False,
    model_options: Mapping[str, Any] | None = None,
    processor_options: Mapping[str, Any] | None = None,
) -> LoadedModel:
    """Load a mini by name, a saved model by its folder, or a checkpoint by its hub id.

    Raises a ValueError as `resolve` does, if the weights of a known checkpoint do not fit into the
    GPU, or if the model's family is not supported.

    Parameters
    ----------
    name
        ``"llava"`` (a folder of data/minis), a path, or ``"owner/checkpoint@commit"``.
    revision, allow_unpinned
        The 40-hex commit; required for a hub checkpoint, so that a rerun reads the same weights,
        unless `allow_unpinned` loads the newest. For a folder, its `folder_revision`, as a check.
    device, dtype
        ``"auto"`` selects CUDA if available, with bfloat16; the CPU has float32.
    model_options, processor_options
        Further arguments of ``from_pretrained`` (``device_map``, ``attn_implementation``,
        ``quantization_config``) and of every call of the processor; the identity of an extraction
        holds them. Not tried: several GPUs, and weights of 4 or 8 bits.
    """
    from pidlib.models._transformers import transformers

    if revision is None and not Path(name).exists():
        name, _, pinned = str(name).partition("@")
        revision = pinned or None
    folder, revision = resolve(name, revision, allow_unpinned=allow_unpinned)
    revision = revision or (folder_revision(folder) if folder else latest_revision(str(name)))
    device = resolve_device(device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    if device.type == "cuda":
        check_memory(name, torch.cuda.get_device_properties(device).total_memory / 2**30)
    source = str(folder or name)
    options = {"revision": "main" if folder else revision, "trust_remote_code": False}
    repository = None if folder else source
    if repository:
        source = str(download(repository, revision, ["config.json"]))
    config = transformers.AutoConfig.from_pretrained(source, **options)
    if (part := family_named(config.model_type).submodel) and hasattr(config, f"{part}_config"):
        config = getattr(config, f"{part}_config")
    with torch.device("meta"):  # what cannot be read is refused before its weights are downloaded
        family = family_of(transformers.AutoModelForImageTextToText.from_config(config))
    if repository:  # before from_pretrained, which asks the hub for each file that is missing
        download(repository, revision)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        source, config=config, dtype=dtype, use_safetensors=True, **options, **(model_options or {})
    )
    processor = load_processor(source, model.config, **options)
    if not {"device_map", "quantization_config"} & (model_options or {}).keys():
        model = model.to(device)
    given = {"model": model_options or {}, "processor": processor_options or {}}
    return LoadedModel(str(name), model.eval(), processor, family, revision, device, given)


def load_processor(source: str | Path, config: "PretrainedConfig", **options) -> "ProcessorMixin":
    """Load a processor, with left padding and the settings that it shares with ``config``."""
    from pidlib.models._transformers import transformers

    processor = transformers.AutoProcessor.from_pretrained(source, **options)
    processor.tokenizer.padding_side = "left"
    for setting in family_named(config.model_type).processor_settings:
        setattr(processor, setting, float(getattr(config, setting)))
    return processor


def resolve(
    name: str | Path, revision: str | None = None, *, allow_unpinned: bool = False
) -> tuple[Path | None, str | None]:
    """Find a model without loading it: its folder, or None and the revision of a hub checkpoint.

    Only a name without a slash is a mini; warns if it is a folder too. Raises a ValueError if the
    name is no mini, folder or hub id; if the revision of a folder is not the hash of its files; if
    a known checkpoint cannot be loaded; if a hub checkpoint has no 40-hex revision, unless
    ``allow_unpinned``.
    """
    is_bare = isinstance(name, str) and "/" not in name
    folders = [MINIS / name] * is_bare + [Path(name)]
    found = [path for path in folders if (path / "config.json").is_file()]
    if len(found) > 1:
        warnings.warn(
            f"{name} is a mini, which is loaded, and a folder; give ./{name}", stacklevel=2
        )
    for folder in found[:1]:
        if revision is not None and revision != (actual := folder_revision(folder)):
            given = f"{actual}, the hash of its files, and not {revision!r}"
            raise ValueError(f"{name} is a folder with revision {given}; give that one, or none")
        return folder, None
    if Path(name).is_dir():
        hint = "give a folder written by save_pretrained"
        raise ValueError(f"{name} is a folder without a config.json; {hint}")
    missing = f"there is no folder {Path(name).absolute()}"
    if is_bare:
        minis = sorted(path.parent.name for path in MINIS.glob("*/config.json"))
        hint = unknown_name("model", name, minis)
        raise ValueError(f"{hint}; or give a folder with a config.json, or a hub id")
    if not re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(name)):
        raise ValueError(f"{missing}; give a folder with a config.json, a hub id, or a mini")
    known = CHECKPOINTS.get(str(name))
    if known and known.reason:
        raise ValueError(f"{name} cannot be loaded: {known.reason}")
    pinned = re.fullmatch(r"[0-9a-f]{40}", revision or "")
    if not pinned and not (allow_unpinned and revision is None):
        example = f", such as {name}@{known.revision}" if known and known.revision else ""
        hint = f"give a 40-hex commit{example}, or allow_unpinned to load the newest"
        given = f"{name} is a hub checkpoint, given with revision {revision!r}; {hint}"
        raise ValueError(f"{given}; {missing}")
    return None, revision


def latest_revision(name: str) -> str:
    """Return the newest commit of a hub checkpoint."""
    return download(name, None, ["config.json"]).name


def download(
    name: str, revision: str | None, files: Sequence[str] = FILES, kind: str = "model"
) -> Path:
    """Return the folder of a repository of the hub; a pinned one in the cache needs no network.

    Raises a FileNotFoundError if the cache lacks it and the hub cannot be reached, and the errors
    of the hub for repositories that are missing or gated.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    where = {"repo_type": kind, "revision": revision, "allow_patterns": list(files)}
    where["ignore_patterns"] = ["consolidated*", "*/*.safetensors"]  # weights in other formats
    try:
        return Path(snapshot_download(name, **where))
    except LocalEntryNotFoundError as error:
        advice = "run `python -m pidlib.experiments extract --fetch` where there is a network"
        lost = f"the {kind} {name} ({revision or 'newest commit'}) is not in the cache"
        raise FileNotFoundError(f"{lost}, and the hub cannot be reached; {advice}") from error


def folder_revision(folder: Path) -> str:
    """Hash names and bytes of a saved model's files, without cards and training checkpoints."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in (".md", ".checkpoint"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:40]


def check_memory(name: str | Path, available: float) -> None:
    """Raise a ValueError if a known checkpoint needs more GiB than ``available``."""
    known = CHECKPOINTS.get(str(name))
    if known and known.memory / MARGIN > available:
        sizes = f"needs about {known.memory:.0f} GiB and the GPU has {available:.0f}"
        raise ValueError(f"{name} {sizes}; use a smaller checkpoint or another GPU")
