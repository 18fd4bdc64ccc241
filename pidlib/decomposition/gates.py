"""Gates: joints P(x1, x2, y) whose atoms are known in closed form, in `GATES` by name."""

import itertools
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from pidlib._common import unknown_name

Triple = tuple[Hashable, Hashable, Hashable]
Outcomes = Mapping[Triple, float]

BROJA = "Bertschinger et al. (2014), Quantifying unique information, Entropy 16(4)"
WILLIAMS = "Williams, Beer (2010), Nonnegative decomposition of multivariate information"
GRIFFITH = "Griffith, Koch (2014), Quantifying synergistic mutual information"
JAMES = (
    "James, Crutchfield (2017), Multivariate dependence beyond Shannon information, Entropy 19(10)"
)
INCE = "Ince (2017), Measuring multivariate redundant information, Entropy 19(7)"
FINN = "Finn, Lizier (2018), Pointwise partial information decomposition, Entropy 20(4)"
DERIVED = "follows from the definition"


@dataclass(frozen=True)
class Gate:
    """A joint with known atoms: redundancy, unique to the first and second source, synergy; bits.

    `outcomes` maps (x1, x2, y), labels of any sortable type, to probabilities; `source` is the
    reference for the gate or its closed form.
    """

    name: str
    outcomes: Outcomes = field(repr=False)
    atoms: tuple[float, float, float, float]
    source: str

    def joint(self) -> Float[Tensor, "x1 x2 y"]:
        """Table of probabilities, with values in the order of their labels."""
        codes = [
            {label: code for code, label in enumerate(sorted(set(labels)))}
            for labels in zip(*self.outcomes, strict=True)
        ]
        table = torch.zeros([len(code) for code in codes], dtype=torch.float64)
        for outcome, mass in self.outcomes.items():
            cell = tuple(code[label] for code, label in zip(codes, outcome, strict=True))
            table[cell] += float(mass)
        return table


def gate(name: str) -> Gate:
    """Look up a gate.

    >>> gate("AND").atoms
    (0.3112..., 0.0, 0.0, 0.5)
    """
    if name not in GATES:
        raise KeyError(unknown_name("gate", name.upper(), GATES))
    return GATES[name]


def h(p: float) -> float:
    """Entropy of a bit that is 1 with probability p, in bits."""
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q > 0)


def either(p: float, q: float) -> float:
    """Probability of exactly one of two independent events of probability p and q."""
    return p * (1 - q) + q * (1 - p)


def outcomes_of(rule: Callable[..., Triple], *parts: Sequence[float]) -> Outcomes:
    """Outcomes rule(i, j, ...) of independent parts, each given by the weights of 0, 1, ..."""
    outcomes: dict[Triple, float] = {}
    total = math.prod(sum(weights) for weights in parts)
    for values in itertools.product(*(range(len(weights)) for weights in parts)):
        outcome = rule(*values)
        mass = math.prod(w[value] for w, value in zip(parts, values, strict=True)) / total
        outcomes[outcome] = outcomes.get(outcome, 0.0) + mass
    return outcomes


def product(first: Gate, second: Gate) -> Gate:
    """Two independent gates as one: every atom is the sum of theirs."""
    outcomes = {
        tuple(zip(s, t, strict=True)): p * q
        for (s, p), (t, q) in itertools.product(first.outcomes.items(), second.outcomes.items())
    }
    atoms = tuple(map(sum, zip(first.atoms, second.atoms, strict=True)))
    return Gate(f"{first.name} x {second.name}", outcomes, atoms, DERIVED)


def copy(m: int, n: int) -> Gate:
    """Y is the pair of two independent sources with m and n values."""
    outcomes = outcomes_of(lambda i, j: (i, j, (i, j)), [1] * m, [1] * n)
    return Gate(f"COPY {m}x{n}", outcomes, (0.0, math.log2(m), math.log2(n), 0.0), BROJA)


def correlated_copy(equal: float) -> Gate:
    """Y is the pair of two bits that are equal with the given probability."""
    outcomes = outcomes_of(lambda i, d: (i, i ^ d, (i, i ^ d)), [1, 1], [equal, 1 - equal])
    atoms = (1 - h(equal), h(equal), h(equal), 0.0)
    return Gate(f"COPY correlated {equal:g}", outcomes, atoms, BROJA)


def modular_sum(m: int) -> Gate:
    """Y is the sum modulo m of two independent sources with m values."""
    outcomes = outcomes_of(lambda i, j: (i, j, (i + j) % m), [1] * m, [1] * m)
    return Gate(f"MODSUM {m}", outcomes, (0.0, 0.0, 0.0, math.log2(m)), DERIVED)


def noisy_xor(e: float) -> Gate:
    """The exclusive or of two fair bits, flipped with probability e."""
    outcomes = outcomes_of(lambda i, j, n: (i, j, i ^ j ^ n), [1, 1], [1, 1], [1 - e, e])
    return Gate(f"XOR noise {e:g}", outcomes, (0.0, 0.0, 0.0, 1 - h(e)), DERIVED)


