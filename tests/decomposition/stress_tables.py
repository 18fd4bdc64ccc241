"""Random joints that are hard for a solver: peaked, sparse, small counts, wide ranges of mass."""

import numpy as np

SHAPES = [
    (2, 2, 2),
    (2, 3, 2),
    (3, 3, 3),
    (4, 4, 2),
    (5, 5, 3),
    (6, 3, 4),
    (8, 8, 2),
    (10, 10, 4),
    (12, 5, 6),
    (3, 7, 10),
    (20, 20, 4),
]
SHAPES += [(1, 5, 3), (5, 1, 3), (4, 4, 1)]


def peaked(size, generator):
    return generator.gamma(
        generator.choice([1, 0.3, 0.1, 0.03], size=(size[0], 1, 1, 1)), size=size
    )


def sparse(size, generator):
    return generator.gamma(1, size=size) * (
        generator.random(size) < generator.uniform(0.05, 0.6, size=(size[0], 1, 1, 1))
    )


def few_counts(size, generator):
    return generator.poisson(
        generator.gamma(0.5, size=size) * generator.choice([0.3, 1, 5], size=(size[0], 1, 1, 1))
    ).astype(float)


def many_orders(size, generator):
    return np.exp(
        generator.normal(size=size) * generator.choice([3, 6, 10], size=(size[0], 1, 1, 1))
    )


def nearly_deterministic(size, generator):
    table = np.zeros(size)
    np.put_along_axis(table, generator.integers(0, size[3], size=size[:3])[..., None], 1.0, 3)
    return table + 10.0 ** -generator.integers(2, 13, size=(size[0], 1, 1, 1)) * generator.random(
        size
    )


def mixtures(size, generator):
    parts = (generator.gamma(0.3, size=(size[0], values, 3)) for values in size[1:])
    return np.einsum("bxz,byz,bkz->bxyk", *parts)


def blocks(size, generator):
    x1, x2, y = np.indices(size[1:])
    return generator.gamma(0.5, size=size) * (
        ((x1 + x2 + y) % 3 == 0) | (generator.random(size) < 0.02)
    )


KINDS = [peaked, sparse, few_counts, many_orders, nearly_deterministic, mixtures, blocks]


def stress_tables(n: int, seed: int):
    """About n joints in batches of one shape and kind each: (kind, [b, x1, x2, y])."""
    generator = np.random.default_rng(seed)
    each = -(-n // (len(SHAPES) * len(KINDS)))
    for shape in SHAPES:
        for kind in KINDS:
            tables = kind((each, *shape), generator)
            tables[tables.sum((1, 2, 3)) == 0, 0, 0, 0] = 1
            yield kind.__name__, tables
