"""Does the solver find the atoms that are known exactly?"""

import pandas as pd

from pidlib._common import fingerprint
from pidlib.decomposition import pid
from pidlib.decomposition.gates import GATES
from pidlib.experiments import Preset, style, tables
from pidlib.experiments.truths import atom_rows
from pidlib.extraction import SOURCES

COLUMNS = tables.ATOMS


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of every gate of `pidlib.gates`: in closed form, and solved by Newton steps."""
    rows = []
    for name, gate in GATES.items():
        joint = gate.joint()
        columns = {"benchmark": f"gate/{name}", "fingerprint": fingerprint(joint=joint.tolist())}
        solved = atom_rows(pid(joint, SOURCES), estimator="newton", **columns)
        exact = solved.drop(columns=["lower_bits", "upper_bits", "converged"])
        rows += [exact.assign(estimator="closed form", value_bits=gate.atoms), solved]
    shared = {"experiment": "validation", "seed": preset.seed}
    return tables.validate(pd.concat(rows, ignore_index=True).assign(**shared), COLUMNS)


def latex(table: pd.DataFrame) -> str:
    """Exact atoms of each gate, the largest distance of the solved ones from them, and the gap."""
    by_estimator = table.set_index(["estimator", "benchmark", "atom"])
    exact, solved = by_estimator.loc["closed form"], by_estimator.loc["newton"]
    distance = (exact["value_bits"] - solved["value_bits"]).abs()
    gap = solved["upper_bits"] - solved["lower_bits"]
    rows = []
    for gate in table["benchmark"].unique():
        bits = exact.loc[gate, "value_bits"].loc[list(style.VISION_LANGUAGE)]
        limits = _magnitude(distance[gate].max()), _magnitude(gap[gate].max())
        rows.append([gate.removeprefix("gate/"), *map(float, bits), *limits])
    header = ["gate", "$R$", "$U_1$", "$U_2$", "$S$", "distance", "gap"]
    return tables.booktabs(header, rows, digits=4)


def _magnitude(value: float) -> str:
    """``3.2e-09`` -> ``$3\\cdot10^{-9}$``."""
    if value < 1e-9:  # the table holds nine digits
        return "$<10^{-9}$"
    digit, exponent = f"{value:.0e}".split("e")
    return rf"${digit}\cdot10^{{{int(exponent)}}}$"
