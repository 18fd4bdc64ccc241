"""Data sets of the hub used by both papers, and how a row of each becomes a question.

=========  =======================================  ==============================================
task       repository, files                        questions
=========  =======================================  ==============================================
mmbench    lmms-lab/MMBench, en/dev                 A-D; of the rows that repeat a question with
                                                    rotated options only the first [1, 2]
mmstar     Lin-Chen/MMStar, mmstar                  A-D, listed in the question itself [1, 2]
pope       lmms-lab/POPE, data/test                 Yes or No; random, popular and adversarial
                                                    together [1, 2]
mmmu       lmms-lab/MMMU, data/validation           A-D; no open questions, none with several
                                                    pictures or more options [1, 2]
pmc_vqa    mdwiratathya/PMC-VQA_small, data/test    A-D [1]; the original xmcmic/PMC-VQA keeps its
                                                    pictures in a separate archive
reefknot   MM-Hallu/Reefknot, yesno                 Yes or No [1]; JackChen-seu/Reefknot (GitHub)
                                                    has these columns, without pictures
vqav2      lmms-lab/VQAv2, data/validation          open, among the `N_OPEN_ANSWERS` most frequent
                                                    answers [1, 2]
gqa        lmms-lab/GQA, testdev_balanced           open, as above; questions and pictures are in
                                                    two tables, joined by imageId [1, 2]
nlvr2      lmms-lab/NLVR2,                          True or False, about two pictures placed side by
           data/balanced_test_public                side in one image [2]
foil       none known: your own folder              True or False; columns image, image_id, caption,
                                                    foil, as in foilv1.0_test_2017.json [2]
scienceqa  derek-thomas/ScienceQA, data/test        A-E; questions with a picture, without lecture
                                                    and solution [1, 2]
=========  =======================================  ==============================================

Columns and files are taken from [1] the card or listing of the data set and [2] public code that
reads it; no rows were downloaded to verify them. The parts of Reefknot and the candidates of VQAv2
and GQA are our choice, as the papers do not specify them.
"""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, NamedTuple

N_OPEN_ANSWERS = 10  # candidates of an open benchmark
YES_NO = ("Yes", "No")  # capitalized, as chat models begin an answer
TRUE_FALSE = ("True", "False")
LETTERS = tuple("ABCD")

_ROTATED = 10**6  # MMBench numbers rotations of question i as i + 10**6, i + 2 * 10**6 ...
_OPTIONS = re.compile(r"\n\s*(?:Options|Choices):\s*")  # before the options of MMStar
_LABEL = re.compile(r"^\s*[A-D]\s*:\s*")  # PMC-VQA: "A:Diffuse uptake pattern"


class Question(NamedTuple):
    """The content of one row."""

    question: str
    answer: str
    choices: tuple[str, ...] = ()  # the answers that the row offers; empty: any
    options: str = ""  # text that lists them, if they are letters


@dataclass(frozen=True)
class Source:
    """One data set."""

    repository: str | None  # its name on the hub; None if it is not there
    files: str  # glob pattern of the parquet files of its labeled part
    columns: tuple[str, ...]  # those that `read` uses
    read: Callable[[Mapping[str, Any]], Question | None]  # of a row; None skips it
    candidates: tuple[str, ...]  # if empty, the `N_OPEN_ANSWERS` most frequent answers
    images: tuple[str, ...] = ("image",)  # columns of pictures, placed side by side
    picture: str = ""  # column that names the picture; default: the hash of its bytes
    template: str = ""  # column that names the template; default: the task
    pictures: str = ""  # files of a separate table with columns id and image


def _choice(question: str, options: Iterable[str | None], answer: str | int) -> Question:
    """Return a question with lettered options; an integer answer counts them from 0."""
    pairs = zip(ascii_uppercase, options, strict=False)
    lettered = {letter: text for letter, text in pairs if text not in (None, "", "nan")}
    letter = ascii_uppercase[answer] if isinstance(answer, int) else str(answer).strip()
    lines = (f"{letter}. {text}" for letter, text in lettered.items())
    return Question(question, letter, tuple(lettered), "\n".join(lines))


def _closed(question: str, answer: str, choices: tuple[str, ...]) -> Question:
    return Question(question, answer.strip().capitalize(), choices)


def _text(row: Mapping[str, Any], column: str) -> str:
    """Return a cell that must contain text."""
    if not isinstance(row[column], str) or not row[column].strip():
        raise ValueError(f"its {column} is {row[column]!r}, not text")
    return row[column]


def _with_hint(row: Mapping[str, Any]) -> str:
    hint, question = row["hint"], _text(row, "question")
    return question if hint in (None, "", "nan") else f"{hint}\n{question}"


