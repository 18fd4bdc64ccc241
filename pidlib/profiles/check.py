"""What can be read of a model, before a profile: ``python -m pidlib check MODEL``."""

import time
from collections import Counter
from collections.abc import Sequence
from functools import partial

from pidlib.benchmarks import Sample
from pidlib.extraction.checks import check_samples
from pidlib.extraction.extractor import DRAWS, PASSES
from pidlib.extraction.masking import drawn
from pidlib.extraction.proof import prove
from pidlib.extraction.reader import Reader, Row
from pidlib.extraction.result import is_undecided
from pidlib.models import LoadedModel
from pidlib.models.families import FAMILIES

N, PARTNERS = 256, 32  # of the profile whose cost is estimated


def check(
    loaded: LoadedModel, samples: Sequence[Sample], tau: float = 0.3, n: int = N
) -> dict[str, str]:
    """Describe a model by a few samples, a line each, its cost by `n`; ValueError if unreadable."""
    samples, model = check_samples(samples, loaded=loaded), loaded.model
    first, tokenizer, family = samples[0], loaded.processor.tokenizer, loaded.family.name
    reader = Reader(loaded, first.candidates, (), first.question, len(samples))
    proof = prove(reader, first)
    for _ in range(2):  # the first is slower
        start = time.perf_counter()
        rows = [Row(item.picture, item.question) for item in reader.encode(samples)]
        read = time.perf_counter()
        output = reader.answer(rows)
    passes = len(drawn(PASSES, DRAWS)) + PARTNERS
    seconds = (read - start + passes * (time.perf_counter() - read)) / len(rows) * n
    undecided = is_undecided(output["logits"], output["log_normalizer"], tau)
    inputs = tokenizer.decode(rows[0].question.fields["input_ids"])
    tokens = map(tokenizer.convert_ids_to_tokens, reader.candidates.tokens)
    spelled = zip(first.candidates, tokens, strict=True)
    devices = ", ".join(sorted({str(weight.device) for weight in model.parameters()}))
    exact = "its own forward pass, a masked modality has no influence"
    alone = "each row of a batch is the row alone" if proof.batch <= proof.limit else "batches of 1"
    once = "once for all questions" if proof.prefix <= proof.limit else "again for each question"
    lens = "the logit lens ends in the answer" if proof.lens <= proof.limit else "no logit lens"
    thinks = "<think" in inputs or "enable_thinking" in str(loaded.processor.chat_template)
    words = likeliest_tokens(reader, samples)
    return {
        "model": f"{loaded.name}, revision {loaded.revision}",
        "family": f"{family}, {'by its row' if family in FAMILIES else 'derived'}",
        "weights": f"{model.num_parameters():,} parameters, {model.dtype}, on {devices}",
        "proved": f"{exact}; {alone}; pictures are read {once}; {lens}",
        "prompt": f"{inputs!r}, and the {'clip' if first.video is not None else 'picture'}",
        "words": " ".join(unknown_words(loaded, samples)) or "none unknown",
        "thinking": "switched off where the template allows it" if thinks else "none",
        "candidates": ", ".join(f"{name}: {' '.join(own)}" for name, own in spelled),
        "answers": f"fallback {undecided.mean():.2f} at tau = {tau:g}; likeliest tokens: {words}",
        "cost": f"at most {seconds / 60:,.1f} minutes for {n} samples with {PARTNERS} partners",
    }


def unknown_words(loaded: LoadedModel, samples: Sequence[Sample]) -> list[str]:
    """A note of the words of questions that the tokenizer does not know, if there are any."""
    tokenizer = loaded.processor.tokenizer
    encode, unknown = partial(tokenizer.encode, add_special_tokens=False), tokenizer.unk_token_id
    words = dict.fromkeys(word for sample in samples for word in sample.text.split())
    words = [repr(word) for word in words if unknown in encode(word)]
    more = f" and {len(words) - 5} more" * (len(words) > 5)
    return [f"words that the model does not know: {', '.join(words[:5])}{more}"] if words else []


def likeliest_tokens(reader: Reader, samples: Sequence[Sample]) -> str:
    """The tokens that are most often likeliest after the prompt, candidates or not, with counts."""
    rows = [Row(item.picture, item.question) for item in reader.encode(samples)]
    decode = reader.prompter.processor.tokenizer.decode
    counts = Counter(map(decode, reader.likeliest(rows)))
    return ", ".join(f"{word!r} ({count})" for word, count in counts.most_common(5))
