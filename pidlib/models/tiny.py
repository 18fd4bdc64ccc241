"""Small instances of real multimodal architectures: the classes of transformers, a few layers wide, with random weights.

The minis are trained from these and the contract tests run on them, so a checkpoint of the same class from a hub takes the same code path.
Every family gets the same closed vocabulary (one token a word), the same 64 x 64 pictures and a chat template of its own kind.
"""

from dataclasses import dataclass

import torch
import transformers as hf
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

IMAGE_SIZE = 64
_MEAN_STD = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_convert_rgb": True}


@dataclass(frozen=True)
class Size:
    """Width and depth of a small model: the language model, then the vision tower."""

    width: int
    depth: int
    vision_width: int
    vision_depth: int

    @property
    def text(self) -> dict:
        """Arguments that every language model of these families shares."""
        return {
            "hidden_size": self.width,
            "intermediate_size": 2 * self.width,
            "num_hidden_layers": self.depth,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": self.width // 4,
            "max_position_embeddings": 256,
            "attention_dropout": 0.0,
        }

    @property
    def vision(self) -> dict:
        """Arguments of a plain vision transformer (CLIP, SigLIP)."""
        return {
            "hidden_size": self.vision_width,
            "intermediate_size": 2 * self.vision_width,
            "num_hidden_layers": self.vision_depth,
            "num_attention_heads": 4,
            "image_size": IMAGE_SIZE,
        }


SIZES = {"tiny": Size(32, 2, 32, 2), "small": Size(128, 4, 96, 3)}


def word_tokenizer(words, special: dict[str, str]) -> hf.PreTrainedTokenizerFast:
    """A tokenizer that knows ``words``, punctuation and line ends, one token each.

    Parameters
    ----------
    words : iterable of str
        The closed vocabulary.
    special : dict
        Attribute name -> token (``{"image_token": "<image>"}``); each becomes one id and an attribute of the tokenizer.
    """
    base = ["<unk>", "<pad>", "<s>", "</s>", *special.values()]
    closed = sorted(set(words) | set("\n?.,:!") | {"user", "assistant", "model"})
    vocabulary = {token: index for index, token in enumerate([*base, *(w for w in closed if w not in base)])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n|\w+|[^\w\s]"), behavior="removed", invert=True)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        extra_special_tokens=special,
        padding_side="left",
    )


def _chat(before: str, image: str, after: str) -> str:
    """A Jinja chat template of one turn: ``before``, the picture's placeholder, the question, ``after``."""
    part = "{{ " + repr(image) + " if part['type'] == 'image' else part['text'] }}"
    parts = "{% for part in messages[0]['content'] %}" + part + "{% endfor %}"
    return "{{ " + repr(before) + " }}" + parts + "{{ " + repr(after) + " }}"


def _llava(words, size: Size):
    tokenizer = word_tokenizer(words, {"image_token": "<image>"})
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessor(
            size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, do_center_crop=False, do_resize=True, **_MEAN_STD
        ),
        tokenizer=tokenizer,
        patch_size=16,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_chat("user: ", "<image>", "\nassistant:"),
    )
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(patch_size=16, **size.vision),
        text_config=hf.LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **size.text),
        image_token_index=tokenizer.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=(IMAGE_SIZE // 16) ** 2,
        tie_word_embeddings=False,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def _paligemma(words, size: Size):
    tokenizer = word_tokenizer(words, {"image_token": "<image>"})
    images = hf.SiglipImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, **_MEAN_STD)
    images.image_seq_length = (IMAGE_SIZE // 16) ** 2
    processor = hf.PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer)
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(patch_size=16, projection_dim=size.width, vision_use_head=False, **size.vision),
        text_config=hf.GemmaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **size.text),
        image_token_index=tokenizer.image_token_id,
        projection_dim=size.width,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def _gemma3(words, size: Size):
    special = {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>"}
    tokenizer = word_tokenizer(words, special)
    tokens = (IMAGE_SIZE // 16) ** 2
    processor = hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessor(size={"height": IMAGE_SIZE, "width": IMAGE_SIZE}, **_MEAN_STD),
        tokenizer=tokenizer,
        image_seq_length=tokens,
        chat_template=_chat("<s>user\n", "<start_of_image>", "\nmodel\n"),
    )
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(patch_size=8, vision_use_head=False, **size.vision),
        text_config=hf.Gemma3TextConfig(
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            sliding_window=64,
            query_pre_attn_scalar=size.width // 4,
            **size.text,
        ),
        mm_tokens_per_image=tokens,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def _qwen2_5_vl(words, size: Size):
    special = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
        "turn_start_token": "<|im_start|>",
        "turn_end_token": "<|im_end|>",
    }
    tokenizer = word_tokenizer(words, special)
    pixels = {"size": {"shortest_edge": IMAGE_SIZE**2, "longest_edge": IMAGE_SIZE**2}, "patch_size": 8, "merge_size": 2}
    processor = hf.Qwen2_5_VLProcessor(
        image_processor=hf.Qwen2VLImageProcessor(**pixels, **_MEAN_STD),
        video_processor=hf.Qwen2VLVideoProcessor(patch_size=8, merge_size=2),
        tokenizer=tokenizer,
        chat_template=_chat(
            "<|im_start|>user\n", "<|vision_start|><|image_pad|><|vision_end|>", "<|im_end|>\n<|im_start|>assistant\n"
        ),
    )
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    half = size.width // 8  # rotary pairs of one head, shared out to time, height and width
    time, height = half // 4, 3 * half // 8
    # The tower knows no absolute place, so the language model tells places by these angles alone. The usual base of 10,000 is made for
    # long texts and turns height and width by less than 0.01 from one of the four rows to the next; this one by up to half a radian.
    rope = {"rope_type": "default", "mrope_section": [time, height, half - time - height], "rope_theta": 10.0}
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": size.vision_depth,
            "hidden_size": size.vision_width,
            "intermediate_size": 2 * size.vision_width,
            "num_heads": 4,
            "out_hidden_size": size.width,
            "patch_size": 8,
            "window_size": 32,
            "fullatt_block_indexes": [size.vision_depth - 1],
        },
        text_config={"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "rope_parameters": rope, **ends, **size.text},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        vision_start_token_id=tokenizer.vision_start_token_id,
        vision_end_token_id=tokenizer.vision_end_token_id,
    )
    return hf.Qwen2_5_VLForConditionalGeneration(config), processor


_BUILDERS = {"llava": _llava, "paligemma": _paligemma, "gemma3": _gemma3, "qwen2_5_vl": _qwen2_5_vl}
FAMILIES = tuple(_BUILDERS)


def build(family: str, words, size: str = "small", seed: int = 0):
    """A randomly initialised model of ``family`` and its processor.

    Parameters
    ----------
    family : str
        One of ``FAMILIES``: the ``model_type`` of its configuration.
    words : iterable of str
        The closed vocabulary; unknown words become ``<unk>``.
    size : {"tiny", "small"}
        About 0.05 and 1 million parameters.
    seed : int
        Of the initial weights; the global generator is left as it was.

    Returns
    -------
    (PreTrainedModel, ProcessorMixin)
        In evaluation mode, on the CPU, float32.

    Raises
    ------
    ValueError
        If the family or the size is unknown.
    """
    for what, given, known in (("family", family, _BUILDERS), ("size", size, SIZES)):
        if given not in known:
            raise ValueError(f"unknown {what} {given!r}; choose one of {', '.join(known)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, processor = _BUILDERS[family](words, SIZES[size])
    return model.eval(), processor
