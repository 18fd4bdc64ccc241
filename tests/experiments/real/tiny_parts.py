"""Tiny parts with the layout of the real ones, made here: nothing is downloaded."""

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from pidlib.benchmarks import load, names
from pidlib.experiments.real import parts
from pidlib.models._transformers import transformers

TOWER = {
    "depth_coefficient": 1.0,
    "width_coefficient": 1.0,
    "in_channels": [32, 8],
    "out_channels": [8, 16],
    "kernel_sizes": [3, 5],
    "strides": [1, 2],
    "num_block_repeats": [1, 2],
    "expand_ratios": [1, 2],
    "hidden_dim": 1280,
    "hidden_size": 1280,
    "hidden_act": "relu6",
}
FACTS = {
    "llama.embedding_length": 32,
    "llama.feed_forward_length": 48,
    "llama.block_count": 2,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 256,
    "llama.rope.freq_base": 1e5,
    "llama.attention.layer_norm_rms_epsilon": np.float32(1e-5),
}


def tokenizer():
    """A tokenizer of whole words and single signs, with the special tokens of SmolLM2."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    texts = [s.question for name in names("stamps") for s in load(name, "test")]
    answers = [c for name in names("stamps") for c in load(name, "test", 1)[0].candidates]
    split = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), "removed", invert=True)
    words = {word for text in texts + answers for word, _ in split.pre_tokenize_str(text)}
    vocabulary = [*special, "<unk>", *sorted({*words, "user", "assistant", "\n"})]
    ids = {word: index for index, word in enumerate(vocabulary)}
    made = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    made.pre_tokenizer = split
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token=special[1],
        eos_token=special[2],
        pad_token=special[2],
        unk_token="<unk>",
        additional_special_tokens=special,
    )


def gguf_weights(model):
    """The weights of a Llama under the names and in the order of a GGUF file."""
    names = {value: key for key, value in parts._NAMES.items()}
    weights = {}
    for name, value in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        *prefix, kind = name.removesuffix(".weight").partition("layers.")[2].partition(".")
        kind = names[kind or name.removesuffix(".weight")]
        heads = {"attn_q": 4, "attn_k": 2}.get(kind)
        if heads:
            value = value.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
        block = f"blk.{prefix[0]}." if prefix[0] else ""
        weights[f"{block}{kind}.weight"] = value.numpy().copy()
    return weights


def language(vocabulary):
    """A random Llama."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    rope = {"rope_type": "default", "rope_theta": 1e5}
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        **shape,
        **heads,
        rope_parameters=rope,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config).eval()


def lite_state(tower):
    """Weights of a tower as EfficientNet-Lite stores them: other names, no gates, a classifier."""
    torch.manual_seed(1)
    state = {}
    for index, (name, value) in enumerate(tower.state_dict().items()):
        if "squeeze_excite" not in name:
            value = torch.rand_like(value) + 0.5 if value.ndim == 1 else value
            value = torch.randn_like(value) / value[0].numel() ** 0.5 if value.ndim > 1 else value
            state[f"_layer{index}"] = value
    return state | {"_fc.weight": torch.randn(10, 1280), "_fc.bias": torch.zeros(10)}