def noisy_copies(e1: float, e2: float) -> Gate:
    """Both sources are copies of a fair bit, flipped with probability e1 and e2 >= e1."""
    outcomes = outcomes_of(lambda y, i, j: (y ^ i, y ^ j, y), [1, 1], [1 - e1, e1], [1 - e2, e2])
    atoms = (1 - h(e2), h(e2) - h(e1), 0.0, h(either(e1, e2)) - h(e2))
    return Gate(f"RDN noise {e1:g} {e2:g}", outcomes, atoms, DERIVED)


def chain(e1: float, e2: float) -> Gate:
    """Y - X1 - X2: each bit is the previous one, flipped with probability e1, then e2."""
    outcomes = outcomes_of(
        lambda y, i, j: (y ^ i, y ^ i ^ j, y), [1, 1], [1 - e1, e1], [1 - e2, e2]
    )
    e = either(e1, e2)
    return Gate(f"CHAIN {e1:g} {e2:g}", outcomes, (1 - h(e), h(e) - h(e1), 0.0, 0.0), BROJA)


def dice() -> Gate:
    """Y is the sum of two fair dice; by symmetry U1 = U2 = 0, R = I(Y; X1) = H(Y) - log2 6."""
    outcomes = outcomes_of(lambda i, j: (i, j, i + j), [1] * 6, [1] * 6)
    total = -sum((6 - abs(d)) / 36 * math.log2((6 - abs(d)) / 36) for d in range(-5, 6))
    return Gate("DICE", outcomes, (total - math.log2(6), 0.0, 0.0, math.log2(6)), DERIVED)


def _zoo() -> dict[str, Gate]:
    A, W = 0.75 * math.log2(4 / 3), math.log2(3) - 4 / 3

    def bits(name: str, rule: Callable[..., Triple], n: int, atoms: tuple, source: str) -> Gate:
        return Gate(name, outcomes_of(rule, *[[1, 1]] * n), atoms, source)

    xor = bits("XOR", lambda i, j: (i, j, i ^ j), 2, (0.0, 0.0, 0.0, 1.0), WILLIAMS)
    both = bits("AND", lambda i, j: (i, j, i & j), 2, (A, 0.0, 0.0, 0.5), BROJA)
    rdn = bits("RDN", lambda i: (i, i, i), 1, (1.0, 0.0, 0.0, 0.0), WILLIAMS)
    unq1 = bits("UNQ1", lambda i, j: (i, j, i), 2, (0.0, 1.0, 0.0, 0.0), GRIFFITH)
    rdn_xor = product(rdn, xor).outcomes
    rdn_unq_xor = product(product(rdn, copy(2, 2)), xor).outcomes
    w = {(0, 0, 1): 1 / 3, (0, 1, 0): 1 / 3, (1, 0, 0): 1 / 3}
    reduced_or = {(0, 0, 0): 1 / 2, (0, 1, 1): 1 / 4, (1, 0, 1): 1 / 4}
    pnt_unq = {(0, 1, 1): 1 / 4, (1, 0, 1): 1 / 4, (0, 2, 2): 1 / 4, (2, 0, 2): 1 / 4}
    gates = [
        xor,
        both,
        bits("OR", lambda i, j: (i, j, i | j), 2, (A, 0.0, 0.0, 0.5), BROJA),
        rdn,
        unq1,
        Gate("UNQ", copy(2, 2).outcomes, (0.0, 1.0, 1.0, 0.0), GRIFFITH),
        copy(3, 4),
        correlated_copy(0.8),
        bits("SUM", lambda i, j: (i, j, i + j), 2, (0.5, 0.0, 0.0, 1.0), GRIFFITH),
        bits("XORAND", lambda i, j: (i, j, (i ^ j, i & j)), 2, (0.5, 0.0, 0.0, 1.0), BROJA),
        Gate("RDNXOR", rdn_xor, (1.0, 0.0, 0.0, 1.0), GRIFFITH),
        Gate("RDNUNQXOR", rdn_unq_xor, (1.0, 1.0, 1.0, 1.0), GRIFFITH),
        product(both, xor),
        product(both, both),
        product(rdn, unq1),
        modular_sum(3),
        modular_sum(5),
        noisy_xor(0.1),
        noisy_copies(0.05, 0.2),
        chain(0.1, 0.2),
        bits("DYADIC", lambda i, j, m: ((i, j), (j, m), (i, m)), 3, (0.0, 1.0, 1.0, 0.0), JAMES),
        bits(
            "TRIADIC", lambda t, i, j: ((t, i), (t, j), (t, i ^ j)), 3, (1.0, 0.0, 0.0, 1.0), JAMES
        ),
        Gate("W", w, (W, 0.0, 0.0, 2 / 3), DERIVED),
        Gate("REDUCED OR", reduced_or, (A, 0.0, 0.0, 1 - A), INCE),
        Gate("PNT UNQ", pnt_unq, (0.5, 0.0, 0.0, 0.5), FINN),
        dice(),
    ]
    return {gate.name: gate for gate in gates}


GATES: Mapping[str, Gate] = MappingProxyType(_zoo())
