r"""Sensory PID of a model's decisions: what sight V and sound A tell of its answer Y where the text T is known.

    I(Y; V, A | T) = R + U_vision + U_audio + S = sum_c w_c I(Y; V, A | T = c),

after Fang et al. (2026). Six passes tell it, `ASKED`: p(y | v, a, t), p(y | v, t) with the sound masked, p(y | a, t) with the picture
masked, and p(y | t) with both, in three draws of noise, for the noise floor. (Passes that are not asked for do not hear a thing.)

    answers = extract(model, clips, passes=ASKED)
    decompose(conditions(answers, "question")).pid

Intervals and noise floor: `pidlib.sensory_tables.measure`. Samples that share a condition c are decomposed together, as
`pidlib.decisions` does it: their clips are the alphabets, their pair marginals are reconciled to P(Y | c), the mean of p(y | v, a, t) over
them, and coupled. Every atom, bound and gap is the mean over conditions, weighted by w_c, their share of the samples. What a condition is:

* ``"question"``: one text, whatever its template, which is what the definition asks for. Phrasings of one question are conditions apart:
  their law is the same, but fewer samples share it, and estimates depend on their number: of soft answers, fewer couplings of fewer
  samples leave less synergy and more that is unique (`pidlib.decisions.decision_pid`). `conditions` warns below `FEWEST` of them.
* ``"template"``: one form of question, with all of its texts. For benchmarks where hardly a text is asked twice. Its sources are then not V
  and A but (V, T) and (A, T), so that texts which differ in what they ask for are coupled with each other: where T = 0 asks for V and
  T = 1 for A, U_vision = U_audio = 1/2 turn into R = S = 1/2. There are more couplings to minimise over, so that unique atoms are at most,
  redundancy and synergy at least what they are given the question (up to reconciliation, which then is one for all texts).
* ``"none"``: the same samples, but what they were asked is ignored: the decisions of clips with the same content are averaged,
  p(y | v, a) = E_T p(y | v, a, T). (Without that average every row still knows its text, with which it was answered.) It is here to fail:
  of Y = V xor A xor T it sees nothing.

A condition of one sample has P(Y | c) equal to its only decision, so it tells nothing; such samples are left out and counted.
"""

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import rel_entr

from pidlib.decisions import DecisionPID, Decisions, Draws, bootstrap_decisions, decision_pid
from pidlib.decomposition import PID
from pidlib.experiment import derive_seed, unknown
from pidlib.extraction import Extraction

SOURCES = ("vision", "audio")
PASSES = {"joint": "vision+audio+language", "vision": "vision+language", "audio": "audio+language", "text": "language"}
NOISE = ("language", "language#1", "language#2")  # the text, with noise of its own for all that is seen and heard
TURNS = ((0, 1, 2), (1, 2, 0), (2, 0, 1))  # which of them stands for both senses, for sight and for sound in the noise floor
ASKED = (*PASSES.values(), *NOISE[1:])
GIVEN = ("question", "template", "none")
REFERENCES = {"question": ("question", "sample", "template", "marginal"), "template": ("template", "marginal")}
TOLERANCE = 1e-4  # bits
FEWEST = 16  # samples of a condition in the median, for atoms of soft answers that are more than chance


class Condition(NamedTuple):
    """Samples that are decomposed together.

    Attributes
    ----------
    given
        One of `GIVEN`.
    template, question
        What they share: no template where a text is of several, no question where it is not given.
    decisions
        p(y | v, a, t), p(y | v, t) and p(y | a, t) of its n samples.
    floor
        The same of three passes in which sight and sound are both noise, in each of the `TURNS`.
    told
        Mean of p(y | t), the answer to the text alone, in each draw of the noise, shape [3, k].
    """

    given: str
    template: str
    question: str
    decisions: Decisions
    floor: tuple[Decisions, ...]
    told: Float[np.ndarray, "3 k"]


