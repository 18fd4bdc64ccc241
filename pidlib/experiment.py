"""Presets, fingerprints, derived seeds, and the guard of notebook parameters.

A preset is a YAML file that holds every number an experiment can turn. A notebook names one and may override single fields; whatever
it is given, an unknown name or a wrong value stops it before any work, because papermill itself accepts anything.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt, ValidationError

PRESETS = Path(__file__).with_name("presets")
_PLAIN = (type(None), bool, int, float, str, list, tuple, dict)  # all that papermill can inject
_LAID_OVER = {"tuning", "weighting"}  # fields that hold numbers by name
_IPYTHON = {"In", "Out"}  # plain values that every kernel holds


def project_root() -> Path:
    """The folder that relative paths of a preset start from: the source tree, or the working directory if pidlib is installed apart."""
    source = Path(__file__).resolve().parents[1]
    return source if (source / "pyproject.toml").exists() else Path.cwd()


def derive_seed(*names: object) -> int:
    """A 32-bit seed that depends only on the names given.

    Independent streams get independent names instead of consecutive integers: ``derive_seed(7, "micro", "train")``.

    >>> derive_seed(0, "a") == derive_seed(0, "a"), derive_seed(0, "a") == derive_seed(0, "b")
    (True, False)
    """
    text = "\x1f".join(map(str, names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def fingerprint(**parts: Any) -> str:
    """Sixteen hex digits that name a computation: the hash of all that is meant to change its numbers, and of nothing else.

    Device, batch size and versions are provenance and stay out. The parts may be anything JSON can say; their order does not matter.

    >>> fingerprint(model="llava", n=256) == fingerprint(n=256, model="llava") != fingerprint(model="llava", n=257)
    True
    """
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, Path):
        return value.as_posix()
    raise TypeError(f"a fingerprint takes what JSON can say; got {type(value).__name__}: {value!r}; pass a string or numbers that name it")


def _split(value: Any) -> Any:
    """A comma-separated string stands for a list, so that a list can be typed on a command line."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _distinct(values: tuple) -> tuple:
    """Named twice, a thing would be measured once and counted twice."""
    repeated = [value for index, value in enumerate(values) if value in values[:index]]
    if repeated:
        raise ValueError(f"{repeated[0]!r} stands there twice; name each once")
    return values


def _mode(name: str) -> str:
    if name not in MODES:
        raise ValueError(unknown("mode", name, MODES))
    return name


def _benchmark(name: str) -> str:
    """A name of a known source must be one of its benchmarks; what other sources hold is theirs to say."""
    from pidlib.benchmarks import BENCHMARKS, OMNI, PINNED, PRIOR  # late: benchmarks take their seeds from this module

    known, asked = (*BENCHMARKS, *PRIOR, *OMNI, *PINNED), name.partition("@")[0]
    if name.split("/")[0] in {one.split("/")[0] for one in known} and (asked if asked in PINNED else name) not in known:
        raise ValueError(unknown("benchmark", name, known))
    return name


def _listed(item: Any) -> Any:
    """The type of a list that may be typed with commas, is not empty and names nothing twice."""
    return Annotated[tuple[item, ...], BeforeValidator(_split), Field(min_length=1), AfterValidator(_distinct)]


MODES = ("masked", "resampled")
Names = _listed(str)
Sizes = _listed(PositiveInt)
Modes = _listed(Annotated[str, AfterValidator(_mode)])
Benchmark = Annotated[str, AfterValidator(_benchmark)]
Benchmarks = _listed(Benchmark)
Tables = _listed(Annotated[str, Field(pattern=r"^[1-9]\d*(x[1-9]\d*){2}$")])


