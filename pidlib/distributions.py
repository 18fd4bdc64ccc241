"""Joint tables: from labels, and the zoo of gates whose atoms are known in closed form.

A gate is a joint P(x1, x2, y) with its exact atoms in bits. `GATES` maps names to gates; `gate` looks one up and helps with the name.
"""

import difflib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

Outcomes = Mapping[tuple[Hashable, Hashable, Hashable], float]
Atoms = tuple[float, float, float, float]

BROJA = "Bertschinger et al. (2014), Quantifying unique information, Entropy 16(4)"
WILLIAMS = "Williams, Beer (2010), Nonnegative decomposition of multivariate information, arXiv:1004.2515"
GRIFFITH = "Griffith, Koch (2014), Quantifying synergistic mutual information, in Guided Self-Organization"
JAMES = "James, Crutchfield (2017), Multivariate dependence beyond Shannon information, Entropy 19(10)"
INCE = "Ince (2017), Measuring multivariate redundant information with pointwise common change in surprisal, Entropy 19(7)"
FINN = "Finn, Lizier (2018), Pointwise partial information decomposition, Entropy 20(4)"
DERIVED = "follows from the definition"


@dataclass(frozen=True)
class Gate:
    """A joint with a known decomposition.

    Attributes
    ----------
    name
        Its key in `GATES`.
    outcomes
        Probability of each (x1, x2, y); values are any labels that can be ordered.
    atoms
        Redundancy, unique information of the first and of the second source, synergy, in bits.
    source
        Where the gate, or the closed form, is from.
    """

    name: str
    outcomes: Outcomes
    atoms: Atoms
    source: str

    def joint(self) -> Float[Tensor, "x1 x2 y"]:
        """Its table of probabilities, values in the order of their labels."""
        codes = [{label: code for code, label in enumerate(sorted(set(labels)))} for labels in zip(*self.outcomes, strict=True)]
        table = torch.zeros([len(code) for code in codes], dtype=torch.float64)
        for outcome, mass in self.outcomes.items():
            table[tuple(code[label] for code, label in zip(codes, outcome, strict=True))] += float(mass)
        return table


def gate(name: str) -> Gate:
    """The gate of that name.

    >>> gate("AND").atoms
    (0.3112..., 0.0, 0.0, 0.5)
    """
    if name not in GATES:
        near = difflib.get_close_matches(name.upper(), GATES, n=1, cutoff=0.4)
        raise KeyError(f"unknown gate {name!r}{f'; did you mean {near[0]!r}?' if near else ''}; GATES has {len(GATES)}: {', '.join(GATES)}")
    return GATES[name]


def joint_from_labels(x1: ArrayLike, x2: ArrayLike, y: ArrayLike, sizes: Sequence[int] | None = None) -> Int[Tensor, "x1 x2 y"]:
    """Count how often each triple of codes occurs.

    Parameters
    ----------
    x1, x2, y
        Codes 0, 1, ... of both sources and of the target, one for each sample.
    sizes
        Alphabet sizes, for tables that are to be compared; by default as many as the largest codes need.

    Raises
    ------
    ValueError
        If the codes are not whole numbers from zero on, differ in length, or exceed the sizes.

    Examples
    --------
    >>> joint_from_labels([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]).shape
    torch.Size([2, 2, 2])
    """
    codes = [torch.as_tensor(labels) for labels in (x1, x2, y)]
    if any(code.ndim != 1 for code in codes) or len({len(code) for code in codes}) != 1 or not len(codes[0]):
        raise ValueError(f"expected one code for each sample in x1, x2 and y, but got shapes {[tuple(code.shape) for code in codes]}")
    for name, code in zip(("x1", "x2", "y"), codes, strict=True):
        if code.is_floating_point() or code.is_complex() or (code < 0).any():
            raise ValueError(f"codes of {name} must be whole numbers from 0 on, but are {code.dtype} from {code.min()}; number the labels")
    needed = [int(code.max()) + 1 for code in codes]
    sizes = needed if sizes is None else list(sizes)
    if len(sizes) != 3 or any(size < least for size, least in zip(sizes, needed, strict=True)):
        raise ValueError(f"sizes {sizes} do not hold the codes, which need {needed}")
    flat = (codes[0].long() * sizes[1] + codes[1].long()) * sizes[2] + codes[2].long()
    return torch.bincount(flat, minlength=math.prod(sizes)).view(sizes)


