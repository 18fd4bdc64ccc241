"""What does a model of pretrained parts take from the picture, the question, and both together?"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

from pidlib.benchmarks.stamps import FOLDER
from pidlib.experiments import Preset, Request, decision_profiles, extract_all, stages, style
from pidlib.experiments.tables import ATOMS, booktabs, declare, heading, validate, with_interval
from pidlib.experiments.words import interval
from pidlib.extraction import FULL, SOURCES, Extraction

ACCURACIES = ("accuracy", "accuracy_vision", "accuracy_language")
_TESTED = "fallback margin margin_low margin_high verdict"
COLUMNS = declare(ATOMS, *ACCURACIES, _TESTED, expected="boolean")
_SIGNS = {"holds": "+", "against": "$-$", "open": r"$\circ$"}


def requests(preset: Preset) -> list[Request]:
    """Both modalities, each alone, and pictures with questions of other samples."""
    return [decision_profiles.request(preset)]


def measure(preset: Preset, asked: Sequence[Request] = ()) -> pd.DataFrame:
    """Atoms by model, task and mode; accuracies; tests of what was expected before any model."""
    expected = pd.read_csv(FOLDER / "expected.csv").set_index(["task", "unimodal"])["atoms"]
    tables = []
    for (answer,) in extract_all(preset, *(asked or requests(preset))):
        extraction, task = answer.extraction, answer.columns["benchmark"].rpartition("/")[2]
        facts = {"accuracy": extraction.accuracy(), "fallback": extraction.fallback(FULL)}
        for rows in decision_profiles.mode_profiles(preset, answer, "real"):
            mode = rows["unimodal"].iloc[0]
            alone = accuracies_alone(extraction, mode, preset.tau)
            tested = compare(rows, expected.get((task, mode), "").split())
            tables.append(tested.assign(**facts | alone))
    return validate(pd.concat(tables), COLUMNS)


def accuracies_alone(extraction: Extraction, mode: str, tau: float) -> dict[str, float]:
    """Accuracy of the answers p(y | picture) and p(y | question) of a mode, where there are any."""
    decisions, right = getattr(extraction, mode)(tau), {}
    for place, texts in enumerate((extraction.media, extraction.questions)):
        own, source = pd.factorize(np.array(texts))[0], SOURCES[place]
        rows = own if mode != "resampled" else own[extraction.pairs.index[:, place]]
        answers = pd.DataFrame(decisions.sources[source] * decisions.weights[:, None])
        answers = answers.groupby(rows).sum()
        known = np.isin(own, answers.index)  # not every question is drawn as a partner
        chosen = np.array(extraction.candidates)[answers.loc[own[known]].to_numpy().argmax(1)]
        right[f"accuracy_{source}"] = float(np.mean(chosen == np.array(extraction.answers)[known]))
    return right


def compare(rows: pd.DataFrame, atoms: Sequence[str]) -> pd.DataFrame:
    """Test whether all expected atoms exceed all others, with intervals apart (too wide a test)."""
    if not atoms:
        return rows
    rows = rows.assign(expected=rows["atom"].isin(atoms), bits=style.best(rows))
    own, others = rows[rows["expected"]], rows[~rows["expected"]]
    margins = {"margin": own["bits"].min() - others["bits"].max()}
    margins["margin_low"] = low = own["ci_low"].min() - others["ci_high"].max()
    margins["margin_high"] = high = own["ci_high"].min() - others["ci_low"].max()
    verdict = stages.verdict(stages.Claim(above=True), low, high)
    return rows.drop(columns="bits").assign(**margins, verdict=verdict)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Means of models that differ in the number at the end of their name, with 95 % intervals.

    Bits of each atom, and the share of right answers, of three models or more. Student's t; the
    error of the questions, which all models answer, is added.
    """
    keys = ["model", "benchmark", "unimodal", "atom"]
    rows = table.assign(bits=style.best(table), half=table["ci_high"] - style.best(table))
    right = rows.drop_duplicates(keys[:3]).assign(atom="accuracy", bits=rows["accuracy"])
    right["half"] = 1.96 * (right["bits"] * (1 - right["bits"]) / right["n_samples"]) ** 0.5
    rows = pd.concat([rows, right])
    rows["model"] = rows["model"].str.extract(r"(.+)_\d+$")[0]
    groups = rows.groupby(keys, sort=False)
    means = groups[["bits", "half"]].mean().astype(float)
    n, spread = groups.size(), groups["bits"].sem().astype(float)
    half = np.hypot(t.ppf(0.975, n - 1) * spread, means["half"])[n >= 3]
    middle = means["bits"][n >= 3]
    signed = middle.index.get_level_values("atom") == "synergy"
    low = (middle - half).where(signed, (middle - half).clip(lower=0))
    texts = map(interval, middle, low, middle + half)
    return pd.Series(list(texts), middle.index, dtype=object).unstack(sort=False)


def summary(table: pd.DataFrame) -> Iterator[str]:
    """A sentence for each model: how often the expected atoms dominate, and where they do not."""
    keys = ["model", "benchmark", "unimodal"]
    tested = table[table["expected"].fillna(False)].drop_duplicates(keys)
    for model, rows in tested.groupby("model", sort=False):
        larger, clear = (rows["margin"] > 0).sum(), (rows["verdict"] == "holds").sum()
        text = f"**{model}**: the expected atoms are the largest in {larger} of {len(rows)} "
        text += f"profiles, with intervals apart in {clear}"
        failed = rows[rows["margin"] <= 0]
        cells = (f"*{name(row.benchmark)}* ({row.unimodal})" for row in failed.itertuples())
        yield text + (f"; not in {', '.join(cells)}." if len(failed) else ".")


def name(benchmark: str) -> str:
    """``stamps/captioned`` -> ``captioned``."""
    return benchmark.rpartition("/")[2].replace("_", " ")


def latex(table: pd.DataFrame) -> str:
    """A line per task and mode: accuracies, atoms with intervals, and what was expected."""
    header = ["task", "mode", r"$v, \ell$", "$v$", r"$\ell$"]
    header += [*map(style.SYMBOLS.get, style.VISION_LANGUAGE), "expected", ""]
    lines: list[list] = []
    for model, block in table.groupby("model", sort=False):
        rule = r"\midrule" * bool(lines)
        text = f"{style.model_name(model)}: accuracies with both and with one; bits with 95\\,\\%"
        lines.append(heading(f"{text} interval".replace("_", r"\_"), len(header), rule))
        for (task, mode), rows in block.groupby(["benchmark", "unimodal"], sort=False):
            row, atoms = rows.iloc[0], rows.assign(bits=style.best(rows)).set_index("atom")
            bits = atoms.loc[list(style.VISION_LANGUAGE), ["bits", "ci_low", "ci_high"]]
            expected = rows.loc[rows["expected"].fillna(False), "atom"].map(style.SYMBOLS)
            sign = None if pd.isna(row["verdict"]) else _SIGNS[row["verdict"]]
            cells = [with_interval(*values) for values in bits.itertuples(index=False)]
            lines.append([name(task), mode, *map(float, row[[*ACCURACIES]]), *cells])
            lines[-1] += [" ".join(expected) or None, sign]
    return booktabs(header, lines, align="ll" + "r" * 7 + "ll", digits=2)
