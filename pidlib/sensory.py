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
from scipy.special import rel_entr

from pidlib._common import derive_seed, unknown_name
from pidlib.decomposition import PID, mean
from pidlib.decomposition.decisions import (
    DecisionPID,
    Decisions,
    Draws,
    bootstrap_decisions,
    decision_pid,
)
from pidlib.extraction import Extraction

SOURCES = ("vision", "audio")
PASSES = {
    "joint": "vision+audio+language",
    "vision": "vision+language",
    "audio": "audio+language",
    "text": "language",
}
TEXT_DRAWS = ("language", "language#1", "language#2")  # the text with independent draws of noise
# Draws that take the roles of both streams, vision and audio in each estimate of the noise floor.
ROLE_PERMUTATIONS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))
REQUIRED = (*PASSES.values(), *TEXT_DRAWS[1:])
CONDITIONS = ("question", "template", "ignored")
# Reference distributions that are constant within each condition; the first is P(Y | c).
REFERENCES = {
    "question": ("question", "sample", "template", "marginal"),
    "template": ("template", "marginal"),
    "ignored": ("template", "marginal"),
}
TOLERANCE = 1e-4  # bits
MIN_SAMPLES = 16  # median samples per condition below which atoms of soft decisions depend on it

Content = Sequence[tuple[Hashable, Hashable]]


class Group(NamedTuple):
    """Samples that share a condition and are decomposed together."""

    condition: str  # one of `CONDITIONS`
    template: str  # empty if the samples have several
    question: str  # empty unless it is the condition
    decisions: Decisions  # p(y | v, a, t), p(y | v, t) and p(y | a, t)
    noise_floor: tuple[Decisions, ...]  # noise for both streams, by `ROLE_PERMUTATIONS`
    text_only: Float[np.ndarray, "3 k"]  # mean of p(y | t) for each draw of the noise


