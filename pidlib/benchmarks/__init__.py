"""Benchmarks: closed sets of questions about pictures or clips, generated or from public data sets,
or your own, as lists of `Sample`."""

import re
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePath

import numpy as np
from jaxtyping import Float64

from pidlib.benchmarks import easy_vqa, hub, micro, micro_av, music_avqa, stamps, table
from pidlib.benchmarks.sample import SPLITS, Sample, listing
from pidlib.benchmarks.table import load_table
from pidlib.benchmarks.task import Task

__all__ = [
    "MODES",
    "SPLITS",
    "Sample",
    "canonical",
    "check_available",
    "generated",
    "is_external",
    "load",
    "load_table",
    "names",
    "revision",
    "truth",
]

MODES = ("masked", "resampled")
_LOCAL = dict(micro=micro, easy_vqa=easy_vqa, prior=micro, micro_av=micro_av, stamps=stamps)
_EXTERNAL = {"hub": hub, "music_avqa": music_avqa}
_TASKS = {kind: module.TASKS for kind, module in (_LOCAL | _EXTERNAL).items()}
_TASKS["prior"] = micro.PRIORS
_KINDS = {
    "pictures": ("micro", "easy_vqa"),
    "prior": ("prior",),
    "clips": ("micro_av",),
    "stamps": ("stamps",),
    "hub": ("hub",),
    "external": tuple(_EXTERNAL),
}
_PAIRS = ("micro/pair", "micro/pair_shared", "micro_av/pair")


def names(kind: str | None = None) -> tuple[str, ...]:
    """Return the names of all benchmarks, or of one kind.

    Kinds are ``"pictures"``; ``"prior"``, captions that are right with known probability, for
    tuning; ``"clips"``, with sound; ``"pairs"``, of both media, whose answer has a part from each
    source; ``"stamps"``, real pictures; ``"hub"``, data sets of the hub; ``"external"``, those read
    from a commit or a folder.

    >>> names("clips")
    ('micro_av/audio', 'micro_av/visual', 'micro_av/fusion', 'micro_av/gated', 'micro_av/polarity')
    """
    if kind is not None:
        _check("kind of benchmarks", kind, (*_KINDS, "pairs"))
    if kind == "pairs":
        return _PAIRS
    sources = _TASKS if kind is None else _KINDS[kind]
    listed = (f"{source}/{task}" for source in sources for task in _TASKS[source])
    return tuple(name for name in listed if kind is None or name not in _PAIRS)


def load(
    benchmark: str,
    split: str = "test",
    n: int | None = None,
    seed: int = 0,
    *,
    options: bool = False,
    allow_unpinned: bool = False,
) -> list[Sample]:
    """Load samples of one split of a benchmark.

    Equal arguments give equal samples; those for a smaller n are a prefix of those for a larger.

    Parameters
    ----------
    benchmark
        One of `names`; if external, as ``"hub/task@SOURCE"``: the 40-hex commit of its repository,
        or a folder. Or a file of your own, as ``"table:cars.csv"`` or, to read those bytes alone,
        ``"table:cars.csv@REVISION"``, see `load_table` and `revision`.
    split
        ``"train"``, ``"validation"`` or ``"test"``; no picture is in two of them, as far as known.
    n
        Number of samples; by default all, or 4,096, 512 and 1,024 of a generated task.
    seed
        Names a stream of a generated task, or the order of a finite set.
    options
        List the candidates after each question, as `Sample.options`. Questions of the hub always
        do; those of a table with options of its own keep them.
    allow_unpinned
        Read the newest commit of a data set of the hub if none is given.

    Raises
    ------
    ValueError
        If the benchmark or split does not exist, with the nearest right name; if a data set of the
        hub has no commit; if there are fewer than n samples (external benchmarks warn instead) or
        none.

    Examples
    --------
    >>> sample, = load("micro/scene", "test", n=1)
    >>> sample.question, sample.candidates
    ('what scene is this?', ('meadow', 'night', 'beach', 'snow'))
    >>> load("micro/scene", "test", n=1, options=True)[0].options
    'meadow, night, beach or snow?'
    """
    kind, task, source = _parse(benchmark)
    _check("split", split, SPLITS)
    if n is not None and n < 0:
        raise ValueError(f"{n} samples of {benchmark!r}; give n >= 0, or None for all")
    if kind == "table":
        return table.load(task, split, n, seed, source, listed=options)
    if kind in _EXTERNAL:
        place = hub.resolve(*_EXTERNAL[kind].origin(task), source, allow_unpinned)
        samples = _EXTERNAL[kind].load(task, split, n, seed, *place)
        if not samples and n != 0:
            raise ValueError(f"{benchmark!r} has no questions in {split}; choose another split")
        return samples
    samples = _LOCAL[kind].load(task, split, n, seed)
    if options:
        samples = [replace(sample, options=listing(sample.candidates)) for sample in samples]
    return samples


