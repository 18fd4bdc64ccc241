"""Settings of the reweighting experiment: all that decides what a training on weighted questions does to a model, and the questions."""

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from pidlib import benchmarks
from pidlib.benchmarks import Sample, prior
from pidlib.experiment import Preset, derive_seed, fingerprint, unknown
from pidlib.models.lora import Tuning
from pidlib.models.registry import folder_revision, locate, newest
from pidlib.reweighting import CONDITIONS, Weighting

# The code that makes an outcome: files, of some only certain functions. Solver and reconciliation are not among it:
# atoms are certified; local terms are not, but weights made of them were seen to be the same at 1e-4, 1e-6 and 1e-8 bits. Who changes
# how a coupling is chosen or how terms are shared out makes all outcomes anew.
MADE_BY = {
    "models/lora.py": (),
    "models/adapters.py": (),
    "models/training.py": (),
    "reweighting.py": (),
    "settings.py": ("question_sets", "balanced"),
    "outcomes.py": ("scored", "sample_weights", "_made", "_tuned", "_retained"),
    "benchmarks/__init__.py": ("load",),
    "benchmarks/pictures.py": (),
    "benchmarks/task.py": (),
    "extraction/*.py": (),
}
OF_ESTIMATOR = {"BATCH": {"batch_estimator.py": ()}, "LSMI": {"lsmi.py": ()}}  # and of some settings
OF_SOURCE = {
    "prior": {"benchmarks/prior.py": (), "benchmarks/micro.py": ()},
    "micro": {"benchmarks/micro.py": ()},
    "easy_vqa": {"benchmarks/easy_vqa.py": ()},
    "hub": {"benchmarks/hub*.py": ()},
}


class Questions(NamedTuple):
    """Three sets of samples; see `pidlib.outcomes`."""

    train: list[Sample]
    profile: list[Sample]
    evaluation: list[Sample]


@dataclass(frozen=True)
class Setting:
    """All that decides an outcome; make one by `Setting.of`.

    Attributes
    ----------
    base : str
        The model that is trained, named like ``models`` of a preset.
    trained_on : str
        A benchmark.
    condition : str
        A letter of `pidlib.reweighting.CONDITIONS`.
    seed : int
        The number of the training, from 0; names the questions it is trained on, their order, and the first weights of the adapter.
    tuning, weighting
        Numbers of the training and of the weights.
    n_tuned, n_profiled, n_evaluated, n_retained : int
        Questions of the three sets, and of each of `retained`.
    retained : tuple of str
        Other benchmarks.
    tau, stream
        As ``tau`` and ``seed`` of a preset.
    """

    base: str
    trained_on: str
    condition: str
    seed: int
    tuning: Tuning
    weighting: Weighting
    n_tuned: int
    n_profiled: int
    n_evaluated: int
    n_retained: int
    retained: tuple[str, ...]
    tau: float
    stream: int

    @classmethod
    def of(
        cls,
        preset: Preset,
        base: str,
        trained_on: str,
        condition: str,
        seed: int = 0,
        *,
        tuning: Mapping[str, Any] | None = None,
        weighting: Mapping[str, Any] | None = None,
        tau: float | None = None,
    ) -> "Setting":
        """A setting with the numbers of a preset, some of them changed: ``tuning={"steps": 120}``, ``tau=0.0``.

        What changes nothing is set aside, so that equal outcomes have equal settings: the base is trained with no seed, and uniform weights
        know no numbers.

        Raises
        ------
        ValueError
            For a condition or a number that does not exist, with the nearest that does, and a base that cannot be found.
        """
        if condition not in CONDITIONS:
            raise ValueError(unknown("condition", condition, CONDITIONS))
        name, _, revision = base.partition("@")
        locate(name, revision or None, allow_unpinned=preset.allow_unpinned)
        made = _numbers(Tuning, "tuning", preset.tuning, tuning), _numbers(Weighting, "weighting", preset.weighting, weighting)
        if condition in "AB":
            made = (Tuning() if condition == "A" else made[0]), Weighting()
        numbers = {name: getattr(preset, name) for name in ("n_tuned", "n_profiled", "n_evaluated", "n_retained", "tau")}
        numbers |= {} if tau is None else {"tau": tau}
        others = tuple(name for name in preset.retained_benchmarks if name != trained_on)
        return cls(base, trained_on, condition, 0 if condition == "A" else seed, *made, retained=others, stream=preset.seed, **numbers)

    @cached_property
    def code(self) -> str:
        """The hash of the code that makes its outcome; comments and docstrings are not in it."""
        sources = {name.split("/")[0] for name in (self.trained_on, *self.retained)}
        files = MADE_BY | OF_ESTIMATOR.get(self.weighting.estimator, {})
        for source in sorted(sources):
            files |= OF_SOURCE.get(source, {})
        return code_of(tuple(files.items()))

    @cached_property
    def identity(self) -> dict[str, Any]:
        """All that is meant to change its outcome: the numbers, the weights of its model, the code."""
        name, _, revision = self.base.partition("@")
        return {"kind": "outcome", "code": self.code, "revision": _revision(name, revision or None)} | asdict(self)

    @cached_property
    def fingerprint(self) -> str:
        """The hash of its identity, under which its outcome is kept."""
        return fingerprint(**self.identity)

    def questions(self, allow_unpinned: bool = False) -> Questions:
        """Its three sets of samples."""
        sizes = self.n_tuned, self.n_profiled, self.n_evaluated
        return question_sets(self.trained_on, *sizes, self.stream, self.seed, allow_unpinned=allow_unpinned)

    @property
    def told(self) -> dict[str, Any]:
        """What its rows say of it; numbers that change nothing are missing."""
        found = {name: getattr(self, name) for name in ("base", "trained_on", "condition", "seed", "fingerprint")}
        if self.condition != "A":
            found |= {name: getattr(self.tuning, name) for name in ("learning_rate", "rank", "last")}
        if self.condition not in "AB":
            names = ("top_gap", "top_shortcut", "gap_weight", "shortcut_weight", "estimator")
            found |= {name: getattr(self.weighting, name) for name in names}
        return found


