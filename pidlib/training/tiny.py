"""Small random models: the architecture of a saved model at another width, depth and vocabulary.

Minis are trained from these, and the extractor is tested on them. Every mini has a tokenizer of
whole words and receives a 64 x 64 picture as 4 x 4 tokens in reading order, or a 48 x 48 video as
3 x 3 tokens per two frames with 25 sound tokens per second.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import AddedToken, Tokenizer

from pidlib._common import unknown_name
from pidlib.models._transformers import transformers as hf
from pidlib.models.families import family_named
from pidlib.models.load import MINIS, load_processor


class Size(NamedTuple):
    """Width and depth of the language model, and of the vision tower."""

    width: int
    depth: int
    vision_width: int
    vision_depth: int


SIZES = {
    "tiny": Size(32, 2, 32, 2),
    "compact": Size(64, 3, 64, 2),
    "small": Size(128, 4, 96, 3),
    "deep": Size(96, 12, 96, 3),
}
_WORDS = {*"\n?.,:!", "user", "assistant", "model"}  # in every vocabulary: punctuation and roles


def build(
    family: str | Path, words: Iterable[str], size: str = "small", seed: int = 0
) -> tuple[hf.PreTrainedModel, hf.ProcessorMixin]:
    """Build a random model of a family in float32, for evaluation, and its processor.

    Raises a ValueError for an unknown family or size. The global generator is not changed.

    Parameters
    ----------
    family
        ``model_type`` of a mini in data/minis, or a folder with the configuration, tokenizer (of
        words) and processor of a saved model. Its weights are not read.
    words
        The closed vocabulary; other words become ``<unk>``.
    size
        Of `SIZES`: about 0.05, 0.3, 1 and 1.5 million parameters; 12 blocks if ``"deep"``,
        otherwise up to 4.
    seed
        Of the initial weights.
    """
    if size not in SIZES:
        raise ValueError(unknown_name("size", size, SIZES))
    source = _source(family)
    tokenizer = _tokenizer(source, words)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    _resize(config, SIZES[size], len(tokenizer))
    config = hf.AutoConfig.for_model(**config)
    processor = load_processor(source, config)
    processor.tokenizer = tokenizer
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = hf.AutoModelForImageTextToText.from_config(config)
    return model.eval(), processor


def _source(family: str | Path) -> Path:
    if isinstance(family, Path):
        return family
    known = {}
    for path in sorted(MINIS.glob("*/config.json")):
        known.setdefault(json.loads(path.read_text(encoding="utf-8"))["model_type"], path.parent)
    named = family_named(family).model_type
    if named not in known:
        raise ValueError(unknown_name("family of minis", family, known))
    return known[named]


def _tokenizer(source: Path, words: Iterable[str]) -> hf.PreTrainedTokenizerFast:
    """Rebuild a saved tokenizer: its named tokens first, then the words, then its other tokens."""
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    settings = json.loads((source / "tokenizer_config.json").read_text(encoding="utf-8"))
    added = {token["content"]: token for token in content["added_tokens"]}
    names = {token: name for name, token in settings.items() if isinstance(token, str)}
    named = {names[token]: token for token in added if token in names}
    vocabulary = [*named.values(), *sorted({*words, *_WORDS} - set(added))]
    content["model"]["vocab"] = {token: index for index, token in enumerate(vocabulary)}
    content["added_tokens"] = [added[token] for token in named.values()]
    content["padding"] = None
    usual = {name: named.pop(name) for name in ("unk_token", "pad_token", "bos_token", "eos_token")}
    tokenizer = hf.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(content)),
        **usual,
        extra_special_tokens=named,
        padding_side="left",
    )
    if settings["extra_special_tokens"]:
        extra = {"extra_special_tokens": settings["extra_special_tokens"]}
        tokenizer.add_special_tokens(extra)
    fields = ("content", "single_word", "lstrip", "rstrip", "normalized", "special")
    others = [token for token in added.values() if token["content"] not in names]
    tokenizer.add_tokens(
        [AddedToken(**{field: token[field] for field in fields}) for token in others]
    )
    return tokenizer


def _resize(config: dict, size: Size, n_words: int) -> None:
    """Set the widths and depths that a configuration contains."""
    config.pop("dtype")  # that of the saved weights
    text, vision = config["text_config"], config["vision_config"]
    head = size.width // 4
    _set(text, vocab_size=n_words, num_hidden_layers=size.depth)
    _set(text, hidden_size=size.width, intermediate_size=2 * size.width)
    _set(text, head_dim=head, query_pre_attn_scalar=head)
    text.pop("layer_types", None)  # for each layer; derived from the depth
    rope = text.get("rope_parameters") or {}
    if "mrope_section" in rope:  # rotary pairs of a head, for time, height and width
        time, height = head // 8, 3 * head // 16
        rope["mrope_section"] = [time, height, head // 2 - time - height]
    tower = size.vision_width
    _set(vision, num_hidden_layers=size.vision_depth, depth=size.vision_depth)
    _set(vision, hidden_size=tower, intermediate_size=2 * tower, out_hidden_size=size.width)
    if "embed_dim" in vision:  # Qwen2-VL: hidden_size is that of the language model
        vision.update(embed_dim=tower, hidden_size=size.width)
    _set(vision, fullatt_block_indexes=[size.vision_depth - 1])
    if "projection_dim" in config:
        config["projection_dim"] = vision["projection_dim"] = size.width
    audio = config.get("audio_config", {})
    _set(audio, d_model=tower, encoder_ffn_dim=2 * tower, output_dim=size.width)


def _set(config: dict, **values) -> None:
    config.update({key: value for key, value in values.items() if key in config})
