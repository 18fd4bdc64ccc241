"""The result of an extraction: answers under each pass, embeddings and resampled pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.special import logsumexp, softmax

from pidlib._common import fingerprint
from pidlib.decomposition.decisions import Decisions
from pidlib.extraction.checks import check_layers
from pidlib.extraction.masking import FULL, MODALITIES, SOURCES, Pass
from pidlib.extraction.store import Shard, Store

Rows = Float64[np.ndarray, "n k"]
# Facts of samples that shards keep: name -> attribute of `Sample`.
FACTS = {name + "s": name for name in ("sample_id", "answer", "template", "question")}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Answers to pictures paired with questions drawn independently of them."""

    index: Int[np.ndarray, "m 2"]  # sample of the picture, first sample with the question
    weights: Float64[np.ndarray, " m"]  # positive, with sum 1
    logits: Float[np.ndarray, "m k"]
    log_normalizer: Float[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class Extraction:
    """Answers at the last token of the prompt, and embeddings, of n samples with k candidates.

    Mappings of logits and log normalizers have passes as keys, embeddings and tokens modalities.
    """

    sample_ids: tuple[str, ...]
    answers: tuple[str, ...]
    candidates: tuple[str, ...]
    # Logits of the candidates' first tokens, and the log normalizer of the whole vocabulary.
    logits: Mapping[str, Float[np.ndarray, "n k"]]
    log_normalizer: Mapping[str, Float[np.ndarray, " n"]]
    embeddings: Mapping[str, Float[np.ndarray, "n d"]]  # mean input of the language model
    layers: tuple[int, ...]  # blocks of the language model, from 0
    hidden: Float[np.ndarray, "n L d"] | None  # their outputs in the unmasked pass
    lens_logits: Mapping[str, Float[np.ndarray, "n L k"]]  # logit lens of the blocks
    lens_log_normalizer: Mapping[str, Float[np.ndarray, "n L"]]
    pairs: Pairs | None
    # An array per sample: input embeddings, and "hidden", the outputs of the last block.
    tokens: Mapping[str, list[Float[np.ndarray, "tokens d"]]] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    fingerprint: str = ""  # hash of everything that determines these numbers
    depth: int | None = None  # number of blocks, if known

    @classmethod
    def from_shards(cls, shards: Sequence[Shard], identity: Mapping) -> "Extraction":
        """Concatenate the shards of an extraction."""
        names = shards[0].arrays
        arrays = {name: np.concatenate([shard.arrays[name] for shard in shards]) for name in names}

        def group(prefix, keys):
            return {key: arrays[f"{prefix}/{key}"] for key in keys if f"{prefix}/{key}" in arrays}

        facts = {name: sum((tuple(s.facts[name]) for s in shards), ()) for name in FACTS}
        read = ("logits", "log_normalizer", "lens_logits", "lens_log_normalizer")
        pairs = group("pairs", [column.name for column in fields(Pairs)])
        with_states = (*MODALITIES, "hidden")
        lengths = group("lengths", with_states)
        return cls(
            **facts,
            **{name: group(name, identity["passes"]) for name in read},
            candidates=tuple(identity["candidates"]),
            embeddings=group("embeddings", MODALITIES),
            layers=tuple(identity["layers"]),
            hidden=arrays.get("hidden"),
            pairs=Pairs(**pairs) if pairs else None,
            tokens={
                name: np.split(tokens, np.cumsum(lengths[name])[:-1])
                for name, tokens in group("tokens", with_states).items()
            },
            fingerprint=fingerprint(**identity),
            depth=identity["depth"],
        )

    @classmethod
    def load(cls, folder: str | Path) -> "Extraction":
        """Read a stored extraction without the model; raises if it is missing or incomplete."""
        store = Store(folder)
        shards = [store.read(name) for name in store.names if name.startswith("samples-")]
        count = sum(len(shard.facts["sample_ids"]) for shard in shards)
        if count != store.identity["n"]:
            held = f"{folder} holds {count} of {store.identity['n']} samples"
            raise ValueError(f"{held}; call extract with the same cache to complete it")
        return cls.from_shards(shards, store.identity)

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __repr__(self) -> str:
        pairs = 0 if self.pairs is None else len(self.pairs.weights)
        counts = f"{len(self)} samples, {len(self.candidates)} candidates, {pairs} pairs"
        return f"Extraction({counts}; passes: {', '.join(self.logits)}; layers: {self.layers})"

    @property
    def full(self) -> str:
        """The key of the unmasked pass."""
        return "+".join(MODALITIES) if "audio" in self.embeddings else FULL

    def decisions(self, key: str | None = None, tau: float = 0.3, layer: int | None = None) -> Rows:
        """Compute p(y | inputs of a pass) with `decide`; default: the unmasked pass, last layer."""
        return decide(*self._logits(key, layer), tau)

    def fallback(self, key: str | None = None, tau: float = 0.3, layer: int | None = None) -> float:
        """Compute the share of samples whose decision `decide` makes uniform."""
        return float(is_undecided(*self._logits(key, layer), tau).mean())

    def correct(self, key: str | None = None) -> Bool[np.ndarray, " n"]:
        """Compare the most likely candidate of each sample with its answer."""
        logits, _ = self._logits(key)
        return np.array(self.candidates)[logits.argmax(-1)] == np.array(self.answers)

    def accuracy(self, key: str | None = None) -> float:
        """Compute the share of samples whose most likely candidate is the answer."""
        return float(self.correct(key).mean())

    def masked(self, tau: float = 0.3, layer: int | None = None) -> Decisions:
        """Return decisions whose unimodal rows come from masking the other modality."""
        self._require(FULL, *SOURCES)
        sources = {name: self.decisions(name, tau, layer) for name in SOURCES}
        return Decisions(self.decisions(FULL, tau, layer), sources, ids=self.sample_ids)

    def resampled(self, tau: float = 0.3, permute: np.random.Generator | None = None) -> Decisions:
        r"""Return decisions with unimodal rows :math:`p(y|do(v)) = \sum_t p(t)\,p(y|v,t)`.

        One row per pair, grouped by picture; both sources average to the same P(Y) exactly. With
        ``permute``, answers are first permuted among the pairs: a null for both sources.
        """
        if self.pairs is None:
            raise ValueError("no resampled pairs were extracted; call extract(..., partners=16)")
        joint = decide(self.pairs.logits, self.pairs.log_normalizer, tau)
        if permute is not None:
            joint = joint[permute.permutation(len(joint))]
        weights, sources = self.pairs.weights, {}
        for name, groups in zip(SOURCES, self.pairs.index.T, strict=True):  # mean of each group
            total, mass = np.zeros((len(self), joint.shape[1])), np.zeros(len(self))
            np.add.at(total, groups, weights[:, None] * joint)
            np.add.at(mass, groups, weights)
            sources[name] = total[groups] / mass[groups, None]
        pictures, ids = self.pairs.index[:, 0], self.sample_ids
        return Decisions(joint, sources, weights, pictures, averaged=True, ids=ids)

    def _require(self, *keys: str):
        missing = [key for key in keys if key not in self.logits]
        for key in missing:
            Pass.parse(key)  # an unknown key has a message of its own
        if missing:
            known = f"{', '.join(missing)} (extracted: {', '.join(self.logits) or 'none'})"
            call = f"call extract(..., passes={(*self.logits, *missing)})"
            raise ValueError(f"passes not extracted: {known}; {call}")

    def _logits(self, key: str | None, layer: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        key = key or self.full
        self._require(key)
        if layer is None:
            return self.logits[key], self.log_normalizer[key]
        if self.depth is not None:
            (layer,) = check_layers((layer,), self.depth)
        if layer not in self.layers:
            call = f"call extract(..., layers={(*self.layers, layer)})"
            raise ValueError(f"layer {layer} was not extracted; extracted: {self.layers}; {call}")
        row = self.layers.index(layer)
        return self.lens_logits[key][:, row], self.lens_log_normalizer[key][:, row]


def is_undecided(logits: np.ndarray, log_normalizer: np.ndarray, tau: float) -> np.ndarray:
    """Find the rows [n] whose candidates have less than ``tau`` of the vocabulary's probability.

    >>> is_undecided(np.log([[0.2, 0.1], [0.9, 0.1]]), np.zeros(2), tau=0.5).tolist()
    [True, False]
    """
    if not 0 <= tau <= 1:
        raise ValueError(f"tau is a share of probability, from 0 to 1; got {tau}")
    return np.exp(logsumexp(logits.astype(np.float64), axis=-1) - log_normalizer) < tau


def decide(logits: np.ndarray, log_normalizer: np.ndarray, tau: float = 0.3) -> Rows:
    """Renormalize over the candidates, in float64; uniform where `is_undecided`.

    >>> decide(np.log([[0.2, 0.1], [0.9, 0.1]]), np.zeros(2), tau=0.5).round(6).tolist()
    [[0.5, 0.5], [0.9, 0.1]]
    """
    rows = softmax(logits.astype(np.float64), axis=-1)
    rows[is_undecided(logits, log_normalizer, tau)] = 1 / rows.shape[-1]
    return rows
