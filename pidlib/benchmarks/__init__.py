"""Benchmarks: closed sets of questions about pictures or clips, from a generator or a public data set, as one kind of `Sample`."""

from dataclasses import replace
from difflib import get_close_matches

import numpy as np
from jaxtyping import Float64

from pidlib.benchmarks import easy_vqa, hub, micro, micro_av, music_avqa, prior
from pidlib.benchmarks.sample import SPLITS, Sample, listing

__all__ = ["BENCHMARKS", "HUB", "OMNI", "PINNED", "PRIOR", "SPLITS", "Sample", "load", "locate", "truth"]

_SOURCES = {"micro": micro, "easy_vqa": easy_vqa, "micro_av": micro_av, "prior": prior}
BENCHMARKS = tuple(f"{source}/{task}" for source in ("micro", "easy_vqa") for task in _SOURCES[source].TASKS)
PRIOR = tuple(f"prior/{task}" for task in prior.TASKS)  # to be tuned on: how often the caption is right, in percent
OMNI = tuple(f"micro_av/{task}" for task in micro_av.TASKS)  # of clips that are seen and heard
HUB = tuple(f"hub/{task}" for task in hub.TASKS)
_PINNED = {"hub": hub, "music_avqa": music_avqa}
PINNED = tuple(f"{source}/{task}" for source, module in _PINNED.items() for task in module.TASKS)  # read from a commit or a folder


def load(
    benchmark: str, split: str, n: int | None = None, seed: int = 0, *, options: bool = False, allow_unpinned: bool = False
) -> list[Sample]:
    """Samples of one split of a benchmark, the same for the same arguments, and a prefix of those for a larger n.

    Parameters
    ----------
    benchmark
        One of `BENCHMARKS`, `PRIOR` or `OMNI`, ``"source/task"``, or of `PINNED`, as ``"hub/task@WHERE"``: the 40-hex commit of its
        repository, or a folder.
    split
        ``"train"``, ``"validation"`` or ``"test"``; no picture is in two of them, as far as is known (see `pidlib.benchmarks.music_avqa`).
    n
        How many; by default all there are, or the usual number of a generated task (4,096, 512 and 1,024).
    seed
        Names a stream of a generated task, or the order in which a finite set is drawn from.
    options
        List the candidates after each question, as `Sample.options`. Questions of `PINNED` come with theirs anyhow.
    allow_unpinned
        Read the newest state of a data set of the hub that is named without a commit.

    Raises
    ------
    ValueError
        For a benchmark or split that does not exist, with the nearest right name, for a data set of the hub without a commit, and for more
        samples than there are (one of `PINNED` warns, and gives what it has).

    Examples
    --------
    >>> sample, = load("micro/scene", "test", n=1)
    >>> sample.question, sample.candidates
    ('what scene is this?', ('meadow', 'night', 'beach', 'snow'))
    >>> load("micro/scene", "test", n=1, options=True)[0].options
    'meadow, night, beach or snow?'
    """
    source, task, at = _parse(benchmark)
    _check("split", split, SPLITS)
    if n is not None and n < 0:
        raise ValueError(f"asked for {n} samples of {benchmark!r}; give n >= 0, or None for all")
    if source in _PINNED:
        return _PINNED[source].load(task, split, n, seed, at, allow_unpinned)
    samples = _SOURCES[source].load(task, split, n, seed)
    return [replace(one, options=listing(one.candidates)) for one in samples] if options else samples


def locate(benchmark: str, *, allow_unpinned: bool = False) -> None:
    """Raise what `load` raises for a benchmark that does not exist or is not pinned, before anything is read."""
    source, task, at = _parse(benchmark)
    if source in _PINNED:
        _PINNED[source].locate(task, at, allow_unpinned)


def truth(benchmark: str, unimodal: str = "masked") -> Float64[np.ndarray, "v t y"]:
    r"""The exact joint table P(v, t, y) of the ideal answerer of a generated benchmark.

    v and t run over latent states that are all that matters of the picture and of the question, y over the sample's ``candidates``.
    ``"masked"`` is the law of the benchmark, :math:`P(v,t)\,p(y|v,t)`: an answerer deprived of one input knows how the two go together.
    ``"resampled"`` is :math:`P(v)\,P(t)\,p(y|v,t)`: the other input is drawn independently, so what lives in their dependence is gone.

    Raises
    ------
    ValueError
        For a benchmark or mode that does not exist, with the nearest right name.
    KeyError
        For a benchmark whose law is not known.

    Examples
    --------
    >>> truth("micro/grounding").shape, truth("micro/captioned").sum(0).diagonal().sum().round(6)
    ((24, 4, 4), np.float64(0.95))
    """
    _check("benchmark", benchmark, (*BENCHMARKS, *PRIOR))
    _check("unimodal", unimodal, ("masked", "resampled"))
    source, task = benchmark.split("/")
    if source == "easy_vqa":
        known = ", ".join(name for name in (*BENCHMARKS, *PRIOR) if not name.startswith("easy_vqa/"))
        raise KeyError(f"no truth for {benchmark!r}: its law is not known; benchmarks with a truth: {known}")
    return _SOURCES[source].TASKS[task].joint(independent=unimodal == "resampled")


def _parse(benchmark: str) -> tuple[str, str, str]:
    """Source, task, and where a data set of the hub is to be found."""
    name, _, at = benchmark.partition("@")
    _check("benchmark", name if name in PINNED else benchmark, (*BENCHMARKS, *PRIOR, *OMNI, *PINNED))
    return *name.split("/"), at


def _check(what: str, given: str, names: tuple[str, ...]):
    if given not in names:
        near = get_close_matches(str(given), names, n=1, cutoff=0.0)
        raise ValueError(f"unknown {what} {given!r}; did you mean {near[0]!r}? There are: {', '.join(names)}")
