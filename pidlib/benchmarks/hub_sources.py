r"""What the benchmarks of both papers are called on the hub, and how a row of each becomes a question: one declaration per data set.

=========  ===============================  ===============================================================================================
task       repository, files                what is asked, and of whom it is known
=========  ===============================  ===============================================================================================
mmbench    lmms-lab/MMBench, en/dev         A-D; of the rows that repeat a question with its options turned round, the first alone [1, 2]
mmstar     Lin-Chen/MMStar, mmstar          A-D, listed in the question itself [1, 2]
pope       lmms-lab/POPE, data/test         Yes or No; random, popular and adversarial together [1, 2]
mmmu       lmms-lab/MMMU, data/validation   A-D; not the open questions, nor those on several pictures or with more options [1, 2]
pmc_vqa    mdwiratathya/PMC-VQA_small,      A-D [1]; the authors' own xmcmic/PMC-VQA keeps its pictures apart, in an archive
           data/test
reefknot   MM-Hallu/Reefknot, yesno         Yes or No [1]; the authors' JackChen-seu/Reefknot (GitHub) has these columns, without pictures
vqav2      lmms-lab/VQAv2, data/validation  open, among the `MOST` most frequent answers [1, 2]
gqa        lmms-lab/GQA, testdev_balanced   open, as above; questions and pictures lie in two tables, joined by imageId [1, 2]
nlvr2      lmms-lab/NLVR2,                  True or False, of two pictures placed side by side in one image [2]
           data/balanced_test_public
foil       none found: a folder of yours    True or False; columns image, image_id, caption, foil, as in foilv1.0_test_2017.json [2]
scienceqa  derek-thomas/ScienceQA,          A-E; the questions that come with a picture, without lecture and solution [1, 2]
           data/test
=========  ===============================  ===============================================================================================

Columns and files were read off [1] the card or listing of the data set and [2] public code that reads it; no row was downloaded to check
them. Which part of Reefknot, and how VQAv2 and GQA were made closed, the papers do not tell: this is our reading.
"""

import ast
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, NamedTuple

MOST = 10  # answers of an open benchmark
YES_NO = ("Yes", "No")  # with a capital, as chat models begin an answer
TRUE_FALSE = ("True", "False")

_TURNED = 10**6  # MMBench numbers the repetitions of question i with turned options i + 10**6, i + 2 * 10**6 ...
_LISTED = re.compile(r"\n\s*(?:Options|Choices):\s*")  # where MMStar's questions begin to list their options
_LABEL = re.compile(r"^\s*[A-D]\s*:\s*")  # PMC-VQA: "A:Diffuse uptake pattern"


