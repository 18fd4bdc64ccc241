"""Both protocols on what is known: mixtures of Gaussian vectors, labels without any relation; and on the exemplars' own tokens."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pandas as pd
from jaxtyping import Float
from tqdm.auto import tqdm

from pidlib import results, runs, schemas
from pidlib.corrections import tabulate
from pidlib.decomposition import pid
from pidlib.experiment import Preset, derive_seed, fingerprint
from pidlib.extraction.masking import FULL
from pidlib.profiles import embedding_profile
from pidlib.protocols import RELEASED_CODES, SHUFFLES, VARIABLES, Tokens, dataset_level, released, shorten

EXPERIMENT = "vision_language"
WIDTH, POSITIONS, PATCHES = 4, 16, 4  # of the vectors; of a sequence; tokens of a picture for each of a question, where it is longer
NOISE_SIZES, NOISE_REPEATS = (50, 1000, 20_000), 100  # those of the noise that was reported
EQUAL, LONGER, POOLED, FILED = "released, equal lengths", "released, longer picture", "dataset level", "released, authors' files"
_SETTINGS = (
    *("n_sequences", "n_embedded", "audit_observations", "audit_codes"),
    *("n_clusters", "n_permutations", "n_bootstrap", "seed"),
)
Vectors = Float[np.ndarray, "... d"]


@dataclass(frozen=True)
class Mixture:
    """A target made of two sources, and what a decomposition must find in it: one of "vision", "more vision", "both", "synergy" ..."""

    expected: str
    make: Callable[[Vectors, Vectors], Vectors]


def _weighted(share: float) -> Callable[[Vectors, Vectors], Vectors]:
    return lambda vision, language: share * vision + (1 - share) * language


MIXTURES: Mapping[str, Mixture] = MappingProxyType(
    {
        "vision": Mixture("vision", _weighted(1)),
        "0.8 vision + 0.2 language": Mixture("more vision", _weighted(0.8)),
        "0.6 vision + 0.4 language": Mixture("more vision", _weighted(0.6)),
        "sum": Mixture("both", _weighted(0.5)),
        "0.4 vision + 0.6 language": Mixture("more language", _weighted(0.4)),
        "0.2 vision + 0.8 language": Mixture("more language", _weighted(0.2)),
        "language": Mixture("language", _weighted(0)),
        "product": Mixture("synergy", np.multiply),
    }
)
AUDITED = "0.6 vision + 0.4 language"  # has all four atoms


def mixed(mixture: str, n: int, positions: int = POSITIONS, patches: int = 1, seed: int = 0) -> Tokens:
    """Sequences of Gaussian vectors whose target is the mixture of both sources at every position.

    A vector is the sum of one part that the whole sample shares and one of its own position, both standard normal, so that samples and
    positions differ by the same law and either protocol could find it. With `patches`, picture and target have so many tokens for each of
    the question.
    """
    generator = np.random.default_rng(derive_seed(seed, "mixture", mixture, n, positions, patches))
    vision, language = (
        generator.normal(size=(n, 1, WIDTH)) + generator.normal(size=(n, length, WIDTH)) for length in (positions * patches, positions)
    )
    target = MIXTURES[mixture].make(vision, np.repeat(language, patches, axis=1))
    return dict(zip(VARIABLES, (vision, language, target), strict=True))


def pooled(tokens: Tokens) -> dict[str, Float[np.ndarray, "n d"]]:
    """The mean of each sequence."""
    return {name: np.stack([one.mean(0) for one in tokens[name]]) for name in VARIABLES}


def synthetic(preset: Preset) -> pd.DataFrame:
    """Known mixtures by each protocol, and whether it recovers what is expected of them."""
    tables = []
    for name in tqdm(MIXTURES, desc="known mixtures", unit="mixture"):
        for protocol, patches in ((EQUAL, 1), (LONGER, PATCHES)):
            tokens = mixed(name, preset.n_sequences, patches=patches, seed=preset.seed)
            tables.append(_released(preset, tokens).assign(protocol=protocol, benchmark=name))
        tables.append(_pooled(preset, name, preset.n_embedded, preset.n_clusters).assign(benchmark=name))
    for table in tables:
        expected = MIXTURES[table["benchmark"][0]].expected
        table["expected"], table["recovered"] = expected, recovers(table, expected)
    return _finished(preset, tables, schemas.SYNTHETIC)


def recovers(table: pd.DataFrame, expected: str, level: float = 0.05) -> bool:
    """Whether four corrected atoms show what is expected of a mixture.

    "vision": its unique part clears the null and is nine tenths of all that is found; "more vision": it clears the null and its interval
    lies above that of the other; "both": neither does, and redundancy and synergy clear theirs; "synergy": it clears the null and is the
    largest.
    """
    rows = table.set_index("atom")
    value, real = rows["corrected_bits"].astype(float), rows["null_p"] <= level
    if value.isna().any():
        return False

    def ahead(source: str) -> bool:
        own, other = f"unique_{source}", f"unique_{'language' if source == 'vision' else 'vision'}"
        return bool(real[own] and rows.loc[own, "ci_low"] > rows.loc[other, "ci_high"])

    if expected == "synergy":
        return bool(real["synergy"] and value.idxmax() == "synergy")
    if expected == "both":
        return bool(real["redundancy"] and real["synergy"] and not ahead("vision") and not ahead("language"))
    source = expected.removeprefix("more ")
    alone = source != expected or value[f"unique_{source}"] >= 0.9 * value.clip(lower=0).sum()
    return bool(ahead(source) and alone)


def protocol_audit(preset: Preset) -> pd.DataFrame:
    """What either protocol finds, beside its own null: labels without relation, a known mixture, the exemplars' tokens."""
    tables = [_reported(), *(_noise(preset.seed, n) for n in NOISE_SIZES)]
    for n in tqdm(preset.audit_observations, desc="audit", unit="size"):
        sequences = {name: mixed(AUDITED, preset.n_sequences, n, patches, preset.seed) for name, patches in ((EQUAL, 1), (LONGER, PATCHES))}
        sequences = {name: shorten(tokens, preset.seed) for name, tokens in sequences.items()}  # once, for all alphabets
        for k in preset.audit_codes:
            tables += [_released(preset, tokens, k).assign(protocol=name, benchmark=AUDITED) for name, tokens in sequences.items()]
            tables.append(_pooled(preset, AUDITED, n, k).assign(benchmark=AUDITED))
    tables += _exemplars(preset)
    return _finished(preset, tables, schemas.AUDIT)


