"""Orders of options: texts, answers, and where each candidate went."""

from dataclasses import replace

import pytest
from small_world import picture, sample

from pidlib.benchmarks import load
from pidlib.benchmarks.orders import in_orders, rotations
from pidlib.benchmarks.sample import ANSWER_LETTER, lettered_options, listing

LETTERS = ("A", "B", "C", "D")


def asked(options, candidates=LETTERS, answer="B"):
    return replace(sample(0), options=options, candidates=candidates, answer=answer)


@pytest.mark.parametrize(
    ("options", "turned"),
    [
        (
            "A. red\nB. blue, or B. so\nC. \n" + ANSWER_LETTER,
            "A. blue, or B. so\nB. \nC. red\n" + ANSWER_LETTER,
        ),
        (
            "Choices:\n(A) 5\n(B) 6\n(C) 7\nOne letter.",
            "Choices:\n(A) 6\n(B) 7\n(C) 5\nOne letter.",
        ),
        ("A: a., B: vitamin B: so, C: c", "A: vitamin B: so, B: c, C: a."),
        ("A. red B. two words C. blue", "A. two words B. blue C. red"),
        ("Options: A. x, B. y, C. z", "Options: A. y, B. z, C. x"),
        (f"A. x B. y C. z. {ANSWER_LETTER}", f"A. y B. z. C. x {ANSWER_LETTER}"),
    ],
)
def test_lettered_options_are_rotated_with_their_answer(options, turned):
    first, second, third = rotations(asked(options))
    assert first == (asked(options), [0, 1, 2, 3])
    assert (second[0].options, second[0].answer, second[1]) == (turned, "A", [2, 0, 1, 3])
    assert (third[0].answer, third[1]) == ("C", [1, 2, 0, 3])
    assert rotations(second[0])[2][0] == first[0]  # two places further: back again


def test_listed_words_are_rotated_and_stay_the_answers():
    words = ("red", "green", "blue")
    orders = rotations(asked(listing(words), words, "green"))
    expected = ["red, green or blue?", "green, blue or red?", "blue, red or green?"]
    assert [order.options for order, _ in orders] == expected
    assert {(order.answer, *columns) for order, columns in orders} == {("green", 0, 1, 2)}


def test_a_picture_in_a_file_is_not_decoded(tmp_path):
    picture(0).save(tmp_path / "a.png")
    item = replace(asked("A. x\nB. y"), image=tmp_path / "a.png")
    assert all(vars(order)["image"] == tmp_path / "a.png" for order, _ in rotations(item))


@pytest.mark.parametrize(
    "options",
    ["", "Answer with one word.", "A. red", "A. red\nC. blue\nB. no", "A. a\nE. b", "B. a\nC. b"],
)
def test_samples_without_options_are_refused(options):
    items = [asked("A. red\nB. blue"), replace(asked(options), sample_id="bare")]
    message = "orders=2 of the options, but 1 of 2 samples list none, such as bare; give .*orders=1"
    with pytest.raises(ValueError, match=message):
        in_orders(items, 2)
    assert in_orders(items, 1) == [items]


def test_shorter_lists_start_again_and_no_list_has_more_orders_than_options():
    items = [asked(lettered_options("xy")), asked(lettered_options("xyz"))]
    orders = in_orders(items, 3)
    assert [[each.options[3] for each in order] for order in orders] == [
        ["x"] * 2,
        ["y"] * 2,
        ["x", "z"],
    ]
    with pytest.raises(ValueError, match="orders=4, but questions have 3 options; give 3 or less"):
        in_orders(items, 4)


def test_benchmarks_with_options_have_orders():
    items = load("micro/scene", "test", n=4, options=True)
    assert {each.options for each in in_orders(items, 4)[3]} == {"snow, meadow, night or beach?"}
