"""Partial information decomposition of multimodal language models.

Tables of counts: `pid`, `sensory_pid`, `gates`. Decisions: `Decisions`, `decision_pid`. Codes of
embeddings: `estimate`. Samples: `load_benchmark`, `load_table`, `Sample`. Models: `load_model`,
`extract`, `profile`, `compare`. Everything else may change.
"""

import importlib

_PUBLIC = {
    "PID": "decomposition",
    "pid": "decomposition",
    "sensory_pid": "decomposition",
    "Decisions": "decomposition.decisions:Decisions",
    "decision_pid": "decomposition.decisions:decision_pid",
    "estimate": "decomposition.estimate:estimate",
    "gates": "decomposition.gates:",
    "Sample": "benchmarks",
    "load_benchmark": "benchmarks:load",
    "load_table": "benchmarks",
    "load_model": "models",
    "extract": "extraction",
    "Profile": "profiles",
    "profile": "profiles",
    "compare": "profiles",
    "sensory": "sensory:",
    "reweighting": "reweighting:",
}
__all__ = list(_PUBLIC)


def __getattr__(name: str) -> object:
    """Import a public name on first use: `import pidlib` itself loads nothing."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'pidlib' has no attribute {name!r}; see pidlib.__all__")
    module, colon, attribute = _PUBLIC[name].partition(":")
    loaded = importlib.import_module(f"pidlib.{module}")
    value = getattr(loaded, attribute or name) if attribute or not colon else loaded
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
