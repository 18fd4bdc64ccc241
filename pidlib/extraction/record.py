"""The record of an extraction: what a model answered, with which modalities, and what it had before its eyes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int

from pidlib.decisions import Decisions
from pidlib.extraction.masking import FULL, MODALITIES, SOURCES
from pidlib.extraction.readout import candidate_mass, decide
from pidlib.store import Shard, Store


@dataclass(frozen=True, eq=False)
class Pairs:
    """Answers to pictures paired with questions that were drawn independently of them.

    Attributes
    ----------
    index
        Of each pair the sample of its picture and the first sample that asks its question, shape [M, 2].
    weights
        Positive, sum to one, shape [M].
    logits, log_normalizer
        As in `Extraction`, shapes [M, k] and [M].
    """

    index: Int[np.ndarray, "m 2"]
    weights: Float64[np.ndarray, " m"]
    logits: Float[np.ndarray, "m k"]
    log_normalizer: Float[np.ndarray, " m"]


@dataclass(frozen=True, eq=False)
class Extraction:
    """All that was read off a model for N samples with one alphabet of k candidates.

    Attributes
    ----------
    sample_ids, answers, templates, questions
        Of each sample, in the order they were given.
    candidates
        The alphabet; logits are those of each candidate's first token at the answer position.
    logits, log_normalizer
        For each pass (``"vision+language"``, ``"vision"``, ``"language"``, ``"none"``, ``"none#1"``) arrays [N, k] and [N]; the normaliser
        is that of the whole vocabulary.
    embeddings
        For each modality that samples have, the mean of its token embeddings at the door of the language model, [N, d].
    layers
        The blocks of the language model that were asked for, counted from 0.
    hidden
        Their outputs at the answer position in the full pass, [N, L, d]; None where neither was asked for.
    lens_logits, lens_log_normalizer
        The logit lens of these blocks, for each pass [N, L, k] and [N, L].
    pairs
        The resampled inputs, if any were asked for.
    tokens
        If asked for: lists of one array for each sample, in its own length. ``"vision"``, ``"audio"`` and ``"language"`` are the token
        embeddings at the door, [tokens, d]; ``"hidden"`` is the output of the last block at every token of the full pass, [length, d].
    """

    sample_ids: tuple[str, ...]
    answers: tuple[str, ...]
    candidates: tuple[str, ...]
    logits: Mapping[str, Float[np.ndarray, "n k"]]
    log_normalizer: Mapping[str, Float[np.ndarray, " n"]]
    embeddings: Mapping[str, Float[np.ndarray, "n d"]]
    layers: tuple[int, ...]
    hidden: Float[np.ndarray, "n L d"] | None
    lens_logits: Mapping[str, Float[np.ndarray, "n L k"]]
    lens_log_normalizer: Mapping[str, Float[np.ndarray, "n L"]]
    pairs: Pairs | None
    tokens: Mapping[str, list[Float[np.ndarray, "tokens d"]]] = field(default_factory=dict)
    templates: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()

    @classmethod
    def of(cls, shards: Sequence[Shard], *, candidates: Sequence[str], passes: Sequence[str], layers: Sequence[int]) -> "Extraction":
        """Put the shards of one extraction together, in their order."""
        arrays = {name: np.concatenate([shard.arrays[name] for shard in shards]) for name in shards[0].arrays}

        def group(prefix, names):
            return {name: arrays[f"{prefix}/{name}"] for name in names if f"{prefix}/{name}" in arrays}

        told = {
            name: tuple(one for shard in shards for one in shard.facts[name])
            for name in ("sample_ids", "answers", "templates", "questions")
        }
        joined, lengths = (group(what, (*MODALITIES, "hidden")) for what in ("tokens", "lengths"))
        return cls(
            **told,
            candidates=tuple(candidates),
            logits=group("logits", passes),
            log_normalizer=group("log_normalizer", passes),
            embeddings=group("embeddings", MODALITIES),
            layers=tuple(layers),
            hidden=arrays.get("hidden"),
            lens_logits=group("lens_logits", passes),
            lens_log_normalizer=group("lens_log_normalizer", passes),
            pairs=Pairs(**pairs) if (pairs := group("pairs", [one.name for one in fields(Pairs)])) else None,
            tokens={name: np.split(some, np.cumsum(lengths[name])[:-1]) for name, some in joined.items()},
        )

    @classmethod
    def load(cls, folder: str | Path) -> "Extraction":
        """Read a complete extraction from its folder, without the model.

        Raises
        ------
        FileNotFoundError, CorruptShard, ValueError
            If nothing is stored there, a shard is not what the manifest says, or the run that made the folder was interrupted.
        """
        store = Store(folder)
        shards = [store.read(name) for name in store.names if name.startswith("samples-")]
        count = sum(len(shard.facts["sample_ids"]) for shard in shards)
        if count != store.identity["n"]:
            raise ValueError(f"{folder} holds {count} of {store.identity['n']} samples; call extract with this folder to go on")
        return cls.of(shards, **{name: store.identity[name] for name in ("candidates", "passes", "layers")})

    def __len__(self) -> int:
        return len(self.sample_ids)

    def __repr__(self) -> str:
        pairs = 0 if self.pairs is None else len(self.pairs.weights)
        passes = ", ".join(self.logits)
        return f"Extraction({len(self)} samples, {len(self.candidates)} candidates, passes: {passes}; layers: {self.layers}; {pairs} pairs)"

    @property
    def full(self) -> str:
        """The key of the pass in which nothing is hidden."""
        return "+".join(MODALITIES) if "audio" in self.embeddings else FULL

    def decisions(self, key: str | None = None, tau: float = 0.3, layer: int | None = None) -> Float64[np.ndarray, "n k"]:
        """p(y | what the pass was given, all if none is named) over the candidates; uniform where they hold less than ``tau`` of the mass.

        With ``layer``, as the logit lens reads it after that block.
        """
        return decide(*self._read(key, layer), tau)

    def candidate_mass(self, key: str | None = None, layer: int | None = None) -> Float64[np.ndarray, " n"]:
        """The candidates' share of the whole vocabulary's probability."""
        return candidate_mass(*self._read(key, layer))

    def fallback(self, key: str | None = None, tau: float = 0.3, layer: int | None = None) -> float:
        """The share of samples whose decision was replaced by the uniform one."""
        return float((self.candidate_mass(key, layer) < tau).mean())

    def accuracy(self, key: str | None = None) -> float:
        """The share of samples whose likeliest candidate is the answer."""
        logits, _ = self._read(key, None)
        return float(np.mean([self.candidates[best] == answer for best, answer in zip(logits.argmax(-1), self.answers, strict=True)]))

    def masked(self, tau: float = 0.3, layer: int | None = None) -> Decisions:
        """Decisions with the unimodal rows measured by masking: the other modality is noise."""
        sources = {name: self.decisions(name, tau, layer) for name in SOURCES}
        return Decisions(joint=self.decisions(FULL, tau, layer), sources=sources, groups=np.arange(len(self)))

    def resampled(self, tau: float = 0.3, deal: np.random.Generator | None = None) -> Decisions:
        r"""Decisions with the unimodal rows measured by resampling: :math:`p(y \mid do(v)) = \sum_t p(t)\,p(y \mid v, t)`.

        One row for each pair; both sources average to the same P(Y), exactly. Rows are grouped by picture. With ``deal``, the answers are
        first dealt out anew to the pairs: what pictures or questions then seem to tell alone is chance.
        """
        if self.pairs is None:
            raise ValueError("this extraction holds no resampled pairs; extract with partners=K")
        joint = decide(self.pairs.logits, self.pairs.log_normalizer, tau)
        if deal is not None:
            joint = joint[deal.permutation(len(joint))]
        sources = {name: self._marginal(joint, of) for name, of in zip(SOURCES, self.pairs.index.T, strict=True)}
        return Decisions(joint=joint, sources=sources, weights=self.pairs.weights, groups=self.pairs.index[:, 0], averaged=True)

    def _marginal(self, joint: np.ndarray, of: np.ndarray) -> np.ndarray:
        """The weighted mean of the rows that share a picture (or a question), on each of them."""
        weights = self.pairs.weights
        total, mass = np.zeros((len(self), joint.shape[1])), np.zeros(len(self))
        np.add.at(total, of, weights[:, None] * joint)
        np.add.at(mass, of, weights)
        return total[of] / mass[of, None]

    def _read(self, key: str | None, layer: int | None) -> tuple[np.ndarray, np.ndarray]:
        key = key or self.full
        if key not in self.logits:
            raise ValueError(f"no pass {key!r} here; there are {', '.join(self.logits) or 'none'}: extract with passes=(..., {key!r})")
        if layer is None:
            return self.logits[key], self.log_normalizer[key]
        if layer not in self.layers:
            raise ValueError(f"layer {layer} was not read; there are {self.layers}: extract with layers=(..., {layer})")
        at = self.layers.index(layer)
        return self.lens_logits[key][:, at], self.lens_log_normalizer[key][:, at]
