"""Write which image-text-to-text models of transformers are read: ``make families``, some minutes.

Each class is built from its default configuration without weights, which shows whether it is
derived, has a row or is refused; the models of the zoo and of the minis are tested as well.
"""

import sys
import warnings
from pathlib import Path

import pandas as pd
import torch
import transformers as hf
from small_world import CANDIDATES, FAMILY_NAMES, loaded, sample
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

from models.zoo import ZOO, load
from pidlib.extraction import proof
from pidlib.extraction.reader import Reader
from pidlib.models import Family, family_named, family_of

COLUMNS = ("model_type", "way", "reason", "is_tested", "lens_gap", "batch_gap", "transformers")


def describe(model_type: str) -> dict:
    """Say how a class is read, or why not."""
    row = {"model_type": model_type, "reason": ""}
    try:
        config = hf.CONFIG_MAPPING[model_type]()
        if getattr(config, "image_token_id", 0) is None:
            config.image_token_id = 0  # every checkpoint names it
        with torch.device("meta"):
            model = hf.AutoModelForImageTextToText.from_config(config)
    except Exception as error:  # whatever a default configuration lacks
        reason = " ".join(f"not built by default: {error}".split())
        return row | {"way": "unknown", "reason": reason[:200]}
    try:
        family_of(model)
    except ValueError as error:
        return row | {"way": "refused", "reason": str(error).partition(": ")[2]}
    is_default = family_named(model_type) == Family(model_type)
    return row | {"way": "derived" if is_default else "row"}


def tested(model) -> dict:
    """Return what the test of a model measures, relative to its largest logit."""
    item = sample(0)
    proof.prove(Reader(model, CANDIDATES, (), item.question, 1), item)
    measured = proof._PROVED[model.model]
    return {"is_tested": True, "lens_gap": measured.lens, "batch_gap": measured.batch}


def main(path: Path):
    warnings.simplefilter("ignore")
    rows = {name: describe(name) for name in sorted(MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES)}
    for build, names in ((loaded, FAMILY_NAMES), (load, ZOO)):
        for name in names:
            model = build(name)
            row = rows[model.model.config.model_type]
            way = {"way": "derived", "reason": ""} if row["way"] == "unknown" else {}
            row |= tested(model) | way
    table = pd.DataFrame([rows[name] for name in rows]).assign(transformers=hf.__version__)
    table["is_tested"] = table["is_tested"] == True  # noqa: E712  (missing is False)
    table.to_csv(path, columns=COLUMNS, index=False, float_format="%.1e", lineterminator="\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
