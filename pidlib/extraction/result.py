"""The result of an extraction: answers under each pass, embeddings and resampled pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from jaxtyping import Float, Float64, Int
from scipy.special import logsumexp, rel_entr, softmax

from pidlib._common import fingerprint
from pidlib.decomposition.decisions import Decisions
from pidlib.decomposition.regression import cross_fit
from pidlib.extraction.masking import FULL, MODALITIES, SOURCES, Pass
from pidlib.extraction.store import Shard

Rows = Float64[np.ndarray, "n k"]
# Facts of samples that shards keep: name -> attribute of `Sample`.
FACTS = {f"{name}s": name for name in ("sample_id", "answer", "template")}
FACTS |= {"questions": "text", "media": "media"}


@dataclass(frozen=True, eq=False)
class Pairs:
    """Answers to pictures paired with questions drawn independently of them."""

    index: Int[np.ndarray, "m 2"]  # sample of the picture, first sample with the question
    weights: Float64[np.ndarray, " m"]  # positive, with sum 1
    logits: Float[np.ndarray, "m k"]
    log_normalizer: Float[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class Extraction:
    """Answers by pass, and embeddings by modality, of n samples with k candidates."""

    sample_ids: tuple[str, ...]
    answers: tuple[str, ...]
    candidates: tuple[str, ...]
    # Of candidates, and of the vocabulary; log probabilities and 0 if any has several tokens.
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
    questions: tuple[str, ...] = ()  # with their options
    media: tuple[str, ...] = ()  # hashes of picture, frames and sound
    fingerprint: str = ""  # hash of everything that determines these numbers

    @classmethod
    def from_shards(cls, shards: Sequence[Shard], identity: Mapping) -> "Extraction":
        """Concatenate the shards of an extraction."""
        names = shards[0].arrays
        arrays = {name: np.concatenate([shard.arrays[name] for shard in shards]) for name in names}

        def group(prefix, keys):
            return {key: arrays[f"{prefix}/{key}"] for key in keys if f"{prefix}/{key}" in arrays}

        read = ("logits", "log_normalizer", "lens_logits", "lens_log_normalizer")
        pairs = group("pairs", [column.name for column in fields(Pairs)])
        ends = group("lengths", (*MODALITIES, "hidden"))
        tokens = group("tokens", ends).items()
        return cls(
            **{name: sum((tuple(shard.facts[name]) for shard in shards), ()) for name in FACTS},
            **{name: group(name, identity["passes"]) for name in read},
            candidates=tuple(identity["candidates"]),
            embeddings=group("embeddings", MODALITIES),
            layers=tuple(identity["layers"]),
            hidden=arrays.get("hidden"),
            pairs=Pairs(**pairs) if pairs else None,
            tokens={name: np.split(rows, ends[name].cumsum()[:-1]) for name, rows in tokens},
            fingerprint=fingerprint(**identity),
        )

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

    def draws(self, key: str | None = None) -> tuple[str, ...]:
        """The extracted draws of the noise for a pass; only one if it is named: ``"vision#0"``."""
        base, _, draw = (key or self.full).partition("#")
        single = base if int(draw or 0) == 0 else f"{base}#{draw}"
        self._require(single)
        every = tuple(name for name in self.logits if base == name.partition("#")[0])
        return (single,) if draw else every

    def decisions(self, key: str | None = None, tau: float = 0.3, layer: int | None = None) -> Rows:
        """Compute p(y | inputs of a pass) with `decide`, the mean over all `draws` of its noise."""
        return np.mean(self.drawn(key, tau, layer), axis=0)

    def drawn(
        self, key: str | None = None, tau: float = 0.3, layer: int | None = None
    ) -> Float64[np.ndarray, "draws n k"]:
        """Compute the decisions of each of the `draws` of a pass."""
        return np.stack([decide(*self._logits(name, layer), tau) for name in self.draws(key)])

    def spread(self, key: str, tau: float = 0.3) -> float:
        """Compute the mean total variation of a draw's decisions from their mean over draws."""
        rows = self.drawn(key, tau)
        return float(np.abs(rows - rows.mean(0)).sum(-1).mean() / 2)

    def information(self, key: str, tau: float = 0.3) -> float:
        """Compute I(Y; sample) in bits for single draws, noise included, and average it."""
        rows = self.drawn(key, tau)
        terms = rel_entr(rows, rows.mean(1, keepdims=True)).sum(-1)
        return float(terms.mean() / np.log(2))

    def fallback(self, key: str | None = None, tau: float = 0.3) -> float:
        """Compute the share of decisions, of samples and draws, that `decide` makes uniform."""
        return float(np.mean([is_undecided(*self._logits(name), tau) for name in self.draws(key)]))

    def correct(self, key: str | None = None) -> Float[np.ndarray, " n"]:
        """Compute the share of draws in which the most likely candidate is a sample's answer."""
        names, answers = np.array(self.candidates), np.array(self.answers)
        chosen = [names[self.logits[name].argmax(-1)] for name in self.draws(key)]
        return np.mean([each == answers for each in chosen], axis=0)

    def accuracy(self, key: str | None = None) -> float:
        """Compute the share of samples and draws whose most likely candidate is the answer."""
        return float(self.correct(key).mean())

    def masked(
        self,
        tau: float = 0.3,
        layer: int | None = None,
        permute: str = "",
        generator: np.random.Generator | None = None,
    ) -> Decisions:
        """Return decisions whose unimodal rows come from masking the other modality.

        p(y | t) is the mean over all draws of noise and samples with the text t, p(y | v) likewise.
        With the name of a source in ``permute``, its answers are first permuted among samples and
        draws by the generator: a null in which it carries nothing.
        """
        self._require(FULL, *SOURCES)
        joint, sources = self.decisions(FULL, tau, layer), {}
        for name in SOURCES:
            rows = self.drawn(name, tau, layer)
            if name == permute:
                flat = rows.reshape(-1, rows.shape[-1])
                rows = generator.permutation(flat).reshape(rows.shape)
            sources[name] = rows.mean(0)
        return Decisions(joint, sources, values=self._values(), ids=self.sample_ids)

    def resampled(
        self,
        tau: float = 0.3,
        permute: str = "",
        generator: np.random.Generator | None = None,
    ) -> Decisions:
        r"""Return decisions with unimodal rows :math:`p(y|do(v)) = \sum_t p(t)\,p(y|v,t)`.

        One row per pair; both sources average to the same P(Y) exactly. With the name of a source
        in ``permute``, its answers are first permuted among the pairs: a null, as for `masked`.
        """
        if self.pairs is None:
            raise ValueError("no resampled pairs were extracted; call extract(..., partners=16)")
        joint = decide(self.pairs.logits, self.pairs.log_normalizer, tau)
        rows = dict.fromkeys(SOURCES, joint)
        if permute:
            rows[permute] = generator.permutation(joint)
        columns, known = dict(zip(SOURCES, self.pairs.index.T, strict=True)), self._values()
        values = {name: known.get(name, np.arange(len(self)))[columns[name]] for name in SOURCES}
        options = {"groups": self.pairs.index, "values": values, "ids": self.sample_ids}
        return Decisions(joint, rows, self.pairs.weights, **options)

    def observational(self, tau: float = 0.3, seed: int = 0) -> Decisions:
        """Return decisions whose unimodal rows are regressed on the embeddings of one modality.

        They are means of p(y | v, t) in the law of the inputs and without noise, as far as a linear
        predictor sees them, see `pidlib.decomposition.regression.cross_fit`.
        """
        joint = self.decisions(FULL, tau)
        rows = {name: cross_fit(self.embeddings[name], joint, seed=seed) for name in SOURCES}
        return Decisions(joint, rows, values=self._values(), ids=self.sample_ids)

    def repeats(self, source: str) -> bool:
        """Whether a source was masked with several draws, or has equal inputs, to average over."""
        values = self._values().get(source, np.arange(len(self)))
        return len(self.draws(source)) > 1 or len(np.unique(values)) < len(self)

    def _values(self) -> dict[str, np.ndarray]:
        """Which samples have equal pictures (or clips), and which equal questions."""
        labels = {"vision": self.media, "language": self.questions}
        return {name: np.array(each) for name, each in labels.items() if len(each) == len(self)}

    def _require(self, *keys: str):
        missing = [key for key in keys if key not in self.logits]
        for key in missing:
            Pass.parse(key)  # an unknown key has a message of its own
        if missing:
            known = f"{', '.join(missing)} (extracted: {', '.join(self.logits) or 'none'})"
            call = f"call extract(..., passes={(*self.logits, *missing)})"
            raise ValueError(f"passes not extracted: {known}; {call}")

    def _logits(self, key: str, layer: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        if layer is None:
            return self.logits[key], self.log_normalizer[key]
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