def h(p: float) -> float:
    """Entropy of a bit that is 1 with probability p, in bits."""
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q > 0)


def either(p: float, q: float) -> float:
    """Probability that exactly one of two independent events of probability p and q occurs."""
    return p * (1 - q) + q * (1 - p)


def outcomes_of(rule: Callable[..., tuple[Hashable, Hashable, Hashable]], *parts: Sequence[float]) -> Outcomes:
    """Outcomes rule(i, j, ...) = (x1, x2, y) of independent parts, each given by the weights of its values 0, 1, ..."""
    outcomes: dict[tuple[Hashable, Hashable, Hashable], float] = {}
    total = math.prod(sum(weights) for weights in parts)
    for values in product(*(range(len(weights)) for weights in parts)):
        outcome = rule(*values)
        mass = math.prod(weights[value] for weights, value in zip(parts, values, strict=True)) / total
        outcomes[outcome] = outcomes.get(outcome, 0.0) + mass
    return outcomes


def beside(first: Gate, second: Gate) -> Gate:
    """Two independent gates as one: every atom is the sum of theirs."""
    outcomes = {tuple(zip(s, t, strict=True)): p * q for (s, p), (t, q) in product(first.outcomes.items(), second.outcomes.items())}
    atoms = tuple(one + other for one, other in zip(first.atoms, second.atoms, strict=True))
    return Gate(f"{first.name} x {second.name}", outcomes, atoms, DERIVED)


def copy(m: int, n: int) -> Gate:
    """Y is the pair of two independent sources with m and n values."""
    return Gate(f"COPY {m}x{n}", outcomes_of(lambda i, j: (i, j, (i, j)), [1] * m, [1] * n), (0.0, math.log2(m), math.log2(n), 0.0), BROJA)


def correlated_copy(equal: float) -> Gate:
    """Y is the pair of two bits that are equal with the given probability."""
    outcomes = outcomes_of(lambda i, d: (i, i ^ d, (i, i ^ d)), [1, 1], [equal, 1 - equal])
    return Gate(f"COPY correlated {equal:g}", outcomes, (1 - h(equal), h(equal), h(equal), 0.0), BROJA)


def modular_sum(m: int) -> Gate:
    """Y is the sum modulo m of two independent sources with m values."""
    return Gate(f"MODSUM {m}", outcomes_of(lambda i, j: (i, j, (i + j) % m), [1] * m, [1] * m), (0.0, 0.0, 0.0, math.log2(m)), DERIVED)


def noisy_xor(e: float) -> Gate:
    """The exclusive or of two fair bits, flipped with probability e."""
    outcomes = outcomes_of(lambda i, j, n: (i, j, i ^ j ^ n), [1, 1], [1, 1], [1 - e, e])
    return Gate(f"XOR noise {e:g}", outcomes, (0.0, 0.0, 0.0, 1 - h(e)), DERIVED)


def noisy_copies(e1: float, e2: float) -> Gate:
    """A fair bit seen by both sources, flipped with probability e1 for the first and e2 >= e1 for the second."""
    outcomes = outcomes_of(lambda y, i, j: (y ^ i, y ^ j, y), [1, 1], [1 - e1, e1], [1 - e2, e2])
    return Gate(f"RDN noise {e1:g} {e2:g}", outcomes, (1 - h(e2), h(e2) - h(e1), 0.0, h(either(e1, e2)) - h(e2)), DERIVED)


def chain(e1: float, e2: float) -> Gate:
    """Y - X1 - X2: each bit is the one before it, flipped with probability e1, then e2."""
    outcomes = outcomes_of(lambda y, i, j: (y ^ i, y ^ i ^ j, y), [1, 1], [1 - e1, e1], [1 - e2, e2])
    e = either(e1, e2)
    return Gate(f"CHAIN {e1:g} {e2:g}", outcomes, (1 - h(e), h(e) - h(e1), 0.0, 0.0), BROJA)


