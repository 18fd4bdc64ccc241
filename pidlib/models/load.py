"""Load a model from a folder or from the hub; minis are loaded as real checkpoints are."""

import hashlib
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open

from pidlib._common import resolve_device, unknown_name
from pidlib.models.checkpoints import CHECKPOINTS, MARGIN
from pidlib.models.families import Family, family_named, family_of

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, ProcessorMixin

FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")  # of a checkpoint
MINIS = Path(__file__).resolve().parents[2] / "data" / "minis"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")  # names given by peft


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

    Raises a ValueError as `resolve` does, and if weights are damaged or do not fit into the GPU, an
    adapter does not fit its base, or the model's family is not supported.

    Parameters
    ----------
    name
        ``"llava"`` (a folder of data/minis), a path, or ``"owner/checkpoint@commit"``; followed by
        ``"+FOLDER"`` of an adapter of peft, or such a folder alone, which names its base.
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

    label, (name, revision, adapter) = str(name), split_adapter(name, revision)
    folder, revision = resolve(name, revision, allow_unpinned=allow_unpinned)
    revision = revision or (folder_revision(folder) if folder else latest_revision(str(name)))
    identity = adapted_revision(adapter, revision) if adapter else revision
    device = resolve_device(device)
    dtype = dtype or (torch.bfloat16 if device.type == "cuda" else torch.float32)
    if device.type == "cuda":
        check_memory(name, torch.cuda.get_device_properties(device).total_memory / 2**30)
    source = str(folder or download(str(name), revision, ["config.json"]))
    options = {"revision": "main" if folder else revision, "trust_remote_code": False}
    config = transformers.AutoConfig.from_pretrained(source, **options)
    if (part := family_named(config.model_type).submodel) and hasattr(config, f"{part}_config"):
        config = getattr(config, f"{part}_config")
    with torch.device("meta"):  # what cannot be read is refused before its weights are downloaded
        family = family_of(transformers.AutoModelForImageTextToText.from_config(config))
    if not folder:
        download(str(name), revision, FILES[1:])
    check_processor(source)
    if not folder:  # before from_pretrained, which asks the hub for each file that is missing
        download(str(name), revision)
    model = transformers.AutoModelForImageTextToText.from_pretrained(
        source, config=config, dtype=dtype, use_safetensors=True, **options, **(model_options or {})
    )
    processor = load_processor(source, model.config, **options)
    if not {"device_map", "quantization_config"} & (model_options or {}).keys():
        model = model.to(device)
    if adapter:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):  # peft draws weights
            try:
                info = model.load_adapter(adapter)
            except (KeyError, TypeError, RuntimeError) as error:
                fault = f"the adapter in {adapter} does not fit {name}"
                raise ValueError(f"{fault}: {type(error).__name__} {error}") from error
        if keys := sorted({*info.missing_keys, *info.unexpected_keys}):
            raise ValueError(f"the adapter in {adapter} does not fit {name}: {keys[0]} ...")
    given = {"model": model_options or {}, "processor": processor_options or {}}
    return LoadedModel(label, model.eval(), processor, family, identity, device, given)


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

    Only a name without a slash is a mini; warns if it is a folder too. Raises a ValueError for
    other names, checkpoints that cannot be loaded, a revision that is not the hash of a folder's
    files, and a hub checkpoint without a 40-hex revision, unless ``allow_unpinned``.
    """
    is_bare = isinstance(name, str) and "/" not in name
    folders = [MINIS / name] * is_bare + [Path(name)]
    found = [path for path in folders if (path / "config.json").is_file()]
    if len(found) > 1:
        text = f"{name} is a mini, which is loaded, and a folder; give ./{name}"
        warnings.warn(text, stacklevel=2)
    for folder in found[:1]:
        if revision is not None and revision != (actual := folder_revision(folder)):
            given = f"{actual}, the hash of its files, and not {revision!r}"
            raise ValueError(f"{name} is a folder with revision {given}; give that one, or none")
        return folder, None
    missing = fault = f"there is no folder {Path(name).absolute()}"
    if Path(name).is_dir():
        fault = f"{name} is a folder without a config.json (for an adapter, see load_model)"
    elif is_bare:
        minis = [path.parent.name for path in MINIS.glob("*/config.json")]
        fault = unknown_name("model", name, minis)
    if Path(name).is_dir() or not re.fullmatch(r"\w[\w.-]*/[\w.-]+", str(name)):
        raise ValueError(f"{fault}; give a folder of save_pretrained, a hub id, or a mini")
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
    """Hash names and bytes of a saved model's files, without cards and training checkpoints.

    Raises a ValueError that names a file of weights that is cut off, or a pointer of Git LFS.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix not in (".md", ".checkpoint"):
            digest.update(path.name.encode())
            with path.open("rb") as file:
                is_pointer = file.read(23) == b"version https://git-lfs"
                file.seek(0)
                hashlib.file_digest(file, lambda: digest)
            if is_pointer:
                raise ValueError(f"{path} is a pointer of Git LFS; run git lfs pull in its folder")
            try:
                safe_open(path, "pt") if path.suffix == ".safetensors" else None
            except SafetensorError as error:
                raise ValueError(f"{path} is damaged ({error}); copy it again") from error
    return digest.hexdigest()[:40]


