"""Presets and the parameters of notebooks; a wrong name or value stops before any work.

A preset is a YAML file of all parameters, or of those unlike another; notebooks override fields.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
import yaml
from pydantic import AfterValidator, Field, PositiveInt

from pidlib import benchmarks
from pidlib._common import project_root, unknown_name

PRESETS = Path(__file__).with_name("presets")
MODES = ("masked", "resampled", "observational")
_PLAIN = (type(None), bool, int, float, str, list, tuple, dict)  # everything papermill can inject
_MERGED = {"tuning", "weighting"}  # fields whose overrides replace single entries
_MAPPINGS = {*_MERGED, "tuned_models"}
_RUN = ("device", "batch_size", "cache", "allow_unpinned")  # parameters of every notebook


def _split(value: Any) -> Any:
    """Split a comma-separated string, so that a list can be typed on a command line."""
    is_text = isinstance(value, str)
    return tuple(filter(None, map(str.strip, value.split(",")))) if is_text else value


def parse_model(model: str) -> tuple[str, str, str | None]:
    """Split ``[NAME=]PLACE[@COMMIT]`` into its name in results, its place, and its commit.

    A place with an adapter, ``BASE@COMMIT+FOLDER``, is one for `load_model`.

    >>> parse_model("tuned=runs/checkpoint-500"), parse_model("owner/name@0123")
    (('tuned', 'runs/checkpoint-500', None), ('owner/name', 'owner/name', '0123'))
    """
    name, place, commit = re.fullmatch(r"(?:([\w.-]+)=)?(.+?)(?:@([^@/+]*))?", model).groups()
    return name or place, "+".join(map(in_project, place.split("+"))), commit


def in_project(place: str) -> str:
    """A path from the root of the project, unless it exists where the process runs: JupyterLab."""
    path = project_root() / place
    return str(path) if "/" in place and path.exists() and not Path(place).exists() else place


def _distinct(values: tuple, label: Callable[[Any], Any]) -> tuple:
    """Refuse duplicates: they would be measured once and counted twice."""
    labels = [label(value) for value in values]
    for index, (name, value) in enumerate(zip(labels, values, strict=True)):
        if value in values[:index]:
            raise ValueError(f"duplicate entry {value!r}; list each value once")
        if name in labels[:index]:
            same = f"{values[labels.index(name)]!r} and {value!r} have one name, {name!r}"
            raise ValueError(f"{same}; give models as NAME=PLACE, and rename a file")
    return values


def _with_uniform(conditions: tuple) -> tuple:
    """Refuse conditions without the one that the others are compared with."""
    if "B" not in conditions:
        raise ValueError(f"{', '.join(conditions)}: add B, which the others are compared with")
    return conditions


def _list_of(item: Any, label: Callable[[Any], Any] = lambda value: value) -> Any:
    """A list that is not empty, has distinct labels, and may be a comma-separated string."""
    split, distinct = pydantic.BeforeValidator(_split), partial(_distinct, label=label)
    return Annotated[tuple[item, ...], split, Field(min_length=1), AfterValidator(distinct)]


Names = _list_of(str)
Model = Annotated[str, Field(min_length=1)]
Models = _list_of(Model, lambda model: PurePath(parse_model(model)[0]).name)
Sizes = _list_of(PositiveInt)
Modes = _list_of(Literal[MODES])
Conditions = _list_of(Literal[tuple("ABCDEFGH")])  # of pidlib.reweighting
Conditions = Annotated[Conditions, AfterValidator(_with_uniform)]
Benchmark = Annotated[str, AfterValidator(lambda name: benchmarks.canonical(name) and name)]
Benchmarks = _list_of(Benchmark, benchmarks.canonical)
Tables = _list_of(Annotated[str, Field(pattern=r"^[1-9]\d*(x[1-9]\d*){2}$")])


class Preset(pydantic.BaseModel):
    """All parameters of the experiments. The YAML files state every field: no hidden defaults."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
    _declared: tuple[str, ...] = pydantic.PrivateAttr(())  # parameters of its notebook

    name: str  # name of the preset, or of its file
    seed: int  # all random streams of the run are derived from it
    models: Models  # shown individually: minis, [NAME=]FOLDER, [NAME=]owner/name@commit; +ADAPTER
    layer_models: Models  # models that are read after every block
    population: Models  # models that correlations are computed over
    options_models: Models  # models trained on questions that list their candidates
    benchmarks: Benchmarks  # names of benchmarks, see pidlib.benchmarks
    split: Literal["train", "validation", "test"]  # the split of each benchmark that is profiled
    n_samples: PositiveInt  # questions per benchmark whose decisions are profiled
    n_population: PositiveInt  # questions per benchmark for each model of the population
    n_recovered: PositiveInt  # draws from the finite law of each generated benchmark
    n_intervened: PositiveInt  # questions per benchmark and model under each intervention
    n_embedded: PositiveInt  # questions per benchmark whose embeddings are clustered
    partners: PositiveInt  # questions each picture is paired with in the resampled mode
    draws: PositiveInt  # draws of the noise that are averaged in masked passes
    unimodal: Modes  # how unimodal decisions are obtained: masked, resampled, observational
    tau: float = Field(ge=0, le=1)  # candidate mass below which a decision counts as uniform
    n_halves: Annotated[int, Field(ge=2)]  # halves of the samples that correct decisions' atoms
    n_bootstrap: PositiveInt  # resamples per interval
    n_resamples: PositiveInt  # permutations and bootstrap draws of models and of seeds
    n_permutations: PositiveInt  # permutations per null
    n_clusters: PositiveInt  # codes per modality of pooled embeddings
    n_batches: PositiveInt  # random batches of the BATCH estimator
    bias_samples: Sizes  # sample sizes of the bias study
    bias_codes: Sizes  # alphabet sizes of both sources in the bias study
    sample_sizes: Sizes  # of the study of decisions; the largest sample is cut into the others
    n_repeats: PositiveInt  # independent draws per point of the bias study
    coverage_samples: Sizes  # sample sizes of the coverage study
    n_coverage: PositiveInt  # repetitions per cell of the coverage study
    n_remade_cells: PositiveInt  # cells of it that a notebook reruns; the others are committed
    n_contributions: PositiveInt  # questions per benchmark; half as many fit the codebooks
    contribution_codes: PositiveInt  # codes; their cube should be well below n_contributions
    n_sequences: PositiveInt  # samples whose token sequences the released protocol uses
    audit_observations: Sizes  # positions of a sequence, and samples of a data set
    audit_codes: Sizes  # alphabet sizes in the protocol audit
    fusion_tower: str  # mini whose frozen vision tower the fusion models use
    fusion_benchmarks: Names  # training data of the fusion models, half of it from the first
    n_fusion_questions: PositiveInt  # training questions: of the first, and of all others
    n_fusion_seeds: PositiveInt  # trainings of each fusion mechanism
    fusion_steps: PositiveInt  # batches in the training of a fusion model
    omni_models: Models  # models with vision and audio input, shown individually
    omni_layer_models: Models  # of these or others, those that are read after every block
    omni_benchmarks: Benchmarks  # benchmarks of clips with sound
    given: Literal["question", "template"]  # condition of Sensory PID: exact text, or its form
    n_omni: PositiveInt  # questions per benchmark of clips whose decisions are profiled
    n_omni_intervened: PositiveInt  # of these, repeated under a change of stream or wording
    tuned_models: dict[Benchmark, Models]  # by training benchmark, models with a language prior
    retained_benchmarks: Benchmarks  # evaluated for every tuned model besides its own
    n_tuned: PositiveInt  # training questions of a tuned model; up to about 500 are scored exactly
    n_profiled: PositiveInt  # further questions for the atoms of a tuned model
    n_evaluated: PositiveInt  # questions for the accuracy of a tuned model, balanced where possible
    n_retained: PositiveInt  # questions of each of retained_benchmarks
    conditions: Conditions  # weightings that are compared in table 3: A to H
    n_tuning_seeds: PositiveInt  # trainings per weighting condition
    n_remade_seeds: PositiveInt  # of these, rerun by a notebook; the others are committed
    tuning: dict[str, Any]  # fields of training.lora.Tuning other than its defaults
    weighting: dict[str, Any]  # fields of reweighting.Weighting other than its defaults
    prior_strengths: Sizes  # percentages of correct captions in the training data
    tuning_lengths: Sizes  # steps of the trainings of different length
    bench_sizes: Tables  # table sizes of the solver benchmark, x1 x x2 x y: 2x2x2
    bench_batch: PositiveInt  # tables per batch in the solver benchmark
    allow_unpinned: bool  # accept hub checkpoints and data sets without a commit
    device: Literal["auto", "cpu", "cuda"]  # never changes a fingerprint
    batch_size: PositiveInt  # samples per forward pass; never changes a fingerprint
    cache: Path  # folder of extractions
    output: Path  # folder for data/results and figures
    experiment: Literal["real"] | None  # folder in these of all; null: of each notebook
    dtype: Literal["auto", "float32", "bfloat16", "float16"]  # of weights; auto: as they are saved

    @property
    def bases(self) -> tuple[str, ...]:
        """All models that are tuned."""
        return tuple(dict.fromkeys(chain(*self.tuned_models.values())))

    @property
    def base_benchmarks(self) -> tuple[str, ...]:
        """All benchmarks on which the bases are evaluated or tuned."""
        return tuple(dict.fromkeys((*self.retained_benchmarks, *self.tuned_models)))

    def table(self, name: str) -> Path:
        """Path of a table: ``OUTPUT/data/results/validation/fig_bias.csv``."""
        return project_root() / self.output / "data" / "results" / f"{self._placed(name)}.csv"

    def figure(self, name: str) -> Path:
        """Path of a figure without suffix: ``OUTPUT/figures/validation/fig_bias``."""
        return project_root() / self.output / "figures" / self._placed(name)

    def _placed(self, name: str) -> str:
        return f"{self.experiment}/{PurePath(name).name}" if self.experiment else name

    def _repr_html_(self) -> str:
        values = self.model_dump(mode="json")
        shown = {key: values.pop(key) for key in self._declared if key in values}
        summary = f"<summary>{len(values)} other parameters</summary>"
        return f"{_html(shown)}<details>{summary}{_html(values)}</details>"


