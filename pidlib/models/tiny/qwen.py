"""The Qwen-VL families: a tower that merges four patches to a token, and rotary positions of time, height and width."""

import transformers as hf

from pidlib.models.tiny.parts import IMAGE_SIZE, MEAN_STD, Size, chat, ends, vocabulary, word_tokenizer

PATCH, MERGE = 8, 2
GRID = IMAGE_SIZE // PATCH
Built = tuple[hf.PreTrainedModel, hf.ProcessorMixin]


def _shared(words, size: Size) -> tuple[dict, dict, dict]:
    """Arguments of the three processors, of their language models, and of their configurations."""
    special = {
        "image_token": "<|image_pad|>",
        "video_token": "<|video_pad|>",
        "vision_start_token": "<|vision_start|>",
        "vision_end_token": "<|vision_end|>",
        "turn_start_token": "<|im_start|>",
        "turn_end_token": "<|im_end|>",
    }
    tokenizer = word_tokenizer(words, special)
    pixels = {"size": {"shortest_edge": IMAGE_SIZE**2, "longest_edge": IMAGE_SIZE**2}, "patch_size": PATCH, "merge_size": MERGE}
    picture = "<|vision_start|><|image_pad|><|vision_end|>"
    processor = {
        "image_processor": hf.Qwen2VLImageProcessor(**pixels, **MEAN_STD),
        "tokenizer": tokenizer,
        "chat_template": chat("<|im_start|>user\n", picture, "<|im_end|>\n<|im_start|>assistant\n"),
    }
    half = size.width // 8  # rotary pairs of one head, shared out to time, height and width
    time, height = half // 4, 3 * half // 8
    # The towers of the first two know no absolute place, so the language model tells places by these angles alone. The usual base of
    # 10,000 is made for long texts and turns height and width by less than 0.01 from one of the four rows to the next; this one by up
    # to half a radian.
    rope = {"rope_type": "default", "mrope_section": [time, height, half - time - height], "rope_theta": 10.0}
    text = {**vocabulary(tokenizer), **ends(tokenizer), **size.text, "rope_parameters": rope}
    marks = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    return processor, text, {mark: getattr(tokenizer, mark) for mark in marks}


def qwen2_vl(words, size: Size) -> Built:
    """Qwen2-VL: every patch sees every other."""
    processor, text, marks = _shared(words, size)
    vision = {
        "depth": size.vision_depth,
        "embed_dim": size.vision_width,
        "mlp_ratio": 2,
        "num_heads": 4,
        "hidden_size": size.width,
        "patch_size": PATCH,
    }
    model = hf.Qwen2VLForConditionalGeneration(hf.Qwen2VLConfig(vision_config=vision, text_config=text, **marks))
    return model, hf.Qwen2VLProcessor(video_processor=hf.Qwen2VLVideoProcessor(patch_size=PATCH, merge_size=MERGE), **processor)


def qwen2_5_vl(words, size: Size) -> Built:
    """Qwen2.5-VL: patches see their window, and in the last block every other."""
    processor, text, marks = _shared(words, size)
    vision = tower(size) | {"window_size": 32, "fullatt_block_indexes": [size.vision_depth - 1]}
    model = hf.Qwen2_5_VLForConditionalGeneration(hf.Qwen2_5_VLConfig(vision_config=vision, text_config=text, **marks))
    return model, hf.Qwen2_5_VLProcessor(video_processor=hf.Qwen2VLVideoProcessor(patch_size=PATCH, merge_size=MERGE), **processor)


def qwen3_vl(words, size: Size) -> Built:
    """Qwen3-VL: absolute places in the tower, whose first block also speaks to the first block of the language model (deepstack)."""
    processor, text, marks = _shared(words, size)
    vision = tower(size) | {"num_position_embeddings": GRID**2, "deepstack_visual_indexes": [0]}
    model = hf.Qwen3VLForConditionalGeneration(hf.Qwen3VLConfig(vision_config=vision, text_config=text, **marks))
    return model, hf.Qwen3VLProcessor(video_processor=hf.Qwen3VLVideoProcessor(patch_size=PATCH, merge_size=MERGE), **processor)


def tower(size: Size) -> dict:
    """Arguments of the towers that merge patches, from Qwen2.5-VL on."""
    return {
        "depth": size.vision_depth,
        "hidden_size": size.vision_width,
        "intermediate_size": 2 * size.vision_width,
        "num_heads": 4,
        "out_hidden_size": size.width,
        "patch_size": PATCH,
    }
