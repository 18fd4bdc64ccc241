"""Data sets of the hub used by both papers, and how a row of each becomes a question.

Columns and files are taken from the cards of the data sets and from public code that reads them: of
PMC-VQA and Reefknot from the card alone, of NLVR2 and FOIL from code alone. No rows were downloaded
to verify them. The parts of Reefknot and the candidates of VQAv2 and GQA are our choice, as the
papers do not specify them.
"""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from string import ascii_uppercase
from typing import Any, NamedTuple

N_OPEN_ANSWERS = 10  # candidates of an open benchmark
YES_NO = ("Yes", "No")  # capitalized, as chat models begin an answer
TRUE_FALSE = ("True", "False")
LETTERS = tuple("ABCD")

_ROTATED = 10**6  # from here on, MMBench repeats questions with rotated options: left out
_OPTIONS = re.compile(r"\n\s*(?:Options|Choices):\s*")  # before the options of MMStar
_LABEL = re.compile(r"^\s*[A-D]\s*:\s*")  # PMC-VQA: "A:Diffuse uptake pattern"

Cells = Mapping[str, Any]  # of one row, by column


class Question(NamedTuple):
    """The content of one row."""

    question: str
    answer: str
    choices: tuple[str, ...] = ()  # the answers that the row offers; empty: all candidates
    options: str = ""  # text that lists them, if they are letters


class Source(NamedTuple):
    """One data set."""

    repository: str | None  # its name on the hub; None if it is not there
    files: str  # glob pattern of the parquet files of its labeled part
    read: Callable[[Cells], Question | None]  # of a row; None skips it
    candidates: tuple[str, ...] = ()  # if empty, the `N_OPEN_ANSWERS` most frequent answers
    images: tuple[str, ...] = ("image",)  # columns of pictures, placed side by side
    picture: str = ""  # column that names the picture; default: the hash of its bytes
    template: str = ""  # column that names the template; default: the task
    pictures: str = ""  # files of a separate table with columns id and image


def _text(row: Cells, column: str) -> str:
    """Return a cell that must contain text."""
    if not isinstance(row[column], str) or not row[column].strip():
        raise ValueError(f"its {column} is {row[column]!r}, not text")
    return row[column]


def _is_empty(cell: Any) -> bool:
    return cell is None or str(cell) in ("", "nan")


def _words(question: str, answer: object) -> Question:
    return Question(question, str(answer).strip().capitalize())


def _plain(question: str = "question", answer: str = "answer") -> Callable[[Cells], Question]:
    """Return a reader of the text in two columns."""
    return lambda row: _words(_text(row, question), _text(row, answer))


def _choice(
    row: Cells, options: Iterable[str | None], hint: str | None = None, answer: str = "answer"
) -> Question:
    """Return a question with lettered options; an integer answer counts them from 0."""
    question, right = _text(row, "question"), row[answer]
    pairs = zip(ascii_uppercase, options, strict=False)
    lettered = {letter: text for letter, text in pairs if not _is_empty(text)}
    letter = ascii_uppercase[right] if isinstance(right, int) else str(right).strip()
    lines = (f"{letter}. {text}" for letter, text in lettered.items())
    question = question if _is_empty(hint) else f"{hint}\n{question}"
    return Question(question, letter, tuple(lettered), "\n".join(lines))


def _mmbench(row: Cells) -> Question | None:
    options = [row[letter] for letter in LETTERS]
    return _choice(row, options, row["hint"]) if int(row["index"]) < _ROTATED else None


def _mmstar(row: Cells) -> Question:
    question, *options = _OPTIONS.split(_text(row, "question"), maxsplit=1)
    return Question(question, _text(row, "answer").strip(), LETTERS, *options)


def _mmmu(row: Cells) -> Question | None:
    several = "<image 2>" in _text(row, "question") + _text(row, "options")
    if row["question_type"] != "multiple-choice" or several:
        return None
    try:
        options = ast.literal_eval(row["options"])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        options = None
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        problem = f"its options {row['options'][:80]!r} are no list of strings"
        raise ValueError(f"{problem} like \"['red', 'blue']\"; is this another revision?")
    return _choice(row, options)


def _pmc_vqa(row: Cells) -> Question:
    options = [_LABEL.sub("", row[f"choice {letter}"] or "") for letter in "abcd"]
    return _choice(row, options, answer="answer label")


def _nlvr2(row: Cells) -> Question:
    question = f"Is this true or false of the two pictures? {_text(row, 'question')}"
    return _words(question, row["answer"])


def _foil(row: Cells) -> Question:
    question = f"Is this caption true or false? {_text(row, 'caption')}"
    if row["foil"] is None:
        raise ValueError("its foil is None, neither true nor false")
    return _words(question, not row["foil"])


def _scienceqa(row: Cells) -> Question:
    if not isinstance(row["choices"], list):
        raise ValueError(f"its choices {row['choices']!r} are no list")
    return _choice(row, row["choices"], row["hint"])


TASKS = {
    "mmbench": Source(
        "lmms-lab/MMBench", "en/dev-*.parquet", _mmbench, LETTERS, template="category"
    ),
    "mmstar": Source("Lin-Chen/MMStar", "mmstar.parquet", _mmstar, LETTERS, template="category"),
    "pope": Source(  # random, popular and adversarial together
        "lmms-lab/POPE",
        "data/test-*.parquet",
        _plain(),
        YES_NO,
        picture="image_source",
        template="category",
    ),
    "mmmu": Source(
        "lmms-lab/MMMU",
        "data/validation-*.parquet",
        _mmmu,
        LETTERS,
        images=("image_1",),
        template="subfield",
    ),
    # The original xmcmic/PMC-VQA keeps its pictures in a separate archive.
    "pmc_vqa": Source(
        "mdwiratathya/PMC-VQA_small", "data/test-*.parquet", _pmc_vqa, LETTERS, picture="caption"
    ),
    "reefknot": Source(  # JackChen-seu/Reefknot (GitHub) has these columns, without pictures
        "MM-Hallu/Reefknot",
        "yesno/*.parquet",
        _plain("query_prompt", "label"),
        YES_NO,
        picture="image_id",
        template="relation_type",
    ),
    "vqav2": Source(
        "lmms-lab/VQAv2",
        "data/validation-*.parquet",
        _plain(answer="multiple_choice_answer"),
        picture="image_id",
        template="question_type",
    ),
    "gqa": Source(
        "lmms-lab/GQA",
        "testdev_balanced_instructions/testdev-*.parquet",
        _plain(),
        picture="imageId",
        pictures="testdev_balanced_images/testdev-*.parquet",
    ),
    "nlvr2": Source(
        "lmms-lab/NLVR2",
        "data/balanced_test_public-*.parquet",
        _nlvr2,
        TRUE_FALSE,
        images=("left_image", "right_image"),
    ),
    # Columns as in foilv1.0_test_2017.json; not on the hub.
    "foil": Source(None, "test-*.parquet", _foil, TRUE_FALSE, picture="image_id"),
    "scienceqa": Source(  # questions with a picture, without lecture and solution
        "derek-thomas/ScienceQA",
        "data/test-*.parquet",
        _scienceqa,
        (*LETTERS, "E"),
        template="subject",
    ),
}
