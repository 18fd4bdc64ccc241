"""The decomposition in JavaScript against pidlib."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import pidlib
from pidlib.decomposition.gates import GATES

SCRIPT = Path(__file__).parents[2] / "book/_static/explorer.js"
NAMES = ("redundancy", "unique_1", "unique_2", "synergy")
CODE = """
const { decompose } = require(process.argv[1]);
const tables = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(tables.map(decompose)));
"""
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="node is not installed")


def decomposed(tables: list) -> list[dict]:
    text = json.dumps([np.asarray(table).tolist() for table in tables])
    command = ["node", "-e", CODE, str(SCRIPT)]
    run = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return json.loads(run.stdout)


def random_tables(n: int) -> list[np.ndarray]:
    """Tables of up to 4 x 4 x 4 with zeros, some with empty rows."""
    rng = np.random.default_rng(0)
    tables = []
    for _ in range(n):
        shape = rng.integers(2, 5, 3)
        table = rng.exponential(size=shape) ** 2 * (rng.random(shape) < rng.choice([1, 0.7, 0.4]))
        tables.append(table if table.any() else np.ones(shape))
    return tables


@needs_node
def test_gates_are_within_the_certified_gap():
    results = decomposed([gate.joint() for gate in GATES.values()])
    for gate, result in zip(GATES.values(), results, strict=True):
        atoms = [result[name] for name in NAMES]
        np.testing.assert_allclose(atoms, gate.atoms, rtol=0, atol=result["gap"] + 1e-9)
        assert result["gap"] < 1e-5, gate.name


@needs_node
def test_random_tables_are_within_both_certified_gaps():
    tables = random_tables(60)
    for table, result in zip(tables, decomposed(tables), strict=True):
        exact = pidlib.pid(table)
        atoms, tolerance = [result[name] for name in NAMES], result["gap"] + exact.gap + 1e-9
        np.testing.assert_allclose(atoms, list(exact.atoms.values()), rtol=0, atol=tolerance)
        assert result["gap"] < 1e-5
