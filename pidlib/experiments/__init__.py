"""The experiments: one module per notebook, of the notebook's name, and what they share."""

from pidlib.experiments.extractions import Extracted, Query, Request, extract_all
from pidlib.experiments.preset import MODES, Preset
from pidlib.experiments.tables import ATOMS, COMPUTED, booktabs, declare, published, validate

__all__ = ["Extracted", "MODES", "Preset", "Query", "Request", "extract_all"]
__all__ += ["ATOMS", "COMPUTED", "booktabs", "declare", "published", "validate"]