def _stated(preset: str) -> tuple[Path, dict]:
    """The file of a preset, and its fields: what it lacks is as in the preset it is ``like``."""
    path, known = Path(str(preset)), [file.stem for file in PRESETS.glob("*.yaml")]
    path = path if path.suffix in {".yaml", ".yml"} else PRESETS / f"{preset}.yaml"
    if not path.is_file():
        hint = unknown_name("preset", str(preset), known)
        raise ValueError(f"{hint}; or give the path of a .yaml file")
    try:
        stated = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"preset {preset!r} is no YAML file: {error}") from None
    if not isinstance(stated, Mapping):
        raise ValueError(f"preset {preset!r}: a mapping of parameters expected, got {stated!r}")
    if (like := stated.pop("like", None)) is None:
        return path, stated
    if like not in known:
        raise ValueError(f"preset {preset!r}, like: {unknown_name('preset', str(like), known)}")
    return path, _stated(like)[1] | stated


def load_preset(preset: str = "offline", **overrides: Any) -> Preset:
    """Load a preset: ``smoke``, ``offline``, ``paper``, ``real`` or a YAML file, changed in fields.

    None keeps a value; `tuning` and `weighting` replace entries. A ValueError for any wrong input.

    >>> load_preset("smoke", n_samples=8).n_samples
    8
    """
    (path, stated), known = _stated(preset), Preset.model_fields.keys() - {"name"}
    if unknown := [key for key in overrides if key not in known]:
        raise ValueError(unknown_name("parameter", unknown[0], known))
    fields = stated | {key: _parsed(key, v) for key, v in overrides.items() if v is not None}
    for key in fields:
        if key not in known:
            raise ValueError(unknown_name("preset key", str(key), known))
        if key in _MERGED and key in stated:
            fields[key] = _parsed(key, stated[key]) | _parsed(key, fields[key])
        if key != "allow_unpinned" and _holds_boolean(fields[key]):
            raise ValueError(f"{key}: got a truth value in {fields[key]!r}; give numbers or names")
    try:
        return Preset(name=path.stem, **fields)
    except pydantic.ValidationError as error:
        raise ValueError(f"preset {preset!r}: {'; '.join(map(_fault, error.errors()))}") from None


