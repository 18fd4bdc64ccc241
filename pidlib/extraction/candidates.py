"""Candidates of several tokens: which tokens to append to a prompt, and the scores of wholes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class CandidateTokens:
    """The tokens of each candidate after the prompt.

    Log probabilities of all of them follow from the prompt with a few `stems` appended: candidates
    without their last token, each of which is no beginning of another. Single tokens need none.
    """

    tokens: tuple[tuple[int, ...], ...]
    is_mean: bool = False  # divide log probabilities by the number of tokens

    @property
    def stems(self) -> list[tuple[int, ...]]:
        """Tokens to append to the prompt, one after the other; ``[()]`` for single tokens."""
        short = sorted({tokens[:-1] for tokens in self.tokens}, key=len, reverse=True)
        longest: list[tuple[int, ...]] = []
        for stem in short:
            if not any(other[: len(stem)] == stem for other in longest):
                longest.append(stem)
        return longest

    @property
    def vocabulary(self) -> list[int]:
        """All tokens of the candidates, in the order of their first use."""
        return list(dict.fromkeys(token for tokens in self.tokens for token in tokens))

    def whole(
        self, read: Mapping[str, Float[np.ndarray, "stems*rows places ..."]]
    ) -> dict[str, np.ndarray]:
        """Sum the log probabilities of each candidate's tokens.

        ``read`` has logits of the `vocabulary` and log normalizers after the prompt and after each
        token of each stem. Candidates of single tokens keep their logits and log normalizers.
        """
        stems, column = self.stems, {token: n for n, token in enumerate(self.vocabulary)}
        output = {}
        for kind in {name.removesuffix("logits") for name in read if name.endswith("logits")}:
            logits, normalizer = (
                values.reshape(len(stems), -1, *values.shape[1:])
                for values in (read[f"{kind}logits"], read[f"{kind}log_normalizer"])
            )
            if stems == [()]:
                output[f"{kind}logits"] = logits[0, :, 0]
                output[f"{kind}log_normalizer"] = normalizer[0, :, 0]
                continue
            scores = []
            for tokens in self.tokens:
                own = next(
                    n for n, stem in enumerate(stems) if stem[: len(tokens) - 1] == tokens[:-1]
                )
                each = [
                    logits[own, :, place, ..., column[token]] - normalizer[own, :, place]
                    for place, token in enumerate(tokens)
                ]
                scores.append(np.mean(each, 0) if self.is_mean else np.sum(each, 0))
            output[f"{kind}logits"] = np.stack(scores, -1)
            output[f"{kind}log_normalizer"] = np.zeros(normalizer[0, :, 0].shape, np.float32)
        return output