def distinct(settings: Iterable[Setting]) -> list[Setting]:
    """Each setting once, in the order in which they first come."""
    return list({one.fingerprint: one for one in settings}.values())


def evaluation_name(trained_on: str) -> str:
    """The benchmark under which rows of the evaluation stand."""
    return trained_on if trained_on.partition("@")[0] in benchmarks.PINNED else f"{trained_on} balanced"


def question_sets(
    trained_on: str, n_tuned: int, n_profiled: int, n_evaluated: int, stream: int = 0, seed: int = 0, *, allow_unpinned: bool = False
) -> Questions:
    """Questions to train, profile and evaluate on: of three splits, so no two have a question or a picture in common.

    Questions of `benchmarks.PRIOR` are evaluated where the caption tells nothing. Those of the hub, where no text comes with all answers,
    are evaluated as they are.
    """
    get = partial(benchmarks.load, allow_unpinned=allow_unpinned)
    train = get(trained_on, "train", n_tuned, derive_seed(stream, "tuning", seed))
    profile = get(trained_on, "validation", n_profiled, stream)
    if evaluation_name(trained_on) == trained_on:
        return Questions(train, profile, get(trained_on, "test", n_evaluated, stream))
    everything = get(f"prior/{prior.BALANCED}" if trained_on in benchmarks.PRIOR else trained_on, "test", None, stream)
    return Questions(train, profile, balanced(everything, n_evaluated))


def balanced(samples: Sequence[Sample], n: int | None = None) -> list[Sample]:
    """As many samples of every text with each answer as there are with its rarest; of these sets the first that make up n.

    Raises
    ------
    ValueError
        If they do not suffice.
    """
    found: dict[str, dict[str, list[int]]] = {}
    for index, one in enumerate(samples):
        found.setdefault(one.text, {answer: [] for answer in one.candidates})[one.answer].append(index)
    sets = sorted((one for answers in found.values() for one in zip(*answers.values(), strict=False)), key=max)
    count = len(sets) if n is None else n // len(samples[0].candidates)
    if not 0 < count <= len(sets):
        most = len(sets) * len(samples[0].candidates)
        raise ValueError(f"asked for {n} balanced of {len(samples)} samples of {samples[0].benchmark}, which hold {most}; ask for fewer")
    return [samples[index] for one in sets[:count] for index in one]


def _numbers(kind: type, what: str, *changes: Mapping[str, Any] | None) -> Any:
    """An instance with the numbers given, later ones before earlier."""
    given = {name: value for some in changes if some for name, value in some.items()}
    for name in given:
        if name not in kind.__dataclass_fields__:
            raise ValueError(unknown(f"number of {what}", name, kind.__dataclass_fields__))
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


@cache
def _revision(name: str, revision: str | None) -> str:
    folder, revision = locate(name, revision, allow_unpinned=True)
    return revision or (folder_revision(folder) if folder else newest(name))


@cache
def code_of(files: tuple[tuple[str, tuple[str, ...]], ...], root: Path = Path(__file__).parent) -> str:
    """The hash of what files do, all in them or the functions named, without comments and docstrings; the same in every Python."""
    found = {}
    for pattern, names in files:
        for path in sorted(root.glob(pattern)):
            body = ast.parse(path.read_text(encoding="utf-8")).body
            kept = [node for node in body if not names or getattr(node, "name", None) in names]
            if names and {node.name for node in kept} != set(names):
                raise ValueError(f"{path.name} does not have all of {', '.join(names)}; name what makes an outcome")
            found[path.relative_to(root).as_posix()] = _shape(kept)
    return fingerprint(found=found)


def _shape(node: Any) -> Any:
    """A syntax tree without docstrings and without what is empty: newer Pythons have more empty fields."""
    if isinstance(node, list):
        return [_shape(one) for one in node if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    if isinstance(node, ast.AST):
        return [type(node).__name__, {name: _shape(value) for name, value in ast.iter_fields(node) if value is not None and value != []}]
    return repr(node)
