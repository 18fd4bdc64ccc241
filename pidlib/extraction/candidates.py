"""Candidates of several tokens: which tokens to append to a prompt, and the scores of wholes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class CandidateTokens:
    """The tokens of each candidate after the prompt, read behind it and a few `stems`."""

    tokens: tuple[tuple[int, ...], ...]
    is_mean: bool = False  # divide log probabilities by the number of tokens

    @property
    def stems(self) -> list[tuple[int, ...]]:
        """What to append to the prompt: candidates without last token, none another's beginning."""
        longest: list[tuple[int, ...]] = []
        for stem in sorted({tokens[:-1] for tokens in self.tokens}, key=len, reverse=True):
            if not any(other[: len(stem)] == stem for other in longest):
                longest.append(stem)
        return longest

    @property
    def vocabulary(self) -> list[int]:
        """All tokens of the candidates, in the order of their first use."""
        return list(dict.fromkeys(token for tokens in self.tokens for token in tokens))

    def whole(
        self,
        read: Mapping[str, Float[np.ndarray, "stems*rows places ..."]],  # of `vocabulary`
    ) -> dict[str, np.ndarray]:
        """Sum log probabilities of each candidate's tokens, or keep the logits of single tokens."""
        stems, column = self.stems, {token: n for n, token in enumerate(self.vocabulary)}
        read = {k: values.reshape(len(stems), -1, *values.shape[1:]) for k, values in read.items()}
        output, combine = {}, np.mean if self.is_mean else np.sum
        for kind in [name.removesuffix("logits") for name in read if name.endswith("logits")]:
            logits, normalizer = read[f"{kind}logits"], read[f"{kind}log_normalizer"]
            scores, constant = logits[0, :, 0], normalizer[0, :, 0]
            if stems != [()]:
                wholes = []
                for tokens in self.tokens:
                    n = [stem[: len(tokens) - 1] == tokens[:-1] for stem in stems].index(True)
                    each = [
                        logits[n, :, place, ..., column[token]] - normalizer[n, :, place]
                        for place, token in enumerate(tokens)
                    ]
                    wholes.append(combine(each, 0))
                scores, constant = np.stack(wholes, -1), np.zeros(constant.shape, np.float32)
            output |= {f"{kind}logits": scores, f"{kind}log_normalizer": constant}
        return output
