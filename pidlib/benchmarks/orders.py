"""Orders of the options that questions list, by letters or in words."""

import re
from collections.abc import Sequence
from copy import copy
from string import ascii_uppercase

from pidlib.benchmarks.sample import ANSWER_LETTER, Sample, listing

# The letter of an option, "A. " or "(A) ", with the line break, comma or blank before it.
_LETTERS = [re.compile(rf"((?:^|{before})\(?[A-Z][.:)] )") for before in ("\n", ", ", ",? ")]
_INSTRUCTION = re.compile(rf"([\n ]?{re.escape(ANSWER_LETTER)})")


def rotations(sample: Sample) -> list[tuple[Sample, list[int]]]:
    """Return a sample in all cyclic orders of its options, the given one first; [] without options.

    With each, the index of the candidate that now means what each candidate meant before: another
    letter, or the same word.
    """
    names, letters = list(sample.candidates), []
    head, marks, texts, tail = "", ["", *[", "] * (len(names) - 2), " or "], names, ["?"]
    if sample.options != listing(names):
        listed, *tail = _INSTRUCTION.split(sample.options, maxsplit=1)
        for pattern in _LETTERS:
            head, *parts = pattern.split(listed)
            marks, texts = parts[::2], parts[1::2]
            letters = [mark.strip("\n, (.:)") for mark in marks]
            if len(letters) > 1 and letters == list(ascii_uppercase[: len(letters)]):
                break
        else:
            return []
        if not set(letters) <= set(names):
            return []
        if not tail:  # another instruction on the next line
            texts[-1], *tail = texts[-1].partition("\n")
    orders = []
    for shift in range(len(texts)):
        moved = dict(zip(letters, letters[-shift:] + letters[:-shift], strict=True))
        columns = [names.index(moved.get(name, name)) for name in names]
        turned = map("".join, zip(marks, texts[shift:] + texts[:shift], strict=True))
        order = copy(sample)  # without decoding its picture
        answer = names[columns[names.index(sample.answer)]]
        vars(order).update(options="".join([head, *turned, *tail]), answer=answer)
        orders.append((order, columns))
    return orders


def in_orders(samples: Sequence[Sample], orders: int) -> list[list[Sample]]:
    """Return the samples in each of the first cyclic orders of their options.

    Lists that are shorter than others start again. Raises a ValueError unless all samples list
    options, in `Sample.options`, and some have as many as `orders`.
    """
    if orders == 1:
        return [list(samples)]
    turned = [rotations(sample) for sample in samples]
    names = [s.sample_id for s, each in zip(samples, turned, strict=True) if not each]
    if names:
        lack = f"{len(names)} of {len(samples)} samples list none, such as {names[0]}"
        ways = "load_benchmark(..., options=True), load_table(..., lettered=True) or orders=1"
        raise ValueError(f"orders={orders} of the options, but {lack}; give {ways}")
    if orders > (most := max(map(len, turned))):
        raise ValueError(f"orders={orders}, but questions have {most} options; give {most} or less")
    return [[each[order % len(each)][0] for each in turned] for order in range(orders)]
