"""The course: solutions pass, stubs do not, and each usual mistake gets its own line.

Run by ``make course-test``, which makes build/course first.
"""

import ast
import csv
import json
import os
import re
import shutil
from itertools import pairwise, product

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from scipy.special import softmax

from pidlib import course
from pidlib._common import project_root
from pidlib.course import EXERCISES, LESSONS, answers, judged, judges, questions
from pidlib.course.__main__ import grade, main
from pidlib.profiles.report import LIMITS, MIN_UNIQUE

ROOT = project_root()
MASTERS = sorted(ROOT.glob("notebooks/course/*.ipynb"))
KINDS = ("solution", "student")
HELD = pytest.mark.parametrize("path", MASTERS, ids=lambda path: path.stem)


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def lines(notebook) -> list[str]:
    """What the checks of a notebook print when it is run from top to bottom."""
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    checks = [cell for cell in notebook.cells if "check" in tags(cell)]
    return ["".join(output.text for output in cell.outputs).strip() for cell in checks]


@HELD
def test_exercises_have_a_stub_a_solution_and_a_check(path):
    cells = nbformat.read(path, as_version=4).cells
    found = []
    for index, cell in enumerate(cells):
        if "exercise" not in tags(cell):
            continue
        solution, check = cells[index + 1 : index + 3]
        assert "solution" in tags(solution) and "check" in tags(check)
        (name,) = re.findall(r"^def (\w+)", cell.source, re.MULTILINE)
        assert f"def {name}" in solution.source and check.source == f"check({name})"
        found.append(name)
    assert found == list(LESSONS[int(path.stem[:2])].EXERCISES)
    assert all(not cell.get("outputs") for cell in cells)
    assert sum("widget" in tags(cell) for cell in cells) == 1
    assert re.search(r"By the end you will have shown", cells[0].source)


@HELD
def test_no_other_cell_needs_an_exercise(path):
    """So the copy for students runs as the lesson does, of which the solutions were dropped."""
    copies = [nbformat.read(ROOT / f"build/course/{kind}" / path.name, 4) for kind in KINDS]
    kept, student = (
        [cell for cell in copy.cells if "solution" not in tags(cell)] for copy in copies
    )
    assert [cell.source for cell in kept] == [cell.source for cell in student]
    assert len(student) == len(copies[1].cells) < len(copies[0].cells)
    others = [cell for cell in student if not {"exercise", "check"} & set(tags(cell))]
    code = "\n".join(cell.source for cell in others if cell.cell_type == "code")
    names = {node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}
    assert not names & set(LESSONS[int(path.stem[:2])].EXERCISES)


@HELD
def test_each_stub_fails_and_each_solution_passes(path):
    notebook = nbformat.read(ROOT / "build/course/solution" / path.name, as_version=4)
    cells = []
    for cell, following in pairwise([*notebook.cells, None]):
        cells.append(cell)
        if "exercise" in tags(cell):
            (name,) = re.findall(r"^def (\w+)", cell.source, re.MULTILINE)
            cells.append(nbformat.v4.new_code_cell(f"check({name})", metadata={"tags": ["check"]}))
            assert "solution" in tags(following)
    notebook.cells = cells
    printed = lines(notebook)
    assert len(printed) == 2 * len(LESSONS[int(path.stem[:2])].EXERCISES)
    assert all(line.startswith("✗") for line in printed[::2]), printed
    assert all(line.startswith("✓") for line in printed[1::2]), printed


def nats(p):
    p = p[p > 0]
    return -(p * np.log(p)).sum()


def bits(joint):
    p = joint / joint.sum()
    return sum(nats(q) for q in (p.sum(0), p.sum(1))) / np.log(2) - nats(p.ravel()) / np.log(2)


def of_pair(joint):
    return bits(joint.reshape(-1, joint.shape[2]))


def world(t):
    joint = np.array([[[1, 0], [1, 0]], [[1, 0], [0, 1]]]) / 4
    joint[..., 0] += t * np.eye(2)
    return of_pair(joint)


