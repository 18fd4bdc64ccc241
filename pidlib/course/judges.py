"""Exercises: how arguments are drawn, and who judges an answer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from pidlib.decomposition.information import mutual_information

TOLERANCE = 1e-6  # bits
NATS = np.log(2)  # nats in a bit
# Limits of a profile, as in `pidlib.profiles.report`, which takes long to import.
FALLBACK, MOVED, LEAST_UNIQUE = 0.5, 0.2, 0.005
Judge = Callable[..., str]  # of an answer and the arguments: a line, empty if the answer is right


class Exercise(NamedTuple):
    """A function to be written: how arguments are drawn, and who judges an answer."""

    draw: Callable[[np.random.Generator], tuple]
    judge: Judge


TIPS = {
    "nan": "it is not a number for some tables: 0 log 0 counts as 0",
    "nats": "these are nats; divide by log 2",
    "sign": "the sign is reversed",
    "no_pair": "the uncertainty of the pair, H(X,Y), must be taken away",
    "conditional_entropy": "this is what remains unknown, H(Y|X); information is what is gained",
    "other_condition": "it is conditioned on the wrong variable: X2 is given, axis 1",
    "not_conditional": "this is I(Y;X1), without the condition",
    "of_sources": "it takes I(X1;X2), of the sources about each other, in place of I(Y;X1,X2)",
    "swapped": "U1 and U2 are exchanged: axis 0 is X1, axis 1 is X2",
    "sources_only": "compare the pairs (x1, y) and (x2, y); that of the sources may differ",
    "single_only": "compare pairs: x1 with y, and x2 with y; single variables are not enough",
    "columns": "the columns have these sums; rows are asked for",
    "unscaled": "divide by the sum that a row has first",
    "one_sweep": "one sweep is not enough: after the columns the rows are off again",
    "added": "mass is added and none taken: subtract t from the two other cells",
    "once": "samples that occur twice count once; table[x1, x2, y] += 1 does that, np.add.at not",
    "cells": "these are all cells; each margin gives one up: (k - 1)(m - 1)",
    "no_one": "it can be 0, after however few permutations: the sample itself counts as one",
    "ties": "a permutation that is as large counts too",
    "rounded_down": "one sample too few: round up",
    "one_source": "both sources together have k x k codes",
    "without_redundancy": "the synergy lacks a term: what both sources tell is subtracted twice",
    "not_mean_one": "their mean is not 1: divide by it",
    "not_refilled": "a shortcut that has weight 3 takes a place: choose among the other samples",
    "both_lists": "a sample in both lists keeps the weight of a large gap",
    "smallest": "the largest gaps get more weight, not the smallest",
    "likely": "these samples do without the picture: count those below 1/2",
    "of_all": "these are shares of all samples; divide by the size of each list",
    "lists_swapped": "the raised list comes first",
    "by_row": "a row of one table is not the pair of the same row of the other: match the seeds",
    "by_value": "sorted by accuracy, they are no pairs any more: sort by seed",
    "one_sided": "only one direction is counted: compare absolute sums",
    "as_they_are": "sums as large as the observed one count too, among them the observed one",
    "without_null": "a value within its null is no evidence, whatever its interval",
    "without_interval": "an interval that reaches 0 is no evidence",
    "without_diagnostics": "fallback and moved decide too",
    "of_vocabulary": "rows must sum to one over the candidates, not over the whole vocabulary",
    "no_fallback": "where the candidates together have less than tau, the decision is uniform",
    "zero_rows": "a fallback decision is uniform, 1 / k for each of k candidates, and not zero",
    "best_only": "tau is for the mass of all candidates together, not for the likeliest one",
    "unweighted": "pairs have weights: this is the mean with equal ones",
    "undivided": "this is P(v, y); divide by the weight of the picture",
    "moved_only": "fallback of one source alone counts too",
    "fallback_only": "how far reconciliation moved the answers counts too",
    "all_modes": "noise and reconciliation concern the masked mode; the others have neither",
    "masked_only": "fallback of the full answers concerns every mode",
    "nothing_shared": "the other source tells nothing that the certain one does not: it is all R",
    "below_zero": "the lower limit is negative for some; no atom of BROJA is",
    "smaller_one": "subtract the larger information: no unique atom may be negative",
    "reversed": "the order is [lowest, highest]",
    "inverse": "a high temperature makes rows more alike; the exponent is 1 / temperature",
    "unnormalized": "rows must sum to one",
    "both_sources": "one bad source is enough: take the larger value of the two",
    "means": "one bad source is enough: take the larger value of the two, not the mean",
    "larger_unique": "a decomposition is collapsed if the smaller unique atom is 0",
    "floor_reversed": "the objection is that the interval reaches the floor, low <= floor",
    "farthest": "these are the farthest centroids",
    "product": "a product of vectors grows with their length; compare distances",
    "padding": "it divides by the number of all positions, the padding too",
    "summed": "these are sums; a mean divides by the number of tokens",
    "rounded_up": "one code too many: round down",
    "one_of_two": "both sources have k codes: the bias has the square of k - 1",
    "same_weights": "a question with more samples must count more",
    "not_a_share": "divide the numbers of samples by their sum",
    "added_up": "this is a sum over questions; give a mean",
}


def plain(value: Any) -> Any:
    """Arrays, tensors, tuples and numbers as JSON has them."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set):
        return sorted(value)
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def like(right: Callable, **wrong: Callable) -> Judge:
    """A judge that compares with the right function; a wrong one that agrees has its line in TIPS.

    Compared are numbers, lists of them, and dictionaries of either.
    """

    def judge(value: Any, *arguments: Any) -> str:
        arguments = [np.array(each, float) for each in arguments]
        given, expected = numbers(value), numbers(plain(right(*arguments)))
        if given.shape != expected.shape:
            return f"it returns {given.size} numbers in place of {expected.size}"
        if not np.isfinite(given).all():
            return TIPS["nan"]
        if np.allclose(given, expected, rtol=0, atol=TOLERANCE):
            return ""
        for name, other in wrong.items():
            with np.errstate(all="ignore"):
                if np.allclose(given, numbers(plain(other(*arguments))), rtol=0, atol=TOLERANCE):
                    return TIPS[name]
        if expected.size > 4:
            return "values differ from those of pidlib"
        return f"it gives {np.round(given, 3)} where pidlib has {np.round(expected, 3)}"

    return judge