def check_memory(name: str | Path, available: float) -> None:
    """Raise a ValueError if a known checkpoint needs more GiB than ``available``."""
    known = CHECKPOINTS.get(str(name))
    if known and known.memory / MARGIN > available:
        sizes = f"needs about {known.memory:.0f} GiB and the GPU has {available:.0f}"
        raise ValueError(f"{name} {sizes}; use a smaller checkpoint or another GPU")


def check_processor(folder: str | Path) -> None:
    """Raise a ValueError that names the files of a processor that a folder lacks."""
    kinds = {"tokenizer.json": r"tokenizer\.json|vocab\.|\.model\b|tekken|tiktoken"}
    kinds |= {"processor_config.json": r"processor_config\.json"}
    names = " ".join(path.name for path in Path(folder).iterdir())
    if lacking := " and ".join(file for file in kinds if not re.search(kinds[file], names)):
        advice = f"call processor.save_pretrained({str(folder)!r}), or copy it from the base model"
        raise ValueError(f"{folder} has no processor: it lacks {lacking}; {advice}")


def split_adapter(name: str | Path, revision: str | None) -> tuple[str | Path, str | None, str]:
    """Split BASE@COMMIT+FOLDER; an adapter's folder alone names its base in its configuration."""
    base, _, adapter = (name, "", "") if Path(name).exists() else str(name).partition("+")
    is_saved = any((root / base / "config.json").is_file() for root in (MINIS, Path()))
    if not adapter and not is_saved and Path(base, ADAPTER[0]).is_file():
        facts, adapter = adapter_facts(base), str(base)
        if not isinstance(base := facts.get("base_model_name_or_path"), str):
            raise ValueError(
                f"{Path(adapter, ADAPTER[0])} names no base model; give BASE+{adapter}"
            )
        revision = revision or facts.get("revision")
    if not Path(base).exists():
        base, _, pinned = str(base).partition("@")
        revision = revision or pinned or None
    return base, revision, adapter


def adapter_facts(folder: str | Path) -> Mapping[str, Any]:
    """Read the configuration of an adapter; raise a ValueError if there is none."""
    if not all(Path(folder, file).is_file() for file in ADAPTER):
        raise ValueError(f"no adapter of peft in {folder}: it lacks {' or '.join(ADAPTER)}")
    facts = json.loads(Path(folder, ADAPTER[0]).read_text(encoding="utf-8"))
    if not isinstance(facts, dict):
        raise ValueError(f"{Path(folder, ADAPTER[0])} is no configuration of an adapter")
    return facts


def adapted_revision(adapter: str, revision: str) -> str:
    """Identify a base of this revision with an adapter; raise a ValueError if it has another."""
    if (needed := adapter_facts(adapter).get("revision")) not in (None, revision):
        given = f"{needed} of its base, and not for {revision}"
        raise ValueError(f"the adapter in {adapter} is for revision {given}")
    both = f"{revision} {folder_revision(Path(adapter))}"
    return hashlib.sha256(both.encode()).hexdigest()[:40]