def conditions(
    extraction: Extraction,
    given: str,
    *,
    content: Sequence[tuple[Hashable, Hashable]] | None = None,
    tau: float = 0.3,
    layer: int | None = None,
) -> list[Condition]:
    """The samples of an extraction, by what is given; those that are alone in their condition are left out.

    Parameters
    ----------
    extraction
        Asked with ``passes=ASKED``, with templates and questions.
    given
        ``"question"``, ``"template"`` or ``"none"``.
    content
        For ``"none"``: of each sample what is seen and what is heard, as far as it matters. Decisions with both senses are averaged over
        clips that are equal to both, decisions with one sense over those that are equal to it.
    tau, layer
        As in `Extraction.decisions`.

    Raises
    ------
    ValueError
        For another ``given``, for ``"none"`` without content and others with it, for passes that were not extracted, and if every
        sample is alone.

    Warns
    -----
    UserWarning
        If conditions hold fewer than `FEWEST` samples in the median, or more than a tenth of the samples are alone.
    """
    if given not in GIVEN:
        raise ValueError(unknown("condition", given, GIVEN))
    if (given == "none") != (content is not None):
        raise ValueError(f"given={given!r}: to ignore the question takes given='none' and content=[(v, a), ...], the clips that are alike")
    if len(extraction.templates) != len(extraction) or len(extraction.questions) != len(extraction):
        raise ValueError("this extraction holds no templates and questions; extract its samples anew")
    if missing := [key for key in ASKED if key not in extraction.logits]:
        raise ValueError(f"this extraction lacks the passes {', '.join(missing)}; extract with passes=pidlib.sensory.ASKED")
    shared = "question" if given == "question" else "template"
    members: dict[str, list[int]] = {}
    for index, text in enumerate(getattr(extraction, f"{shared}s")):
        members.setdefault(text, []).append(index)
    passes = {key: extraction.decisions(key, tau, layer) for key in {*PASSES.values(), *NOISE}}
    found = []
    for text, rows in members.items():
        if len(rows) > 1:
            here = None if content is None else [content[row] for row in rows]
            of = {key: values[rows] for key, values in passes.items()}
            answered = _decisions([of[PASSES[role]] for role in ("joint", *SOURCES)], here)
            floor = tuple(_decisions([of[NOISE[draw]] for draw in turn], here) for turn in TURNS)
            told = np.stack([of[key].mean(0) for key in NOISE])
            template, *others = {extraction.templates[row] for row in rows}
            said = ("" if others else template, text) if given == "question" else (text, "")
            found.append(Condition(given, *said, answered, floor, told))
    less = ", or condition on less (given='template')" if given == "question" else ""
    if not found:
        raise ValueError(f"no two of {len(extraction)} samples share a {shared}: ask more of them{less}")
    if (alone := sum(len(rows) == 1 for rows in members.values())) > len(extraction) / 10:
        warnings.warn(f"{alone} of {len(extraction)} samples share their {shared} with none and are left out{less}", stacklevel=2)
    if (usual := median(found)) < FEWEST:
        warnings.warn(
            f"given={given!r}, a condition holds {usual:g} samples in the median, fewer than {FEWEST}: estimates depend on their number,"
            f" most where answers are soft; ask more of them{less}",
            stacklevel=2,
        )
    return found


def median(conditions: Sequence[Condition]) -> float:
    """The median number of samples in a condition."""
    return float(np.median([len(one.decisions) for one in conditions]))


def _decisions(rows: Sequence[Float[np.ndarray, "n k"]], content: Sequence[tuple[Hashable, Hashable]] | None) -> Decisions:
    if content is not None:
        seen, heard = zip(*content, strict=True)
        rows = [_averaged(values, labels) for values, labels in zip(rows, (content, seen, heard), strict=True)]
    return Decisions(joint=rows[0], sources=dict(zip(SOURCES, rows[1:], strict=True)))


def _averaged(rows: Float[np.ndarray, "n k"], labels: Sequence[Hashable]) -> Float[np.ndarray, "n k"]:
    """The mean of the rows that share a label, on each of them."""
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(label, len(numbers)) for label in labels])
    alike = np.eye(len(numbers))[index]
    return (alike.T @ rows / alike.sum(0)[:, None])[index]


@dataclass(frozen=True, eq=False)
class SensoryPID:
    """The mean decomposition over conditions, each with `reference` P(Y | c), and what each condition has in it.

    Attributes
    ----------
    pid
        Atoms, bounds and gap in bits; converged where all conditions are.
    shares
        w_c, summing to one.
    solved
        The decomposition of each condition.
    reconciliation
        Mean total variation by which the rows of each source were moved to P(Y | c).
    """

    pid: PID
    shares: Float[np.ndarray, " c"]
    solved: tuple[DecisionPID, ...]
    reconciliation: Mapping[str, float]


def decompose(parts: Sequence[Condition | Decisions], *, tol: float = TOLERANCE) -> SensoryPID:
    """Decompose the decisions of every condition and take the mean.

    Parameters
    ----------
    parts
        As made by `conditions`, or the decisions of each; the share of each is that of its rows.
    tol
        Certified gap asked for in every condition, in bits.

    Examples
    --------
    >>> sure, open_ = np.eye(2), np.full((4, 2), 0.5)
    >>> copy = Decisions(joint=sure[[0, 0, 1, 1]], sources={"vision": sure[[0, 0, 1, 1]], "audio": open_})
    >>> xor = Decisions(joint=sure[[0, 1, 1, 0]], sources={"vision": open_, "audio": open_})
    >>> decompose([copy, xor]).pid
    PID(redundancy=0.000000, unique_vision=0.500000, unique_audio=0.000000, synergy=0.500000, gap=0.0e+00 bits)
    """
    decisions = [one.decisions if isinstance(one, Condition) else one for one in parts]
    solved = tuple(decision_pid(one, tol=tol) for one in decisions)
    counts = np.array([len(one) for one in decisions], dtype=float)
    shares = counts / counts.sum()

    def mean(values):
        return float(shares @ np.array(list(values)))

    means = {name: mean(getattr(one.pid, name) for one in solved) for name in ("redundancy", "synergy", "total", "lower", "upper", "gap")}
    pid = PID(
        sources=SOURCES,
        unique=MappingProxyType({name: mean(one.pid.unique[name] for one in solved) for name in SOURCES}),
        converged=all(one.pid.converged for one in solved),
        iterations=max(one.pid.iterations for one in solved),
        **means,
    )
    return SensoryPID(pid, shares, solved, MappingProxyType({name: mean(one.reconciliation[name] for one in solved) for name in SOURCES}))