def numbers(value: Any) -> np.ndarray:
    """An answer as an array; values of a dictionary in the order of its keys."""
    if isinstance(value, dict):
        value = [value[key] for key in sorted(value)]
    return np.array(value, float)


def table(*shape: int) -> Callable[[np.random.Generator], tuple]:
    """Draw one table of probabilities, with some cells that never occur."""

    def draw(generator: np.random.Generator) -> tuple:
        cells = generator.exponential(size=shape) * (generator.random(shape) < 0.8)
        cells.flat[0] += 0.1
        return ((cells / cells.sum()).tolist(),)

    return draw


def nothing(generator: np.random.Generator) -> tuple:
    """No arguments."""
    return ()


def informations(joint: np.ndarray) -> tuple[float, float, float]:
    """I(Y; X1), I(Y; X2) and I(Y; X1, X2) of a table [x1, x2, y]."""
    tables = joint.sum(1), joint.sum(0), joint.reshape(-1, joint.shape[-1])
    return tuple(float(mutual_information(table)) for table in tables)


def items(known: Callable[[], dict[str, Any]]) -> Judge:
    """A judge of several predictions, which names the first that is wrong and not what is right."""

    def judge(value: dict[str, Any]) -> str:
        for name, right in known().items():
            if name not in value or value[name] is None:
                return f"{name} is missing"
            is_number = isinstance(right, float)
            given = value[name]
            given = float(given) if is_number else {given} if isinstance(given, str) else set(given)
            if not (abs(given - right) < 0.01 if is_number else given == right):
                return f"look at {name} again"
        return ""

    return judge