def _mmbench(row: Mapping[str, Any]) -> Question | None:
    if int(row["index"]) >= _ROTATED:
        return None
    return _choice(_with_hint(row), [row[letter] for letter in LETTERS], row["answer"])


def _mmstar(row: Mapping[str, Any]) -> Question:
    question, *options = _OPTIONS.split(_text(row, "question"), maxsplit=1)
    return Question(question, _text(row, "answer").strip(), LETTERS, *options)


def _mmmu(row: Mapping[str, Any]) -> Question | None:
    several = "<image 2>" in _text(row, "question") + _text(row, "options")
    if row["question_type"] != "multiple-choice" or several:
        return None
    return _choice(row["question"], _parse_list(row["options"]), row["answer"])


def _parse_list(text: str) -> list[str]:
    """Parse the literal of a list of strings."""
    try:
        options = ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        options = None
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        problem = f"its options {text[:80]!r} are no list of strings like \"['red', 'blue']\""
        raise ValueError(f"{problem}; is this another revision?")
    return options


def _pmc_vqa(row: Mapping[str, Any]) -> Question:
    options = [_LABEL.sub("", row[f"choice {letter}"] or "") for letter in "abcd"]
    return _choice(_text(row, "question"), options, row["answer label"])


def _nlvr2(row: Mapping[str, Any]) -> Question:
    question = f"Is this true or false of the two pictures? {_text(row, 'question')}"
    return _closed(question, str(row["answer"]), TRUE_FALSE)


def _foil(row: Mapping[str, Any]) -> Question:
    question = f"Is this caption true or false? {_text(row, 'caption')}"
    if row["foil"] is None:
        raise ValueError("its foil is None, neither true nor false")
    return _closed(question, str(not row["foil"]), TRUE_FALSE)


SOURCES = {
    "mmbench": Source(
        "lmms-lab/MMBench",
        "en/dev-*.parquet",
        ("index", "hint", "question", "A", "B", "C", "D", "answer", "category"),
        _mmbench,
        LETTERS,
        template="category",
    ),
    "mmstar": Source(
        "Lin-Chen/MMStar",
        "mmstar.parquet",
        ("question", "answer", "category"),
        _mmstar,
        LETTERS,
        template="category",
    ),
    "pope": Source(
        "lmms-lab/POPE",
        "data/test-*.parquet",
        ("question", "answer", "image_source", "category"),
        lambda row: _closed(_text(row, "question"), _text(row, "answer"), YES_NO),
        YES_NO,
        picture="image_source",
        template="category",
    ),
    "mmmu": Source(
        "lmms-lab/MMMU",
        "data/validation-*.parquet",
        ("question", "options", "answer", "question_type", "subfield"),
        _mmmu,
        LETTERS,
        images=("image_1",),
        template="subfield",
    ),
    "pmc_vqa": Source(
        "mdwiratathya/PMC-VQA_small",
        "data/test-*.parquet",
        ("caption", "question", "choice a", "choice b", "choice c", "choice d", "answer label"),
        _pmc_vqa,
        LETTERS,
        picture="caption",
    ),
    "reefknot": Source(
        "MM-Hallu/Reefknot",
        "yesno/*.parquet",
        ("image_id", "query_prompt", "label", "relation_type"),
        lambda row: _closed(_text(row, "query_prompt"), _text(row, "label"), YES_NO),
        YES_NO,
        picture="image_id",
        template="relation_type",
    ),
    "vqav2": Source(
        "lmms-lab/VQAv2",
        "data/validation-*.parquet",
        ("question", "multiple_choice_answer", "image_id", "question_type"),
        lambda row: _closed(_text(row, "question"), _text(row, "multiple_choice_answer"), ()),
        (),
        picture="image_id",
        template="question_type",
    ),
    "gqa": Source(
        "lmms-lab/GQA",
        "testdev_balanced_instructions/testdev-*.parquet",
        ("question", "answer", "imageId"),
        lambda row: _closed(_text(row, "question"), _text(row, "answer"), ()),
        (),
        picture="imageId",
        pictures="testdev_balanced_images/testdev-*.parquet",
    ),
    "nlvr2": Source(
        "lmms-lab/NLVR2",
        "data/balanced_test_public-*.parquet",
        ("question", "answer"),
        _nlvr2,
        TRUE_FALSE,
        images=("left_image", "right_image"),
    ),
    "foil": Source(
        None,
        "test-*.parquet",
        ("image_id", "caption", "foil"),
        _foil,
        TRUE_FALSE,
        picture="image_id",
    ),
    "scienceqa": Source(
        "derek-thomas/ScienceQA",
        "data/test-*.parquet",
        ("question", "choices", "answer", "hint", "subject"),
        lambda row: _choice(_with_hint(row), row["choices"], row["answer"]),
        tuple("ABCDE"),
        template="subject",
    ),
}