class Asked(NamedTuple):
    """One row: the question, its answer, the answers it offers (none: any), and the text that lists them where they are letters."""

    question: str
    answer: str
    among: tuple[str, ...] = ()
    options: str = ""


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes
    ----------
    repository
        Its name on the hub, None where none is known.
    files
        The parquet files of its labelled part, as a pattern.
    columns
        Those that `read` looks at.
    read
        A row to a question; None leaves the row out.
    candidates
        The answer alphabet; empty for the `MOST` most frequent answers. A question with fewer options has letters that name nothing.
    images
        The columns of its pictures, placed side by side.
    picture, template
        The columns that name the picture (else its bytes do) and the form of the question (else there is one).
    pictures
        The files of the table ``id``, ``image`` that holds the pictures, where they lie apart.
    """

    repository: str | None
    files: str
    columns: tuple[str, ...]
    read: Callable[[Mapping[str, Any]], Asked | None]
    candidates: tuple[str, ...]
    images: tuple[str, ...] = ("image",)
    picture: str = ""
    template: str = ""
    pictures: str = ""


def _choice(question: str, options: Iterable[str | None], answer: str | int) -> Asked:
    """A question with lettered options; an answer that is a number counts them from 0."""
    listed = {letter: text for letter, text in zip(ascii_uppercase, options, strict=False) if text not in (None, "", "nan")}
    letter = ascii_uppercase[answer] if isinstance(answer, int) else str(answer).strip()
    return Asked(question, letter, tuple(listed), "\n".join(f"{letter}. {text}" for letter, text in listed.items()))


def _hinted(hint: str | None, question: str) -> str:
    return question if hint in (None, "", "nan") else f"{hint}\n{question}"


def _mmbench(row: Mapping[str, Any]) -> Asked | None:
    if int(row["index"]) >= _TURNED:
        return None
    return _choice(_hinted(row["hint"], row["question"]), [row[letter] for letter in "ABCD"], row["answer"])


def _mmstar(row: Mapping[str, Any]) -> Asked:
    question, *listed = _LISTED.split(row["question"], maxsplit=1)
    return Asked(question, row["answer"].strip(), tuple("ABCD"), *listed)


def _mmmu(row: Mapping[str, Any]) -> Asked | None:
    if row["question_type"] != "multiple-choice" or "<image 2>" in row["question"] + row["options"]:
        return None
    return _choice(row["question"], _written(row["options"]), row["answer"])


def _written(options: str) -> list[str]:
    """The list of strings that a cell spells out."""
    try:
        found = ast.literal_eval(options)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        found = None
    if not (isinstance(found, list) and all(isinstance(one, str) for one in found)):
        raise ValueError(f"its options {options[:80]!r} are no list of strings like \"['red', 'blue']\"; is this another revision?")
    return found


def _pmc_vqa(row: Mapping[str, Any]) -> Asked:
    return _choice(row["question"], [_LABEL.sub("", row[f"choice {letter}"] or "") for letter in "abcd"], row["answer label"])


def _scienceqa(row: Mapping[str, Any]) -> Asked:
    return _choice(_hinted(row["hint"], row["question"]), row["choices"], row["answer"])


def _closed(question: str, answer: str, among: tuple[str, ...]) -> Asked:
    return Asked(question, answer.strip().capitalize(), among)


SOURCES = {
    "mmbench": Source(
        "lmms-lab/MMBench",
        "en/dev-*.parquet",
        ("index", "hint", "question", "A", "B", "C", "D", "answer", "category"),
        _mmbench,
        tuple("ABCD"),
        template="category",
    ),
    "mmstar": Source("Lin-Chen/MMStar", "mmstar.parquet", ("question", "answer", "category"), _mmstar, tuple("ABCD"), template="category"),
    "pope": Source(
        "lmms-lab/POPE",
        "data/test-*.parquet",
        ("question", "answer", "image_source", "category"),
        lambda row: _closed(row["question"], row["answer"], YES_NO),
        YES_NO,
        picture="image_source",
        template="category",
    ),
    "mmmu": Source(
        "lmms-lab/MMMU",
        "data/validation-*.parquet",
        ("question", "options", "answer", "question_type", "subfield"),
        _mmmu,
        tuple("ABCD"),
        images=("image_1",),
        template="subfield",
    ),
    "pmc_vqa": Source(
        "mdwiratathya/PMC-VQA_small",
        "data/test-*.parquet",
        ("caption", "question", "choice a", "choice b", "choice c", "choice d", "answer label"),
        _pmc_vqa,
        tuple("ABCD"),
        picture="caption",
    ),
    "reefknot": Source(
        "MM-Hallu/Reefknot",
        "yesno/*.parquet",
        ("image_id", "query_prompt", "label", "relation_type"),
        lambda row: _closed(row["query_prompt"], row["label"], YES_NO),
        YES_NO,
        picture="image_id",
        template="relation_type",
    ),
    "vqav2": Source(
        "lmms-lab/VQAv2",
        "data/validation-*.parquet",
        ("question", "multiple_choice_answer", "image_id", "question_type"),
        lambda row: _closed(row["question"], row["multiple_choice_answer"], ()),
        (),
        picture="image_id",
        template="question_type",
    ),
    "gqa": Source(
        "lmms-lab/GQA",
        "testdev_balanced_instructions/testdev-*.parquet",
        ("question", "answer", "imageId"),
        lambda row: _closed(row["question"], row["answer"], ()),
        (),
        picture="imageId",
        pictures="testdev_balanced_images/testdev-*.parquet",
    ),
    "nlvr2": Source(
        "lmms-lab/NLVR2",
        "data/balanced_test_public-*.parquet",
        ("question", "answer"),
        lambda row: _closed(f"Is this true or false of the two pictures? {row['question']}", str(row["answer"]), TRUE_FALSE),
        TRUE_FALSE,
        images=("left_image", "right_image"),
    ),
    "foil": Source(
        None,
        "test-*.parquet",
        ("image_id", "caption", "foil"),
        lambda row: _closed(f"Is this caption true or false? {row['caption']}", str(not row["foil"]), TRUE_FALSE),
        TRUE_FALSE,
        picture="image_id",
    ),
    "scienceqa": Source(
        "derek-thomas/ScienceQA",
        "data/test-*.parquet",
        ("question", "choices", "answer", "hint", "subject"),
        _scienceqa,
        tuple("ABCDE"),
        template="subject",
    ),
}