def _reported() -> pd.DataFrame:
    """What noise was said to give, and the authors' own atoms, of unknown lengths and alphabets, as rows of the table."""
    noise, files = results.published("fig_protocol_audit"), results.published("table2_contributions")
    files = files[(files["unit"] == "nats") & (files["benchmark"] == "VQA")].rename(columns={"quantity": "atom", "value": "nats"})
    files = files.assign(benchmark=files["model"] + ", " + files["benchmark"], protocol=FILED)
    kept = ["protocol", "benchmark", "source", "grade", "n_samples", "atom", "nats"]
    table = pd.concat([noise.assign(benchmark="independent labels", protocol="independent labels"), files[kept]])
    return table.assign(value_bits=table["nats"] / np.log(2), fingerprint="published").drop(columns="nats")


def _noise(seed: int, n: int) -> pd.DataFrame:
    """Mean atoms of three independent lists of n labels of at most n codes, with 1.96 standard deviations about it."""
    k = min(RELEASED_CODES, n)
    labels = np.random.default_rng(derive_seed(seed, "independent labels", n)).integers(k, size=(3, NOISE_REPEATS, n))
    solved = pid(tabulate(*labels, (k, k, k)))
    told = {"protocol": "independent labels", "benchmark": "independent labels", "n_codes": k, "n_observations": n}
    rows = [
        {"atom": atom, "value_bits": mean, "ci_low": mean - reach, "ci_high": mean + reach}
        for atom, values in solved.atoms.items()
        for mean, reach in [(values.mean(), 1.96 * values.std())]
    ]
    return pd.DataFrame(rows).assign(converged=bool(solved.converged.all()), n_samples=NOISE_REPEATS, **told)


def _released(preset: Preset, tokens: Tokens, n_clusters: int = RELEASED_CODES) -> pd.DataFrame:
    found = released(tokens, n_clusters=n_clusters, n_bootstrap=preset.n_bootstrap, seed=preset.seed)
    return pd.DataFrame(found).assign(n_codes=n_clusters)


def _pooled(preset: Preset, mixture: str, n: int, n_clusters: int) -> pd.DataFrame:
    """A mixture at the level of a data set, with codebooks of as many other samples."""
    fitted, applied = (pooled(mixed(mixture, n, seed=derive_seed(preset.seed, part))) for part in ("fitted", "applied"))
    made = {"n_permutations": preset.n_permutations, "n_bootstrap": preset.n_bootstrap, "seed": preset.seed}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that there are too few samples is what the audit shows
        found = dataset_level(fitted, applied, n_clusters=n_clusters, allow_degenerate=True, **made)
    return pd.DataFrame(found.rows()).assign(protocol=POOLED, n_codes=n_clusters, n_observations=n)


def asked(preset: Preset) -> tuple[runs.Asked, ...]:
    """Of each exemplar: the single tokens of some samples, and the pooled embeddings of all."""
    few = runs.Asked(preset.split, preset.n_sequences, preset.seed, (FULL,), tokens=True)
    return (few, *runs.embeddings(preset))


def _exemplars(preset: Preset) -> Iterator[pd.DataFrame]:
    """Both protocols on what was read off each model: token sequences of some samples, pooled embeddings of all."""
    made = {name: getattr(preset, name) for name in ("n_clusters", "n_permutations", "n_bootstrap", "seed")}
    settings = made | {"released": RELEASED_CODES, "shuffles": SHUFFLES}
    for sequences, fitted, applied in runs.runs(preset, asked(preset)):
        place = {name: applied.columns[name] for name in ("benchmark", "split", "model", "revision")}
        place["fingerprint"] = fingerprint(of=[one.columns["fingerprint"] for one in (sequences, fitted, applied)], **settings)
        yield _released(preset, sequences.extraction.tokens).assign(protocol="released", **place)
        pooled_rows = embedding_profile(fitted.extraction, applied.extraction, **made)
        yield pooled_rows.assign(protocol=POOLED, n_observations=len(applied.extraction), **place)


def _finished(preset: Preset, tables: list[pd.DataFrame], schema: schemas.Schema) -> pd.DataFrame:
    """The tables as one; rows of models bring their fingerprint, the others get that of the settings."""
    told = {"experiment": EXPERIMENT, "estimator": "exact", "source_a": "vision", "source_b": "language", "seed": preset.seed}
    mark = fingerprint(**{name: getattr(preset, name) for name in _SETTINGS})
    tables = [table if "fingerprint" in table else table.assign(fingerprint=mark) for table in tables]
    return results.tidy(pd.concat(tables, ignore_index=True).assign(**told), schema)