def check_available(benchmark: str, *, allow_unpinned: bool = False) -> None:
    """Raise what `load` raises for an unknown or unpinned benchmark, or for faults of a table.

    Nothing is downloaded, no media are decoded.
    """
    kind, task, source = _parse(benchmark)
    if kind == "table":
        table.check(task, source)
    elif kind in _EXTERNAL:
        hub.resolve(*_EXTERNAL[kind].origin(task), source, allow_unpinned)


def revision(benchmark: str, *, allow_unpinned: bool = False) -> str:
    """Return the commit of a data set, or a hash of its files; "" of a generated benchmark."""
    kind, task, source = _parse(benchmark)
    if kind == "table":
        return table.revision(task)
    if kind in _LOCAL:
        return ""
    place = hub.resolve(*_EXTERNAL[kind].origin(task), source, allow_unpinned)
    return _EXTERNAL[kind].revision(task, *place)


def is_external(benchmark: str) -> bool:
    """Whether a benchmark is read from files, and not generated."""
    return re.split("[/:]", benchmark)[0] in ("table", *_EXTERNAL)


def canonical(benchmark: str) -> str:
    """Return the name in results, without commit or folder; a ValueError for an unknown name.

    >>> canonical("hub/pope@FOLDER"), canonical("table:mine/cars.csv"), canonical("prior/80")
    ('hub/pope', 'table:cars.csv', 'prior/80')
    """
    kind, task, _ = _parse(benchmark)
    return f"table:{PurePath(task).name}" if kind == "table" else f"{kind}/{task}"


def truth(benchmark: str, unimodal: str = "masked") -> Float64[np.ndarray, "v t y"]:
    r"""Return the exact joint table P(v, t, y) of a generated benchmark's ideal answerer.

    v and t are the latent states of picture and question, y is a candidate. ``"masked"`` is the law
    of the benchmark, :math:`P(v,t)\,p(y|v,t)`, with the dependence of the inputs. ``"resampled"``
    is :math:`P(v)\,P(t)\,p(y|v,t)`: the other input is drawn independently. Raises a ValueError if
    the benchmark or mode does not exist, and a KeyError if its law is not known.

    Examples
    --------
    >>> truth("micro/grounding").shape, truth("micro/captioned").sum(0).diagonal().sum().round(6)
    ((24, 4, 4), np.float64(0.95))
    """
    source, task = _generated(benchmark, ("micro", "prior"))
    _check("unimodal", unimodal, MODES)
    return _TASKS[source][task].joint(independent=unimodal == "resampled")


def generated(benchmark: str) -> tuple[tuple[Task, ...], Callable]:
    """Return the task of a generated benchmark, of clips those of its templates; its renderer.

    Raises what `truth` does.
    """
    source, task = _generated(benchmark, ("micro", "prior", "micro_av"))
    tasks = _TASKS[source][task]
    return tasks if isinstance(tasks, tuple) else (tasks,), _LOCAL[source].render


def _generated(benchmark: str, sources: tuple[str, ...]) -> list[str]:
    """Split the name of a benchmark whose law is known."""
    generated = tuple(name for name in names() if name.split("/")[0] in sources)
    _check("benchmark", benchmark, generated + names("pictures"))
    if benchmark not in generated:
        raise KeyError(
            f"no truth for {benchmark!r}: its law is unknown; benchmarks with a truth:"
            f" {', '.join(generated)}"
        )
    return benchmark.split("/")


def _parse(benchmark: str) -> tuple[str, str, str]:
    """Split a name into kind of source, task, and the location of an external data set.

    The task of a table is its path, its location the revision that it must have.
    """
    if not isinstance(benchmark, str | PurePath):
        given = f"a {type(benchmark).__name__} instead of the name of a benchmark"
        raise ValueError(f"got {given}; for a table of your own use pidlib.load_table")
    benchmark = str(benchmark)
    if benchmark.startswith("table:"):
        path, revision = re.fullmatch(r"table:(.*?)(?:@([0-9a-f]{16}))?", benchmark).groups("")
        return "table", path, revision
    name, _, source = benchmark.partition("@")
    is_file = PurePath(name).suffix.lower() in table.SUFFIXES or Path(benchmark).is_file()
    if is_file and name not in names("external"):
        raise ValueError(f"unknown benchmark {benchmark!r}; did you mean 'table:{benchmark}'?")
    _check("benchmark", name if name in names("external") else benchmark, names())
    kind, task = name.split("/")
    return kind, task, source


def _check(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        nearest = get_close_matches(str(given), known, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"unknown {what} {given!r}; did you mean {nearest!r}? There are: {', '.join(known)}"
        )