def dice() -> Gate:
    """Y is the sum of two fair dice. They relate to it alike, so neither has unique information, and R = I(Y; X1) = H(Y) - log2 6."""
    outcomes = outcomes_of(lambda i, j: (i, j, i + j), [1] * 6, [1] * 6)
    total = -sum((6 - abs(d)) / 36 * math.log2((6 - abs(d)) / 36) for d in range(-5, 6))
    return Gate("DICE", outcomes, (total - math.log2(6), 0.0, 0.0, math.log2(6)), DERIVED)


def _zoo() -> dict[str, Gate]:
    fair, A, W = [1, 1], 0.75 * math.log2(4 / 3), math.log2(3) - 4 / 3
    xor = Gate("XOR", outcomes_of(lambda i, j: (i, j, i ^ j), fair, fair), (0.0, 0.0, 0.0, 1.0), WILLIAMS)
    both = Gate("AND", outcomes_of(lambda i, j: (i, j, i & j), fair, fair), (A, 0.0, 0.0, 0.5), BROJA)
    rdn = Gate("RDN", outcomes_of(lambda i: (i, i, i), fair), (1.0, 0.0, 0.0, 0.0), WILLIAMS)
    unq1 = Gate("UNQ1", outcomes_of(lambda i, j: (i, j, i), fair, fair), (0.0, 1.0, 0.0, 0.0), GRIFFITH)
    gates = [
        xor,
        both,
        Gate("OR", outcomes_of(lambda i, j: (i, j, i | j), fair, fair), (A, 0.0, 0.0, 0.5), BROJA),
        rdn,
        unq1,
        Gate("UNQ", copy(2, 2).outcomes, (0.0, 1.0, 1.0, 0.0), GRIFFITH),
        copy(3, 4),
        correlated_copy(0.8),
        Gate("SUM", outcomes_of(lambda i, j: (i, j, i + j), fair, fair), (0.5, 0.0, 0.0, 1.0), GRIFFITH),
        Gate("XORAND", outcomes_of(lambda i, j: (i, j, (i ^ j, i & j)), fair, fair), (0.5, 0.0, 0.0, 1.0), BROJA),
        Gate("RDNXOR", beside(rdn, xor).outcomes, (1.0, 0.0, 0.0, 1.0), GRIFFITH),
        Gate("RDNUNQXOR", beside(beside(rdn, copy(2, 2)), xor).outcomes, (1.0, 1.0, 1.0, 1.0), GRIFFITH),
        beside(both, xor),
        beside(both, both),
        beside(rdn, unq1),
        modular_sum(3),
        modular_sum(5),
        noisy_xor(0.1),
        noisy_copies(0.05, 0.2),
        chain(0.1, 0.2),
        Gate("DYADIC", outcomes_of(lambda i, j, m: ((i, j), (j, m), (i, m)), fair, fair, fair), (0.0, 1.0, 1.0, 0.0), JAMES),
        Gate("TRIADIC", outcomes_of(lambda t, i, j: ((t, i), (t, j), (t, i ^ j)), fair, fair, fair), (1.0, 0.0, 0.0, 1.0), JAMES),
        Gate("W", {(0, 0, 1): 1 / 3, (0, 1, 0): 1 / 3, (1, 0, 0): 1 / 3}, (W, 0.0, 0.0, 2 / 3), DERIVED),
        Gate("REDUCED OR", {(0, 0, 0): 1 / 2, (0, 1, 1): 1 / 4, (1, 0, 1): 1 / 4}, (A, 0.0, 0.0, 1 - A), INCE),
        Gate("PNT UNQ", {(0, 1, 1): 1 / 4, (1, 0, 1): 1 / 4, (0, 2, 2): 1 / 4, (2, 0, 2): 1 / 4}, (0.5, 0.0, 0.0, 0.5), FINN),
        dice(),
    ]
    return {known.name: known for known in gates}


GATES: Mapping[str, Gate] = MappingProxyType(_zoo())
