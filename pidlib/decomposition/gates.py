"""Gates: joints P(x1, x2, y) whose atoms are known in closed form, in `GATES` by name.

>>> GATES["AND"].atoms
(0.3112..., 0.0, 0.0, 0.5)

XOR, RDN: Williams, Beer (2010), Nonnegative decomposition of multivariate information. AND, OR,
COPY, XORAND, CHAIN: Bertschinger et al. (2014), Quantifying unique information, Entropy 16(4). UNQ,
SUM, RDNXOR: Griffith, Koch (2014), Quantifying synergistic mutual information. DYADIC, TRIADIC:
James, Crutchfield (2017), Multivariate dependence beyond Shannon information. REDUCED OR: Ince
(2017), Entropy 19(7). PNT UNQ: Finn, Lizier (2018), Entropy 20(4). The others: by the definition.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

Triple = tuple[Hashable, Hashable, Hashable]
Rule = Callable[..., Triple]
Atoms = tuple[float, float, float, float]
BIT = (1, 1)  # weights of a fair bit


@dataclass(frozen=True)
class Gate:
    """A joint and its atoms in bits: redundancy, unique to the first and second source, synergy."""

    name: str
    outcomes: Mapping[Triple, float] = field(repr=False)  # (x1, x2, y), sortable: probability
    atoms: Atoms

    def joint(self) -> Float[Tensor, "x1 x2 y"]:
        """Table of probabilities, with values in the order of their labels."""
        alphabets = [sorted(set(labels)) for labels in zip(*self.outcomes, strict=True)]
        table = torch.zeros([len(alphabet) for alphabet in alphabets], dtype=torch.float64)
        for outcome, mass in self.outcomes.items():
            table[tuple(map(list.index, alphabets, outcome))] += mass
        return table


def h(p: float) -> float:
    """Entropy of a bit that is 1 with probability p, in bits."""
    return -sum(q * math.log2(q) for q in (p, 1 - p) if q > 0)


def _gate(name: str, atoms: Atoms, rule: Rule, *parts: Sequence[float]) -> Gate:
    """Gate with outcomes rule(i, j, ...) of independent parts, given by the weights of 0, 1, ..."""
    outcomes: dict[Triple, float] = defaultdict(float)
    total = math.prod(map(sum, parts))
    for values_with_weights in itertools.product(*map(enumerate, parts)):
        values, weights = zip(*values_with_weights, strict=True)
        outcomes[rule(*values)] += math.prod(weights) / total
    return Gate(name, dict(outcomes), atoms)


def product(first: Gate, second: Gate) -> Gate:
    """Two independent gates as one: every atom is the sum of theirs."""
    outcomes = {
        tuple(zip(s, t, strict=True)): p * q
        for (s, p), (t, q) in itertools.product(first.outcomes.items(), second.outcomes.items())
    }
    atoms = tuple(map(sum, zip(first.atoms, second.atoms, strict=True)))
    return Gate(f"{first.name} x {second.name}", outcomes, atoms)


def copy(m: int, n: int) -> Gate:
    """Y is the pair of two independent sources with m and n values."""
    atoms = 0.0, math.log2(m), math.log2(n), 0.0
    return _gate(f"COPY {m}x{n}", atoms, lambda i, j: (i, j, (i, j)), [1] * m, [1] * n)


def correlated_copy(equal: float) -> Gate:
    """Y is the pair of two bits that are equal with the given probability."""
    name, atoms = f"COPY correlated {equal:g}", (1 - h(equal), h(equal), h(equal), 0.0)
    return _gate(name, atoms, lambda i, d: (i, i ^ d, (i, i ^ d)), BIT, [equal, 1 - equal])


def modular_sum(m: int) -> Gate:
    """Y is the sum modulo m of two independent sources with m values."""
    atoms = 0.0, 0.0, 0.0, math.log2(m)
    return _gate(f"MODSUM {m}", atoms, lambda i, j: (i, j, (i + j) % m), [1] * m, [1] * m)


def noisy_xor(e: float) -> Gate:
    """The exclusive or of two fair bits, flipped with probability e."""
    name, atoms = f"XOR noise {e:g}", (0.0, 0.0, 0.0, 1 - h(e))
    return _gate(name, atoms, lambda i, j, n: (i, j, i ^ j ^ n), BIT, BIT, [1 - e, e])


def noisy_copies(e1: float, e2: float) -> Gate:
    """Both sources are copies of a fair bit, flipped with probability e1 and e2 >= e1."""
    name, flips = f"RDN noise {e1:g} {e2:g}", ([1 - e1, e1], [1 - e2, e2])
    atoms = 1 - h(e2), h(e2) - h(e1), 0.0, h(e1 * (1 - e2) + e2 * (1 - e1)) - h(e2)
    return _gate(name, atoms, lambda y, i, j: (y ^ i, y ^ j, y), BIT, *flips)


def chain(e1: float, e2: float) -> Gate:
    """Y - X1 - X2: each bit is the previous one, flipped with probability e1, then e2."""
    name, flips = f"CHAIN {e1:g} {e2:g}", ([1 - e1, e1], [1 - e2, e2])
    both = h(e1 * (1 - e2) + e2 * (1 - e1))  # H(X2 | Y): exactly one of two flips
    atoms = 1 - both, both - h(e1), 0.0, 0.0
    return _gate(name, atoms, lambda y, i, j: (y ^ i, y ^ i ^ j, y), BIT, *flips)


def _zoo() -> list[Gate]:
    A, W = 0.75 * math.log2(4 / 3), math.log2(3) - 4 / 3
    # by symmetry the dice have no unique information, so R = I(Y; X1) = H(Y) - log2 6
    sums = [(6 - abs(d)) / 36 for d in range(-5, 6)]
    of_dice = -sum(p * math.log2(p) for p in sums) - math.log2(6), 0.0, 0.0, math.log2(6)
    xor = _gate("XOR", (0.0, 0.0, 0.0, 1.0), lambda i, j: (i, j, i ^ j), BIT, BIT)
    both = _gate("AND", (A, 0.0, 0.0, 0.5), lambda i, j: (i, j, i & j), BIT, BIT)
    either = _gate("OR", both.atoms, lambda i, j: (i, j, i | j), BIT, BIT)
    rdn = _gate("RDN", (1.0, 0.0, 0.0, 0.0), lambda i: (i, i, i), BIT)
    unq1 = _gate("UNQ1", (0.0, 1.0, 0.0, 0.0), lambda i, j: (i, j, i), BIT, BIT)
    unq = replace(copy(2, 2), name="UNQ")
    rdn_xor, rdn_unq_xor = product(rdn, xor), product(product(rdn, unq), xor)
    bits = BIT, BIT, BIT
    w = {(0, 0, 1): 1 / 3, (0, 1, 0): 1 / 3, (1, 0, 0): 1 / 3}
    reduced_or = {(0, 0, 0): 1 / 2, (0, 1, 1): 1 / 4, (1, 0, 1): 1 / 4}
    pnt_unq = {(0, 1, 1): 1 / 4, (1, 0, 1): 1 / 4, (0, 2, 2): 1 / 4, (2, 0, 2): 1 / 4}
    bases = xor, both, either, rdn, unq1, unq, copy(3, 4), correlated_copy(0.8)
    products = replace(rdn_xor, name="RDNXOR"), replace(rdn_unq_xor, name="RDNUNQXOR")
    products += product(both, xor), product(both, both), product(rdn, unq1)
    families = modular_sum(3), modular_sum(5), noisy_xor(0.1), noisy_copies(0.05, 0.2)
    return [
        *bases,
        _gate("SUM", (0.5, 0.0, 0.0, 1.0), lambda i, j: (i, j, i + j), BIT, BIT),
        _gate("XORAND", (0.5, 0.0, 0.0, 1.0), lambda i, j: (i, j, (i ^ j, i & j)), BIT, BIT),
        *products,
        *families,
        chain(0.1, 0.2),
        _gate("DYADIC", unq.atoms, lambda i, j, m: ((i, j), (j, m), (i, m)), *bits),
        _gate("TRIADIC", rdn_xor.atoms, lambda t, i, j: ((t, i), (t, j), (t, i ^ j)), *bits),
        Gate("W", w, (W, 0.0, 0.0, 2 / 3)),
        Gate("REDUCED OR", reduced_or, (A, 0.0, 0.0, 1 - A)),
        Gate("PNT UNQ", pnt_unq, (0.5, 0.0, 0.0, 0.5)),
        _gate("DICE", of_dice, lambda i, j: (i, j, i + j), [1] * 6, [1] * 6),
    ]


GATES: Mapping[str, Gate] = MappingProxyType({gate.name: gate for gate in _zoo()})
