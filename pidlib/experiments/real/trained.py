"""Which of the models of the preset ``real`` are there."""

import warnings
from itertools import chain
from pathlib import Path

from pidlib._common import project_root
from pidlib.experiments.preset import Preset, parse_model

ASSEMBLED, ADAPTERS = Path("build/real/fast_vlm"), Path("data/stamps/adapters")
LISTS = ("models", "layer_models", "population")


def trained(preset: Preset) -> Preset:
    """Return a preset without the adapters that are not trained, with a warning that names them.

    An empty list gets the first left. Raises a FileNotFoundError without the model or any adapter.
    """
    root = project_root()
    if not (root / ASSEMBLED / "config.json").is_file():
        raise FileNotFoundError(f"no model in {root / ASSEMBLED}; run `make real` in {root}")
    lists = {name: getattr(preset, name) for name in LISTS}
    places = {model: root / parse_model(model)[1] for model in chain(*lists.values())}
    adapters = {model: path for model, path in places.items() if path.parent == root / ADAPTERS}
    missing = [model for model, path in adapters.items() if not path.is_dir()]
    left = [model for model in adapters if model not in missing]
    if missing and not left:
        raise FileNotFoundError(f"no adapter in {root / ADAPTERS}; run `make real-population`")
    if missing:
        names = ", ".join(parse_model(model)[0] for model in missing)
        text = f"left out until they are trained: {names}; `make real-population` trains them"
        warnings.warn(text, stacklevel=2)
    for name, models in lists.items():
        lists[name] = tuple(m for m in models if m not in missing) or (left[0],)
    return preset.model_copy(update=lists)