def added(
    conditions: Sequence[Condition],
    reference: str,
    targets: Float[np.ndarray, "c *draws k"] | None = None,
    turn: Sequence[int] | None = None,
) -> Float[np.ndarray, " *draws"]:
    r"""What a reference other than P(Y | c) adds to redundancy, in bits: :math:`\sum_c w_c\,\mathrm{KL}(P(Y|c)\,\|\,r_c)`.

    The paper's terms are i_v = KL(p(y | v, t) || r), i_a and i_va likewise, and it is not known which r it takes. All joint rows of a
    condition average to P(Y | c), so do those of both sources after reconciliation, and so does every coupling Q. Hence for every r that is
    one within the condition, the mean of each of the three and I_Q grow by the same number, KL(P(Y | c) || r); R = i_v + i_a - i_Q grows by
    it, whereas U_v = i_Q - i_a, U_a = i_Q - i_v and S = i_va - i_Q stay. (Rows that are not reconciled grow by numbers of their own, and
    then every atom depends on r.) The references:

    * ``"question"`` or ``"template"``, P(Y | c) itself where that is given: adds nothing. ``"template"`` given the question adds what the
      text tells beyond its form, I(Y; question | template);
    * ``"sample"``, p(y | t), the mean over the condition's samples and over the draws of the noise (in which alone they differ): adds how
      far the answer to text and noise is from the mean answer to text and clip;
    * ``"marginal"``, the mean over all conditions: adds I(Y; C), all that the condition tells of the answer.

    Parameters
    ----------
    conditions
        As made by `conditions`.
    reference
        One of `REFERENCES` of what is given; a finer one would not be one within the condition.
    targets
        P(Y | c) of each condition, if not that of its decisions, or draws of it.
    turn
        For the floor, which of the `TURNS`: the draw of the noise that stands for both senses is left out of p(y | t), from which it
        would else differ in nothing.

    Raises
    ------
    ValueError
        For a reference that does not exist, or that is finer than the conditions.
    """
    given = conditions[0].given if conditions[0].given in REFERENCES else "template"
    if reference not in REFERENCES[given]:
        raise ValueError(f"reference {reference!r} is not one within each {given}, as are {', '.join(REFERENCES[given])}")
    targets = np.stack([one.decisions.target for one in conditions]) if targets is None else targets
    shares = np.array([len(one.decisions) for one in conditions], dtype=float)
    shares /= shares.sum()
    if reference == given:
        return np.zeros(targets.shape[1:-1])
    if reference == "sample":
        draws = list(range(len(NOISE)) if turn is None else turn[1:])
        told = np.stack([one.told[draws].mean(0) for one in conditions])
        against = told.reshape(len(conditions), *[1] * (targets.ndim - 2), -1)
    else:
        against = np.empty_like(targets)
        names = ["" if reference == "marginal" else (one.template, "" if one.template else one.question) for one in conditions]
        for name in set(names):
            here = np.array([other == name for other in names])
            against[here] = np.tensordot(shares[here] / shares[here].sum(), targets[here], 1)
    return np.tensordot(shares, rel_entr(targets, against).sum(-1), 1) / np.log(2)


def bootstrap(found: SensoryPID, decisions: Sequence[Decisions], n: int = 100, seed: int = 0) -> tuple[Draws, Float[np.ndarray, "c n k"]]:
    """Draws of the mean atoms, samples drawn anew within each condition, and of every P(Y | c).

    The shares of the conditions stay: it is the set of questions that was asked. Draws of different conditions are independent.
    """
    atoms, targets = {name: np.zeros(n) for name in found.pid.atoms}, []
    for index, (one, solved, share) in enumerate(zip(decisions, found.solved, found.shares, strict=True)):
        drawn = bootstrap_decisions(one, n, derive_seed(seed, index), solved=solved)
        for name, values in drawn.atoms.items():
            atoms[name] += share * values
        targets.append(drawn.target)
    return Draws(atoms, None), np.stack(targets)