def sweep(q, rows, columns):
    q = q * (rows / q.sum(1))[:, None]
    return q * (columns / q.sum(0))


def once(x1, x2, y):
    table = np.zeros((3, 4, 2))
    table[x1, x2, y] += 1
    return table


def raised(gap, shortcut, size=4, refilled=True):
    weights = np.ones(len(gap))
    up = np.argsort(-gap)[:size]
    others = [i for i in np.argsort(-shortcut) if not refilled or i not in up]
    weights[others[:size]] = 0.5
    weights[up] = 3
    return weights


def flips(d):
    return np.array(
        [
            sum(s * x for s, x in zip(signs, d, strict=True))
            for signs in product((1, -1), repeat=len(d))
        ]
    )


def said(logits, log_normalizer):
    return np.exp(logits - log_normalizer[:, None])


def modes(f, f_v, f_l, m_v, m_l):
    return [max(f, f_v, f_l) <= 0.5 and max(m_v, m_l) <= 0.2, f <= 0.5, f <= 0.5]


def doubts(fallback, moved, unique, low, floor):
    return [max(fallback) > 0.5, max(moved) > 0.2, min(unique) < 0.005, low <= floor]


RIGHT, EVEN = np.arange(8) % 4, np.full((8, 4), 0.25)
DICE = np.random.default_rng(0).integers(0, 2, (3, 60))
XOR = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]]]) / 4
COPIES = np.array([[[1, 0], [0, 0]], [[0, 0], [0, 1]]]) / 2
EQUAL = {"XOR": {"S"}, "RDN": {"R"}, "UNQ1": {"U1"}, "UNQ": {"U1", "U2"}}
WRONG = [  # what students write, and a word of the line that helps
    ("entropy", nats, "nats"),
    ("entropy", lambda p: -(p * np.log2(p)).sum(), "0 log 0"),
    ("entropy", lambda p: (p[p > 0] * np.log2(p[p > 0])).sum(), "sign"),
    ("entropy", lambda p: p, "6 numbers"),
    ("information", lambda t: bits(t) * np.log(2), "nats"),
    ("information", lambda t: (nats(t.ravel()) - nats(t.sum(1))) / np.log(2), "remains unknown"),
    ("information", lambda t: -bits(t), "sign"),
    ("information", lambda t: (nats(t.sum(0)) + nats(t.sum(1))) / np.log(2), "H(X,Y)"),
    ("information", lambda t: 9, "where pidlib has"),
    ("conditional_information", lambda t: bits(t.sum(0)) - of_pair(t), "sign"),
    ("conditional_information", lambda t: of_pair(t) - bits(t.sum(1)), "wrong variable"),
    ("conditional_information", lambda t: bits(t.sum(1)), "without the condition"),
    ("uncorrelated", lambda: np.eye(2) / 2, "covariance"),
    ("uncorrelated", lambda: np.ones((2, 2)) / 4, "0.000 bits"),
    ("sums", lambda: (COPIES, XOR), "first table"),
    ("quiz_1", lambda: {"a fair die": np.log(6)}, "a fair die"),
    ("co_information", lambda t: of_pair(t) - bits(t.sum(1)) - bits(t.sum(0)), "sign"),
    (
        "co_information",
        lambda t: bits(t.sum(1)) + bits(t.sum(0)) - bits(t.sum(2)),
        "about each other",
    ),
    (
        "other_atoms",
        lambda t, r: [
            bits(t.sum(0)) - r,
            bits(t.sum(1)) - r,
            of_pair(t) + r - bits(t.sum(0)) - bits(t.sum(1)),
        ],
        "exchanged",
    ),
    (
        "other_atoms",
        lambda t, r: [
            bits(t.sum(1)) - r,
            bits(t.sum(0)) - r,
            of_pair(t) - bits(t.sum(0)) - bits(t.sum(1)),
        ],
        "twice",
    ),
    ("predicted", lambda: EQUAL | {"AND": {"S"}}, "look at AND again"),
    ("predicted", lambda: EQUAL, "AND is missing"),
    ("hidden_synergy", lambda: XOR, "co-information is -1.000"),
    ("hidden_synergy", lambda: np.ones((2, 2, 2)) / 8, "synergy is 0.000"),
    ("independent_sources", lambda: COPIES, "in common"),
    ("independent_sources", lambda: XOR, "redundancy is 0.000"),
    ("quiz_2", lambda: {"both see one die, y is whether it is even": "S"}, "one die"),
    ("same_pairs", lambda p, q: np.allclose(p.sum(2), q.sum(2)), "of the sources may differ"),
    (
        "same_pairs",
        lambda p, q: all(np.allclose(p.sum(a), q.sum(a)) for a in [(0, 1), (0, 2), (1, 2)]),
        "single variables",
    ),
    ("same_pairs", lambda p, q: np.allclose(p.sum(1), q.sum(1)), "not yet"),
    ("same_pairs", lambda p, q: np.allclose(p.sum(0), q.sum(0)), "not yet"),
    ("information_of_world", world, "none taken"),
    ("scaled", lambda q, rows: q * (rows / q.sum(0)), "rows are asked for"),
    ("scaled", lambda q, rows: q * rows[:, None], "divide by the sum"),
    ("fitted", lambda q, rows, columns: sweep(q, rows, columns), "one sweep"),
    ("two_unique", lambda: XOR, "unique atoms are 0.000"),
    ("quiz_3", lambda: {"local minimum": {"yes"}}, "look at local minimum again"),
    ("counts", once, "count once"),
    ("bias", lambda k, m, n: (k - 1) * (m - 1) / (2 * n), "nats"),
    ("bias", lambda k, m, n: k * m / (2 * n * np.log(2)), "all cells"),
    ("needed", lambda k, bits: int((k * k - 1) / (2 * bits * np.log(2))), "round up"),
    ("needed", lambda k, bits: int(np.ceil((k - 1) / (2 * bits * np.log(2)))), "k x k"),
    ("p_value", lambda observed, null: (null >= observed).mean(), "the sample itself"),
    ("p_value", lambda observed, null: ((null > observed).sum() + 1) / 100, "as large"),
    ("synergy_of_noise", lambda: (DICE[0], DICE[1], DICE[0] ^ DICE[1]), "it is no noise"),
    ("synergy_of_noise", lambda: DICE[:, :20], "20 samples"),
    ("synergy_of_noise", lambda: DICE, "synergy is 0"),
    ("quiz_4", lambda: {"50 samples, 10 codes: R .36, U .46 and .48, S .66": {"yes"}}, "again"),
    ("list_weights", raised, "divide by it"),
    (
        "list_weights",
        lambda gap, sc: 20 * (w := raised(gap, sc, refilled=False)) / w.sum(),
        "takes a place",
    ),
    (
        "list_weights",
        lambda gap, sc: (
            (w := np.where(sc >= np.sort(sc)[-4], 0.5, raised(gap, sc).clip(1))) / w.mean()
        ),
        "both lists",
    ),
    ("list_weights", lambda gap, sc: (w := raised(-gap, sc)) / w.mean(), "largest gaps"),
    ("needs_picture", lambda w, p: [(p[w > 1] > 0.5).mean(), (p[w < 1] > 0.5).mean()], "below 1/2"),
    ("needs_picture", lambda w, p: [((p < 0.5) & (w == k)).mean() for k in (3, 0.5)], "each list"),
    ("needs_picture", lambda w, p: [(p[w < 1] < 0.5).mean(), (p[w > 1] < 0.5).mean()], "first"),
    ("paired_differences", lambda a, b: a[:, 1] - b[:, 1], "match the seeds"),
    ("paired_differences", lambda a, b: np.sort(a[:, 1]) - np.sort(b[:, 1]), "sort by seed"),
    (
        "paired_differences",
        lambda a, b: b[b[:, 0].argsort(), 1] - a[a[:, 0].argsort(), 1],
        "sign",
    ),
    ("sign_flip_p", lambda d: (flips(d) >= sum(d) - 1e-9).mean(), "one direction"),
    ("sign_flip_p", lambda d: (abs(flips(d)) > abs(sum(d)) + 1e-9).mean(), "as large"),
    (
        "survives_referee",
        lambda value, low, null, fallback, moved: (low > 0) & (fallback <= 0.5) & (moved <= 0.2),
        "within its null",
    ),
    (
        "survives_referee",
        lambda value, low, null, fallback, moved: (
            (value > null) & (fallback <= 0.5) & (moved <= 0.2)
        ),
        "reaches 0",
    ),
    (
        "survives_referee",
        lambda value, low, null, fallback, moved: (low > 0) & (value > null),
        "decide too",
    ),
    ("quiz_9", lambda: {"smallest p of 5 pairs": 1 / 32}, "look at smallest p"),
    ("predicted_sources", lambda: {"scene": {"S"}}, "look at scene again"),
    ("decisions", lambda z, c, tau: said(z, c), "whole vocabulary"),
    ("decisions", lambda z, c, tau: softmax(z, 1), "less than tau"),
    (
        "decisions",
        lambda z, c, tau: softmax(z, 1) * (said(z, c).sum(1) >= tau)[:, None],
        "not zero",
    ),
    (
        "decisions",
        lambda z, c, tau: np.where(said(z, c).max(1)[:, None] < tau, 0.25, softmax(z, 1)),
        "likeliest",
    ),
    ("picture_alone", lambda p, w, v: [p[v == i].mean(0) for i in range(4)], "weights"),
    ("picture_alone", lambda p, w, v: [w[v == i] @ p[v == i] for i in range(4)], "divide"),
    ("readable", lambda f, fv, fl, mv, ml: modes(f, 0, 0, mv, ml), "alone counts"),
    ("readable", lambda f, fv, fl, mv, ml: modes(f, fv, fl, 0, 0), "moved the answers"),
    ("readable", lambda *given: modes(*given)[:1] * 3, "have neither"),
    ("readable", lambda *given: [modes(*given)[0], True, True], "every mode"),
    ("confident_and_wrong", lambda: (EVEN, np.eye(4)[RIGHT], RIGHT), "accuracy 1.00"),
    ("confident_and_wrong", lambda: (EVEN, EVEN, RIGHT), "is 0.00 bits"),
    ("confident_and_wrong", lambda: (EVEN, np.eye(4)[RIGHT * 0], RIGHT), "moves"),
    ("quiz_5", lambda: {}, "p of the first is missing"),
    (
        "atoms_if_certain",
        lambda t: [bits(t.sum(0)), 0, bits(t.sum(1)) - bits(t.sum(0)), 0],
        "axis 0",
    ),
    ("atoms_if_certain", lambda t: [0, bits(t.sum(1)), bits(t.sum(0)), 0], "all R"),
    ("limits_of_synergy", lambda a, b, i: [i - a - b, i - max(a, b)], "negative"),
    ("limits_of_synergy", lambda a, b, i: [max(0, i - a - b), i - min(a, b)], "larger information"),
    ("limits_of_synergy", lambda a, b, i: [i - max(a, b), max(0, i - a - b)], "[lowest"),
    ("softened", lambda p, t: p**t / (p**t).sum(1, keepdims=True), "1 / temperature"),
    ("softened", lambda p, t: p ** (1 / t), "sum to one"),
    ("fake_synergy", lambda: (RIGHT, np.eye(4)[RIGHT], EVEN, np.eye(4)[RIGHT]), "0.00 bits"),
    ("fake_synergy", lambda: (RIGHT * 0, np.eye(4)[RIGHT], EVEN, EVEN), "picture matters"),
    ("fake_synergy", lambda: (np.arange(8), np.eye(4)[RIGHT], EVEN, EVEN), "occurs once"),
    ("objections", lambda f, m, u, a, b: doubts([min(f)], [min(m)], u, a, b), "of the two"),
    ("objections", lambda f, m, u, a, b: doubts(f, m, [max(u)], a, b), "smaller unique"),
    ("objections", lambda f, m, u, a, b: doubts(f, m, u, b, a), "reaches the floor"),
    ("quiz_6", lambda: {"I_v = .6, I_l = .9, I = 1 bit: the most that S can be": 0.4}, "again"),
    ("nearest", lambda x, c: ((x[:, None] - c) ** 2).sum(2).argmax(1), "farthest"),
    ("nearest", lambda x, c: (x @ c.T).argmax(1), "compare distances"),
    ("nearest", lambda x, c: ((x[:, None] - c) ** 2).sum(2).argmin(0), "4 numbers"),
    ("pooled", lambda tokens, lengths: tokens.mean(1), "padding"),
    ("pooled", lambda tokens, lengths: tokens.sum(1), "sums"),
    ("lost_by_mean", lambda: ([[[0], [0]], [[0], [1]]], [0, 1]), "still tell 1.00"),
    ("lost_by_mean", lambda: ([[[0], [1]], [[1], [0]]], [0, 0]), "two answers"),
    ("most_codes", lambda n, m, b: 2 + (2 * n * np.log(2) * b / (m - 1)) ** 0.5 // 1, "round down"),
    ("most_codes", lambda n, m, b: 1 + (2 * n * b / (m - 1)) ** 0.5 // 1, "nats"),
    ("most_codes", lambda n, m, b: 1 + 2 * n * np.log(2) * b / (m - 1) // 1, "square"),
    ("merged_synergy", lambda: np.repeat(XOR, 2, axis=0), "must rise"),
    ("merged_synergy", lambda: XOR, "four codes"),
    ("quiz_7", lambda: {"codes of x1 are merged: can I(Y; X1, X2) rise": {"yes"}}, "again"),
    ("given", lambda atoms, n: atoms.mean(0), "more samples"),
    ("given", lambda atoms, n: n @ atoms, "by their sum"),
    ("ignored", lambda tables, n: tables.mean(0), "more samples"),
    ("ignored", lambda tables, n: tables.sum(0), "a sum over questions"),
    ("sounding", lambda: np.concatenate([XOR, XOR]), "U_v = 0.00, S = 1.00"),
    ("sounding", lambda: XOR, "(4, 2, 2)"),
    ("paradox", lambda: [XOR, XOR], "synergy reaches 1.000"),
    ("paradox", lambda: [COPIES, COPIES], "redundancy reaches 1.000"),
    ("inverted", lambda: [XOR, XOR], "1.000 bits remain"),
    ("inverted", lambda: [COPIES, COPIES], "only 0.000"),
    ("quiz_8", lambda: {"the question is which way the blue one moves": {"S"}}, "again"),
]


@pytest.mark.parametrize(("name", "function", "line"), WRONG)
def test_usual_mistakes_get_a_line_that_helps(name, function, line):
    tables = questions(name, 0)
    assert line in judged(name, tables, answers(function, tables))


def test_every_exercise_has_a_mistake_and_no_line_gives_the_answer_away():
    assert {name for name, *_ in WRONG} == set(EXERCISES)
    assert judged("predicted", [()], [{"XOR": ["R"]}]) == "not yet: look at XOR again"
    assert judged("quiz_1", [()], [{"a fair die": 6}]) == "not yet: look at a fair die again"


def test_limits_are_those_of_a_profile():
    least = (LIMITS["fallback"][0], LIMITS["moved"][0], MIN_UNIQUE)
    assert least == (judges.FALLBACK, judges.MOVED, judges.LEAST_UNIQUE)


def test_a_check_never_raises(capsys):
    for function in (lambda p: 1 / 0, lambda: 0, lambda p: "text", lambda p: exit()):
        function.__name__ = "entropy"
        course.check(function)
    course.check(len)
    printed = capsys.readouterr().out.splitlines()
    assert [line[0] for line in printed] == list("✗✗✗✗?")
    assert "ZeroDivisionError" in printed[0]


def test_tables_differ_between_seeds_and_have_cells_that_never_occur():
    assert questions("entropy", 0) != questions("entropy", 1)
    assert any(0 in p for (p,) in questions("entropy", 0))


def notebook(*sources: str) -> str:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells))


def test_grades_are_of_the_functions_and_not_of_what_a_notebook_says(tmp_path, capsys):
    shutil.copy(ROOT / "build/course/solution/01_bits.ipynb", tmp_path / "01_ada.ipynb")
    shutil.copy(ROOT / "build/course/student/01_bits.ipynb", tmp_path / "01_ben.ipynb")
    forged = (
        "import pidlib.course as c\nc.judged = c.check = lambda *_: ''\ndef entropy(p): return 0"
    )
    (tmp_path / "01_cheat.ipynb").write_text(
        notebook(forged, "raise ValueError", "def sums(): return {}.values()")
    )
    (tmp_path / "01_loop.ipynb").write_text(notebook("while True: pass"))
    rows = grade(tmp_path, limit=20)
    passed = {}
    for row in rows:
        passed.setdefault(row["submission"], []).append(row["passed"])
    n = len(LESSONS[1].EXERCISES)
    expected = {"01_ada": [True] * n, "01_ben": [False] * n, "01_cheat": [False] * n}
    assert passed == {f"{k}.ipynb": v for k, v in (expected | {"01_loop": [False] * n}).items()}
    assert all("20 seconds" in row["line"] for row in rows if "loop" in row["submission"])
    for name in ("01_cheat.ipynb", "01_loop.ipynb", "01_ben.ipynb"):
        os.remove(tmp_path / name)
    main(["grade", str(tmp_path)])
    assert f"{n} of {n}" in capsys.readouterr().out
    with open(tmp_path / "grades.csv", encoding="utf-8") as file:
        assert [row["passed"] for row in csv.DictReader(file)] == ["True"] * n
    with pytest.raises(SystemExit):
        main(["grade", str(tmp_path / "nothing")])


def test_a_cell_that_does_not_end_costs_only_its_own_exercises(tmp_path):
    cells = ["while True:\n    try: 1 / 0\n    except Exception: pass", "display(1)"]
    cells += ["def sums(): return None", "def entropy(p):\n    while True: pass", "1 / 0"]
    cells.append("def uncorrelated(): return [[0, 1], [2, 0], [0, 1]]")
    (tmp_path / "01_ada.ipynb").write_text(notebook(*cells))
    lines = {row["exercise"]: row["line"] for row in grade(tmp_path, limit=5)}
    assert lines["uncorrelated"] == "" and "stopped after 5 seconds" in lines["entropy"]
    assert "cell 1: KeyboardInterrupt" in lines["sums"] and "cell 5: Zero" in lines["sums"]
    assert "display" not in lines["sums"]


def test_notebooks_without_a_number_are_graded_by_their_functions(tmp_path):
    (tmp_path / "ada.ipynb").write_text(notebook("def sums(): return None"))
    (tmp_path / "2026_ben.ipynb").write_text(notebook("def total(): return None"))
    (tmp_path / ".ipynb_checkpoints").mkdir()
    shutil.copy(tmp_path / "ada.ipynb", tmp_path / ".ipynb_checkpoints" / "01_ada.ipynb")
    rows = {(row["submission"], row["exercise"]): row["line"] for row in grade(tmp_path)}
    expected = {("ada.ipynb", name) for name in LESSONS[1].EXERCISES}
    assert rows.keys() == expected | {("2026_ben.ipynb", "")}
    assert "no lesson" in rows["2026_ben.ipynb", ""]


def test_values_are_json(tmp_path):
    tables = questions("predicted", 0)
    assert json.loads(json.dumps(answers(lambda: {"XOR": {"S"}}, tables))) == [{"XOR": ["S"]}]