class Preset(BaseModel):
    """All that an experiment can turn; the YAML files of :mod:`pidlib.presets` state every field, so none has a hidden default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="the name of the preset, or of the file it came from")
    seed: int = Field(description="every random stream of the run is derived from it")
    models: Names = Field(description="those shown one by one: minis by name, folders, or hub checkpoints as owner/name@revision")
    population: Names = Field(description="those that correlations run over, named like models")
    options_models: Names = Field(description="those that were taught questions which list their candidates, named like models")
    benchmarks: Benchmarks = Field(description="names of the benchmarks, as pidlib.benchmarks.load knows them")
    split: Literal["train", "validation", "test"] = Field(description="the part of each benchmark that is profiled")
    n_samples: PositiveInt = Field(description="questions per benchmark whose decisions are profiled")
    n_population: PositiveInt = Field(description="questions per benchmark put to each model of the population")
    n_intervened: PositiveInt = Field(description="questions per benchmark and model that each intervention changes")
    n_explained: PositiveInt = Field(description="questions per benchmark and model whose tokens get Shapley values")
    n_embedded: PositiveInt = Field(description="questions per benchmark whose embeddings are clustered")
    partners: PositiveInt = Field(description="questions each picture is paired with in the resampled mode")
    unimodal: Modes = Field(description="how one modality alone is asked: masked, resampled")
    tau: float = Field(ge=0, le=1, description="candidate mass below which a decision counts as uniform")
    n_bootstrap: PositiveInt = Field(description="resamples behind each interval")
    n_resamples: PositiveInt = Field(description="permutations of the models, and bootstrap draws of them, behind each rank correlation")
    n_permutations: PositiveInt = Field(description="shuffles behind each null")
    n_clusters: PositiveInt = Field(description="codes per modality of pooled embeddings")
    n_batches: PositiveInt = Field(description="random batches of the BATCH estimator")
    bias_samples: Sizes = Field(description="sample sizes of the bias study")
    bias_codes: Sizes = Field(description="alphabet sizes of both sources in the bias study")
    n_repeats: PositiveInt = Field(description="independent draws per point of the bias study")
    n_contributions: PositiveInt = Field(description="questions per benchmark behind a model's contributions; half as many make codes")
    contribution_codes: PositiveInt = Field(description="codes behind the contributions; their cube well below n_contributions")
    n_sequences: PositiveInt = Field(description="samples whose token sequences the released protocol takes")
    audit_observations: Sizes = Field(description="positions of a sequence, and samples of a data set, in the audit of the protocols")
    audit_codes: Sizes = Field(description="alphabet sizes in the audit of the protocols")
    fusion_tower: str = Field(description="the mini whose vision tower, frozen, the models of the fusion study look through")
    fusion_benchmarks: Names = Field(description="what fusion models learn, the first as much as the rest: benchmarks, or all of a source")
    n_fusion_questions: PositiveInt = Field(description="questions fusion models learn from: of the first of these; of the others together")
    n_fusion_seeds: PositiveInt = Field(description="trainings of each fusion mechanism")
    fusion_steps: PositiveInt = Field(description="batches in the training of a fusion model")
    omni_models: Names = Field(description="those that see and hear, shown one by one, named like models")
    bottleneck_models: Names = Field(description="minis that differ in the share of sound in their training, and in its seed")
    omni_benchmarks: Benchmarks = Field(description="benchmarks of clips with sound")
    given: Literal["question", "template"] = Field(description="what Sensory PID conditions on: the exact text, or its form")
    n_omni: PositiveInt = Field(description="questions per benchmark of clips whose decisions are profiled")
    n_omni_intervened: PositiveInt = Field(description="of these, how many are asked anew with a stream swapped, softer sound, other words")
    tuned_models: dict[Benchmark, Names] = Field(description="by the benchmark they are tuned on, models that lean on language")
    retained_benchmarks: Benchmarks = Field(description="what tuning may cost: asked of every tuned model beside what it was tuned on")
    n_tuned: PositiveInt = Field(description="questions a model is tuned on, drawn anew with each seed; up to about 500 are scored exactly")
    n_profiled: PositiveInt = Field(description="further questions of the same law behind the atoms of a tuned model")
    n_evaluated: PositiveInt = Field(description="questions, balanced where the benchmark has such, behind the accuracy of a tuned model")
    n_retained: PositiveInt = Field(description="questions of each of retained_benchmarks")
    n_tuning_seeds: PositiveInt = Field(description="trainings of each way to weight questions")
    n_remade_seeds: PositiveInt = Field(description="of these, how many a notebook makes; the others it reads from the committed table")
    tuning: dict[str, Any] = Field(description="numbers of pidlib.models.lora.Tuning that are not its own")
    weighting: dict[str, Any] = Field(description="numbers of pidlib.reweighting.Weighting that are not its own")
    prior_strengths: Sizes = Field(description="how often, in percent, the caption is right in what models are tuned on")
    tuning_lengths: Sizes = Field(description="steps of the trainings that differ in length")
    bench_sizes: Tables = Field(description="tables of the solver bench, as x1 x x2 x y: 2x2x2")
    bench_batch: PositiveInt = Field(description="tables per batch in the solver bench")
    allow_unpinned: bool = Field(description="read checkpoints and data sets of the hub that are named without a commit, as they are today")
    device: Literal["auto", "cpu", "cuda"] = Field(description="auto, cpu or cuda; never changes a fingerprint")
    batch_size: PositiveInt = Field(description="samples per forward pass; never changes a fingerprint")
    cache: Path = Field(description="where extractions are kept")
    output: Path = Field(description="where data/results and figures are written")

    @property
    def bases(self) -> tuple[str, ...]:
        """All models that are tuned."""
        return tuple(dict.fromkeys(chain(*self.tuned_models.values())))

    @property
    def base_benchmarks(self) -> tuple[str, ...]:
        """What they are asked before: all that they are evaluated on, and tuned on."""
        return tuple(dict.fromkeys((*self.retained_benchmarks, *self.tuned_models)))

    def table(self, name: str) -> Path:
        """Where the table of a notebook goes: ``validation/fig_bias`` -> ``OUTPUT/data/results/validation/fig_bias.csv``."""
        return project_root() / self.output / "data" / "results" / f"{name}.csv"

    def figure(self, name: str) -> Path:
        """Where the figure of a notebook goes, without suffix: ``OUTPUT/figures/validation/fig_bias``."""
        return project_root() / self.output / "figures" / name

    def _repr_html_(self) -> str:
        rows = (f"<tr><td><code>{key}</code></td><td>{value}</td></tr>" for key, value in self.model_dump(mode="json").items())
        return f"<table><tr><th>parameter</th><th>value</th></tr>{''.join(rows)}</table>"


def load_preset(preset: str = "offline", **overrides: Any) -> Preset:
    """A preset by name (``smoke``, ``offline``, ``paper``) or by the path of a YAML file, with single fields replaced.

    An override of None means "as the preset says"; one of `tuning` or `weighting` changes the numbers it names.

    Raises
    ------
    ValueError
        For a preset, a field, a mode or a benchmark that does not exist, with the nearest name that does, and for values of the wrong kind.

    >>> load_preset("smoke", n_samples=8).n_samples
    8
    """
    path = Path(preset) if Path(preset).suffix in {".yaml", ".yml"} else PRESETS / f"{preset}.yaml"
    if not path.exists():
        raise ValueError(unknown("preset", preset, (file.stem for file in PRESETS.glob("*.yaml"))) + "; or give the path of a .yaml file")
    stated = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    fields = stated | {key: value for key, value in overrides.items() if value is not None}
    for key in _LAID_OVER & fields.keys() & stated.keys():
        fields[key] = stated[key] | fields[key]
    for key in fields:
        if key not in Preset.model_fields or key == "name":
            raise ValueError(unknown("preset key" if key in stated else "parameter", key, Preset.model_fields.keys() - {"name"}))
    try:
        return Preset(name=path.stem, **fields)
    except ValidationError as error:
        raise ValueError(f"preset {preset!r}: {'; '.join(map(_fault, error.errors()))}") from None


def _fault(fault: Mapping[str, Any]) -> str:
    """Where, what, and what was given, unless the message of a check of this module tells it."""
    where = ".".join(map(str, fault["loc"]))
    return f"{where}: {fault['ctx']['error']}" if fault["type"] == "value_error" else f"{where}: {fault['msg']}, got {fault['input']!r}"


def guard(namespace: dict[str, Any]) -> Preset:
    """Stop a notebook before any work unless all of its parameters are known; return its preset.

    The ``parameters`` cell declares each parameter with a type, ``n_samples: int = None``, which Python records in
    ``__annotations__``. Papermill injects plain assignments into the cell after it, without types. So a plain value that was never
    declared is a parameter nobody reads: a typing error. A None leaves the preset's value. In a live session the search is made once, so
    that scratch variables do not stand in the way when the cell is run again.

    Parameters
    ----------
    namespace
        ``globals()`` of the notebook.

    Raises
    ------
    ValueError
        Naming the unknown parameter and the nearest known one.

    >>> guard({"__annotations__": {"preset": str, "n_clusters": int}, "preset": "smoke", "n_clusters": 4}).n_clusters
    4
    """
    declared: Mapping[str, Any] = namespace.get("__annotations__", {})
    if not namespace.get("_guarded"):
        for name, value in namespace.items():
            if isinstance(value, _PLAIN) and not name.startswith("_") and name not in _IPYTHON and name not in declared:
                raise ValueError(unknown("parameter", name, declared))
    settings = load_preset(**{name: namespace[name] for name in declared if name in namespace})
    namespace["_guarded"] = True
    return settings


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for a name that does not exist: ``unknown parameter 'n_cluster'; did you mean 'n_clusters'? known: ...``."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ";"
    return f"unknown {kind} {name!r}{hint} known: {', '.join(known) or 'none'}"