def split_by(
    extraction: Extraction,
    condition: str,
    *,
    content: Content | None = None,
    tau: float = 0.3,
    layer: int | None = None,
) -> list[Group]:
    """Group the samples of an extraction with the `REQUIRED` passes by one of the `CONDITIONS`.

    ``"ignored"`` needs `content`: what each clip shows and sounds like. Decisions are averaged over
    clips that agree in both streams, or in the only stream that is present. `tau` and `layer` are
    those of `Extraction.decisions`.

    Samples alone in their condition are left out. Warns if they are over a tenth, and if the median
    group is below `MIN_SAMPLES`. Raises a ValueError if there is no group.
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
    streams = [extraction.decisions(PASSES[name], tau, layer) for name in ("joint", *SOURCES)]
    draws = [extraction.decisions(key, tau, layer) for key in TEXT_DRAWS]
    noise = [[draws[draw] for draw in order] for order in ROLE_PERMUTATIONS]
    groups = []
    for text, rows in members.items():
        if len(rows) < 2:
            continue
        clips = None if content is None else [content[row] for row in rows]
        templates = {extraction.templates[row] for row in rows}
        group = Group(
            condition,
            template=templates.pop() if len(templates) == 1 else "",
            question=text if condition == "question" else "",
            decisions=_decisions(streams, rows, clips),
            noise_floor=tuple(_decisions(parts, rows, clips) for parts in noise),
            text_only=np.stack([draw[rows].mean(0) for draw in draws]),
        )
        groups.append(group)
    sizes, total = [len(group.decisions) for group in groups], len(extraction)
    other = ", or use condition='template'" if condition == "question" else ""
    advice = f"extract more samples{other}"
    if not groups:
        raise ValueError(f"no two of {total} samples share a {shared}: {advice}")
    if (alone := total - sum(sizes)) > total / 10:
        text = f"{alone} of {total} samples share their {shared} with no other and are left out"
        warnings.warn(f"{text}; {advice}", stacklevel=2)
    if (median := np.median(sizes)) < MIN_SAMPLES:
        text = f"condition={condition!r}: the median condition has only {median:g} samples, and"
        warnings.warn(f"{text} atoms of soft decisions depend on this; {advice}", stacklevel=2)
    return groups


def _decisions(passes: Sequence, rows: list[int], content: Content | None) -> Decisions:
    joint, *sources = (values[rows] for values in passes)
    if content is not None:
        joint, labels = _averaged(joint, content), zip(*content, strict=True)
        sources = [_averaged(values, label) for values, label in zip(sources, labels, strict=True)]
    return Decisions(joint, dict(zip(SOURCES, sources, strict=True)))


def _averaged(rows: Float[np.ndarray, "n k"], labels: Sequence[Hashable]) -> np.ndarray:
    """Replace each row by the mean of the rows with its label."""
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(label, len(numbers)) for label in labels])
    members = np.eye(len(numbers))[index]
    return (members.T @ rows / members.sum(0)[:, None])[index]


class SensoryPID(NamedTuple):
    """The mean decomposition over conditions, with reference P(Y | c)."""

    pid: PID  # atoms, bounds and gap in bits; converged if all conditions are
    solved: tuple[DecisionPID, ...]  # the decomposition of each condition
    reconciliation: Mapping[str, float]  # mean total variation by which rows moved to P(Y | c)


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
    distances = {name: [part.reconciliation[name] for part in solved] for name in SOURCES}
    moved = {name: float(shares @ values) for name, values in distances.items()}
    return SensoryPID(mean([part.pid for part in solved], shares), solved, moved)


def _shares(decisions: Sequence[Decisions]) -> Float[np.ndarray, " c"]:
    counts = np.array([len(part) for part in decisions], dtype=float)
    return counts / counts.sum()


def reference_shift(
    groups: Sequence[Group],
    reference: str,
    targets: Float[np.ndarray, "c *draws k"] | None = None,
    permutation: Sequence[int] | None = None,
) -> Float[np.ndarray, " *draws"]:
    r"""Return the bits that a reference r other than P(Y | c) adds to redundancy.

    .. math:: \sum_c w_c\,\mathrm{KL}(P(Y|c)\,\|\,r_c)

    The paper's terms are KL(p(y | v, t) || r), and likewise for audio and for both, with an
    unstated r. Each of them and I_Q of any coupling grow by KL(P(Y | c) || r) if r is one of the
    `REFERENCES` of the condition, others raise a ValueError: the mean of the samples of a
    ``question`` or ``template``, of all samples (``marginal``), or of p(y | t) (``sample``).
    `targets` is P(Y | c) of each condition, by default that of the decisions, or draws of it.
    `permutation` is that of a noise floor: p(y | t) then excludes the target's draw.
    """
    condition, allowed = groups[0].condition, REFERENCES[groups[0].condition]
    if reference not in allowed:
        text = f"reference {reference!r} is not constant within condition={condition!r}"
        raise ValueError(f"{text}; choose one of {', '.join(allowed)}")
    if targets is None:
        targets = np.stack([group.decisions.target for group in groups])
    if reference == allowed[0]:
        return np.zeros(targets.shape[1:-1])
    shares = _shares([group.decisions for group in groups])
    if reference == "sample":
        draws = list(range(len(TEXT_DRAWS)) if permutation is None else permutation[1:])
        means = np.stack([group.text_only[draws].mean(0) for group in groups])
        against = means.reshape(len(groups), *[1] * (targets.ndim - 2), -1)
    else:
        against = np.empty_like(targets)
        keys = [(group.template, group.template or group.question) for group in groups]
        keys = [""] * len(groups) if reference == "marginal" else keys
        for key in set(keys):
            own = np.array([other == key for other in keys])
            against[own] = np.tensordot(shares[own] / shares[own].sum(), targets[own], 1)
    return np.tensordot(shares, rel_entr(targets, against).sum(-1), 1) / np.log(2)


def bootstrap(
    result: SensoryPID, decisions: Sequence[Decisions], n: int = 100, seed: int = 0
) -> tuple[Draws, Float[np.ndarray, "c n k"]]:
    """Return draws of the mean atoms and of every P(Y | c); samples are drawn within conditions."""
    atoms, targets = {name: np.zeros(n) for name in result.pid.atoms}, []
    parts = zip(decisions, result.solved, _shares(decisions), strict=True)
    for index, (part, solved, share) in enumerate(parts):
        draws = bootstrap_decisions(part, n, derive_seed(seed, index), solved=solved)
        for name, values in draws.atoms.items():
            atoms[name] += share * values
        targets.append(draws.target)
    return Draws(atoms, None), np.stack(targets)