def _parsed(key: str, value: Any) -> Any:
    """Parse a list or a mapping that a command line passes as JSON or YAML text."""
    if isinstance(value, str) and (key in _MAPPINGS or value.lstrip().startswith("[")):
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"{key}: {value!r} is neither JSON nor YAML") from None
    if key in _MAPPINGS and not isinstance(value, Mapping):
        raise ValueError(f"{key}: a mapping expected, such as '{{\"steps\": 60}}', got {value!r}")
    return value


def _holds_boolean(value: Any) -> bool:
    """Whether a value is a boolean or contains one: Python would take True for the number 1."""
    if isinstance(value, Mapping | list | tuple):
        return any(map(_holds_boolean, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, bool | np.bool_)


def _fault(fault: Mapping[str, Any]) -> str:
    """Field, fault, and the value given unless the message of a validator already has it."""
    where, text = ".".join(map(str, fault["loc"])), f"{fault['msg']}, got {fault['input']!r}"
    return f"{where}: {fault['ctx']['error'] if fault['type'] == 'value_error' else text}"


def check_declared(namespace: dict[str, Any], others: Sequence[str] = ()) -> Mapping[str, type]:
    """The declared parameters of a notebook; a ValueError for a plain value that is none."""
    declared: Mapping[str, Any] = namespace.get("__annotations__", {})
    if not namespace.get("_checked"):
        for name, value in namespace.items():
            expected = name.startswith("_") or name in {*declared, *others, "In", "Out"}
            if isinstance(value, _PLAIN) and not expected:
                raise ValueError(unknown_name("parameter", name, {*declared, *others}))
    namespace["_checked"] = True
    return declared


def read_parameters(namespace: dict[str, Any]) -> Preset:
    """Load the preset of a notebook with its parameters, from its ``globals()``.

    The ``parameters`` cell declares each with a type; papermill assigns without. So a plain value
    that is neither declared nor of `_RUN` is a misspelled parameter: a ValueError, but not for
    scratch variables of a later run. One too if this run would replace other, committed tables.

    >>> types = {"preset": str, "seed": int}
    >>> read_parameters({"__annotations__": types, "preset": "smoke", "seed": 4}).seed
    4
    """
    declared = check_declared(namespace, _RUN)
    preset = load_preset(**{n: namespace[n] for n in (*declared, *_RUN) if n in namespace})
    committed = load_preset(preset.experiment or "offline")
    own = [n for n in declared if n != "preset" and getattr(preset, n) != getattr(committed, n)]
    if own and (project_root() / preset.output).resolve() == project_root():
        advice = "give a folder for its own, such as `-p output build/mine`"
        raise ValueError(f"{', '.join(own)}: this run would replace committed tables; {advice}")
    preset._declared = tuple(declared)
    return preset


def _html(values: Mapping[str, Any]) -> str:
    cells = "<tr><td><code>{}</code></td><td>{}</td></tr>"
    rows = (cells.format(key, value) for key, value in values.items())
    return f"<table><tr><th>parameter</th><th>value</th></tr>{''.join(rows)}</table>"
