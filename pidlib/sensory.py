r"""Sensory PID: information of vision V and audio A about a model's answer Y, given the text T.

.. math:: I(Y; V, A \mid T) = R + U_{vision} + U_{audio} + S = \sum_c w_c\, I(Y; V, A \mid T = c)

(Fang et al., 2026, arXiv 2606.00959.) Samples that share a condition c are decomposed together; w_c
is their share of all samples. One of three `CONDITIONS` defines c:

- ``question``: one text, as in the definition; paraphrases are separate conditions.
- ``template``: one form of question, for benchmarks that hardly repeat a text. Different texts are
  coupled: if T = 0 asks about V and T = 1 about A, U_vision = U_audio = 1/2 becomes R = S = 1/2.
- ``ignored``: a negative control, p(y | v, a) = E_T p(y | v, a, T) over clips of equal content.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from pidlib._common import derive_seed, unknown_name
from pidlib.decomposition import PID, mean
from pidlib.decomposition.decisions import DecisionPID, Decisions, decision_pid
from pidlib.decomposition.resampling import N_HALVES, Halves, solve_halves
from pidlib.extraction import Extraction

SOURCES = ("vision", "audio")
PASSES = {"joint": "vision+audio+language", "vision": "vision+language", "audio": "audio+language"}
PASSES |= {"text": "language"}
CONDITIONS = ("question", "template", "ignored")
# Reference distributions that are constant within each condition; the first is P(Y | c).
REFERENCES = {"question": ("question", "sample", "template", "marginal")}
REFERENCES |= {"template": ("template", "marginal"), "ignored": ("template", "marginal")}
TOLERANCE = 1e-4  # bits
MIN_SAMPLES = 16  # median samples per condition below which atoms of soft decisions depend on it

Content = Sequence[tuple[Hashable, Hashable]]
Drawn = Mapping[str, Float[np.ndarray, "draws n k"]]  # decisions by role, as of `PASSES`


class Group(NamedTuple):
    """Samples that share a condition and are decomposed together."""

    condition: str  # one of `CONDITIONS`
    template: str  # empty if the samples have several
    question: str  # empty unless it is the condition
    decisions: Decisions  # p(y | v, a, t), p(y | v, t) and p(y | a, t)
    drawn: Drawn  # of the passes, for all draws of noise
    content: Content | None


def split_by(
    extraction: Extraction,
    condition: str,
    *,
    content: Content | None = None,
    tau: float = 0.3,
    layer: int | None = None,
) -> list[Group]:
    """Group the samples of an extraction with all `PASSES` by one of the `CONDITIONS`.

    ``"ignored"`` needs `content`: what each clip shows and sounds like. Decisions are averaged over
    draws of noise, and over clips that agree in both streams, or in the only stream that is
    present. Samples alone in their condition are left out. Warns if they are over a tenth, and if
    the median group is below `MIN_SAMPLES`. Raises a ValueError if there is no group.
    """
    if condition not in CONDITIONS:
        raise ValueError(unknown_name("condition", condition, CONDITIONS))
    if (condition == "ignored") != (content is not None):
        text = "condition='ignored' needs content=[(shown, sounding), ...], and no other takes it"
        raise ValueError(f"{text}; got condition={condition!r}, content={content!r:.40}")
    if not len(extraction) == len(extraction.templates) == len(extraction.questions):
        raise ValueError("the extraction has no templates and questions; extract its samples again")
    shared = "question" if condition == "question" else "template"
    members: dict[str, list[int]] = {}
    for index, text in enumerate(getattr(extraction, f"{shared}s")):
        members.setdefault(text, []).append(index)
    drawn = {name: extraction.drawn(key, tau, layer) for name, key in PASSES.items()}
    groups = []
    for text, rows in members.items():
        if len(rows) < 2:
            continue
        streams = {name: values[:, rows] for name, values in drawn.items()}
        clips = None if content is None else [content[row] for row in rows]
        templates = {extraction.templates[row] for row in rows}
        template = templates.pop() if len(templates) == 1 else ""
        question = text if condition == "question" else ""
        decisions = _decisions(streams, clips)
        groups.append(Group(condition, template, question, decisions, streams, clips))
    sizes, total = [len(group.decisions) for group in groups], len(extraction)
    advice = "extract more samples" + ", or use condition='template'" * (condition == "question")
    if not groups:
        raise ValueError(f"no two of {total} samples share a {shared}: {advice}")
    if (alone := total - sum(sizes)) > total / 10:
        text = f"{alone} of {total} samples share their {shared} with no other and are left out"
        warnings.warn(f"{text}; {advice}", stacklevel=2)
    if (median := np.median(sizes)) < MIN_SAMPLES:
        text = f"condition={condition!r}: the median condition has only {median:g} samples, and"
        warnings.warn(f"{text} atoms of soft decisions depend on this; {advice}", stacklevel=2)
    return groups


def averaged(groups: Sequence[Group]) -> list[str]:
    """Streams whose answers are means over draws or contents; permuting others changes nothing."""
    first = groups[0]
    return [name for name in SOURCES if first.content is not None or len(first.drawn[name]) > 1]


def permuted(
    groups: Sequence[Group], stream: str, generator: np.random.Generator
) -> list[Decisions]:
    """A null: within conditions, answers of one stream are permuted among samples and draws."""
    nulls = []
    for group in groups:
        rows = group.drawn[stream]
        rows = generator.permutation(rows.reshape(-1, rows.shape[-1])).reshape(rows.shape)
        nulls.append(_decisions({**group.drawn, stream: rows}, group.content))
    return nulls


def _decisions(drawn: Drawn, content: Content | None) -> Decisions:
    joint, values = drawn["joint"].mean(0), {}
    if content is not None:
        values = dict(zip(SOURCES, map(_numbered, zip(*content, strict=True)), strict=True))
        same = _numbered(content)
        members = np.eye(same.max() + 1)[same]
        joint = (members.T @ joint / members.sum(0)[:, None])[same]
    return Decisions(joint, {name: drawn[name].mean(0) for name in SOURCES}, values=values)


def _numbered(labels: Sequence[Hashable]) -> np.ndarray:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels])


class SensoryPID(NamedTuple):
    """The mean decomposition over conditions, with reference P(Y | c)."""

    pid: PID  # atoms, bounds and gap in bits; converged if all conditions are
    solved: tuple[DecisionPID, ...]  # the decomposition of each condition
    reconciliation: Mapping[str, float]  # mean total variation by which rows moved to P(Y | c)
    given: Mapping[str, float]  # I(Y; stream | T) before, in bits
    others: Mapping[str, float]  # redundancy by other definitions, see `measures.OF_PAIRS`, in bits


def decompose(decisions: Sequence[Decisions], *, tol: float = TOLERANCE) -> SensoryPID:
    """Decompose the decisions of each condition, to a gap of ``tol`` bits, and average by rows.

    >>> sure, uniform = np.eye(2), np.full((4, 2), 0.5)
    >>> copy = Decisions(sure[[0, 0, 1, 1]], {"vision": sure[[0, 0, 1, 1]], "audio": uniform})
    >>> xor = Decisions(sure[[0, 1, 1, 0]], {"vision": uniform, "audio": uniform})
    >>> result = decompose([copy, xor]).pid
    >>> result.unique["vision"], result.synergy
    (0.5, 0.5)
    """
    shares, solved = _shares(decisions), tuple(decision_pid(part, tol=tol) for part in decisions)
    means = (
        {name: float(shares @ [each[name] for each in by_name]) for name in by_name[0]}
        for by_name in zip(*((p.reconciliation, p.given, p.others) for p in solved), strict=True)
    )
    return SensoryPID(mean([part.pid for part in solved], shares), solved, *means)


def _shares(decisions: Sequence[Decisions]) -> Float[np.ndarray, " c"]:
    counts = np.array([len(part) for part in decisions], dtype=float)
    return counts / counts.sum()


def halve(
    result: SensoryPID, decisions: Sequence[Decisions], n: int = N_HALVES, seed: int = 0
) -> Halves:
    """Informations of halves of the samples of each condition, for `resampling.extrapolate`."""
    parts = zip(decisions, result.solved, strict=True)
    halves = [solve_halves(*part, n, derive_seed(seed, i)) for i, part in enumerate(parts)]
    whole, each, converged, unseen = map(np.array, zip(*halves, strict=True))
    # what is unseen in all samples together
    shares, together = _shares(decisions), 1 / float((1 / unseen).sum())
    return Halves(shares @ whole, np.tensordot(shares, each, 1), bool(converged.all()), together)
