"""Do embeddings have the same atoms as decisions?

The sources are the pooled vision and language embeddings at the input of the language model, the
target is the state at the answer position after the last block; all three become k-means codes, by
codebooks of other samples. Padegal Amit et al. measure at this level (arXiv 2511.19470).
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from pidlib._common import fingerprint
from pidlib.experiments.decision_profiles import embedding_profile, embedding_request
from pidlib.experiments.extractions import Request, extractions
from pidlib.experiments.preset import Preset
from pidlib.experiments.tables import ATOMS, validate
from pidlib.experiments.vision_language.panels import compare

COLUMNS = ATOMS


def requests(preset: Preset) -> list[Request]:
    """States at the answer position, of samples for the codebooks and of samples to profile."""
    return [embedding_request(preset)]


def measure(preset: Preset) -> pd.DataFrame:
    """Atoms of each model on each benchmark, with null, correction and interval."""
    settings = preset.model_dump(include={"n_clusters", "n_permutations", "n_bootstrap", "seed"})
    profiles = []
    for pair in extractions(preset, *requests(preset)):
        names = zip(("fitted", "applied"), pair, strict=True)
        identities = {name: answer.columns["fingerprint"] for name, answer in names}
        columns = pair[1].columns | {"fingerprint": fingerprint(**identities, **settings)}
        states = (answer.extraction for answer in pair)
        profiles.append(embedding_profile(*states, **settings, **columns))
    return validate(pd.concat(profiles).assign(experiment="vision_language"), COLUMNS)


def figure(table: pd.DataFrame) -> Figure:
    """Atoms corrected for sampling bias as bars, plug-in values as markers."""
    bars = table.assign(bits=table["corrected_bits"])
    plug_in = table.assign(ci_low=np.nan, ci_high=np.nan)  # the interval is of the corrected value
    words = "bars: corrected for bias; markers: plug-in"
    return compare(bars, plug_in, words, "null of plug-in: shuffled")
