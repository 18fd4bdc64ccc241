"""Tiny random models of families that nothing here was written for, a function each.

Each has a trap of its own, named in its docstring. Widths are those of the tests' other models.
"""

from collections.abc import Callable, Iterable

import torch
import transformers as hf
from small_world import WORDS, spread
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from pidlib.models import LoadedModel, family_of

ZOO: dict[str, Callable] = {}
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "attention_dropout": 0.0,
}
NO_HEAD = {name: value for name, value in TEXT.items() if name != "head_dim"}
TOWER = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
SQUARE = {"size": {"height": 64, "width": 64}}
SHARES = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10.0}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def zoo(build: Callable) -> Callable:
    ZOO[build.__name__] = build
    return build


def load(name: str, words: Iterable[str] = WORDS) -> LoadedModel:
    """Build a model with random weights, spread so that its answers differ."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, processor = ZOO[name](words)
    processor.tokenizer.padding_side = "left"
    return LoadedModel(
        name, spread(model, 0), processor, family_of(model), "0" * 40, torch.device("cpu")
    )


def word_tokenizer(words: Iterable[str], **special: str) -> hf.PreTrainedTokenizerFast:
    """A tokenizer of whole words; special tokens are attributes, such as ``image_token``."""
    usual = {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    others = sorted({*words, *"\n?.,:!", "user", "assistant", "question", "answer"})
    vocabulary = [*usual.values(), *special.values(), *others]
    core = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unk>")
    )
    words_and_signs = Regex(r"\n|\w+|[^\w\s]")
    core.pre_tokenizer = pre_tokenizers.Split(words_and_signs, behavior="removed", invert=True)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=core, **usual, extra_special_tokens=special, padding_side="left"
    )


def ids_of(tokenizer: hf.PreTrainedTokenizerFast) -> dict[str, int]:
    """Return the vocabulary's part of a configuration."""
    names = ("bos_token_id", "eos_token_id", "pad_token_id")
    return {"vocab_size": len(tokenizer)} | {name: getattr(tokenizer, name) for name in names}


def chat(image: str) -> str:
    """A chat template of one turn, with the placeholder of a picture."""
    part = "{{ " + repr(image) + " if part['type'] == 'image' else part['text'] }}"
    turn = "{% for part in messages[0]['content'] %}" + part + "{% endfor %}"
    return "<s>user\n" + turn + "\nassistant:"


@zoo
def llava_pixtral(words):
    """As LLaVA, with pictures of any size: the tower needs their sizes, rows end with a mark."""
    tokenizer = word_tokenizer(
        words, image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]"
    )
    images = hf.PixtralImageProcessor(
        size={"longest_edge": 64}, patch_size={"height": 16, "width": 16}
    )
    processor = hf.PixtralProcessor(images, tokenizer, patch_size=16, chat_template=chat("[IMG]"))
    config = hf.LlavaConfig(
        vision_config=hf.PixtralVisionConfig(**TOWER, image_size=64, patch_size=16),
        text_config=hf.MistralConfig(**ids_of(tokenizer), **TEXT),
        image_token_index=tokenizer.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return hf.LlavaForConditionalGeneration(config), processor


@zoo
def llama4(words):
    """The forward pass projects the last hidden state of the tower; the decoder has a head."""
    tokenizer = word_tokenizer(
        words,
        image_token="<|image|>",
        start_token="<|image_start|>",
        end_token="<|image_end|>",
        patch_token="<|patch|>",
        column_token="<|tile_x_separator|>",
        row_token="<|tile_y_separator|>",
    )
    images = hf.Llama4ImageProcessor(**SQUARE, max_patches=4)
    processor = hf.Llama4Processor(
        images, tokenizer, patch_size=8, pixel_shuffle_ratio=0.5, chat_template=chat("<|image|>")
    )
    width = {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32}
    experts = {"num_local_experts": 2, "intermediate_size_mlp": 64, "attention_chunk_size": 256}
    config = hf.Llama4Config(
        vision_config={
            **TOWER,
            **width,
            "intermediate_size": 128,
            "image_size": 64,
            "patch_size": 8,
        },
        text_config={**ids_of(tokenizer), **TEXT, **experts},
        image_token_index=tokenizer.patch_token_id,
        boi_token_index=tokenizer.start_token_id,
        eoi_token_index=tokenizer.end_token_id,
    )
    return hf.Llama4ForConditionalGeneration(config), processor


@zoo
def molmo2(words):
    """Features are added to the embedding of the placeholder; the processor writes BOS."""
    tokenizer = word_tokenizer(
        words,
        image_token="<|image|>",
        video_token="<|video|>",
        patch_token="<im_patch>",
        column_token="<im_col>",
        start_token="<im_start>",
        low_start_token="<low_res_im_start>",
        frame_start_token="<frame_start>",
        end_token="<im_end>",
        frame_end_token="<frame_end>",
        low_token="<im_low>",
    )
    images = hf.Molmo2ImageProcessor(
        size={"height": 56, "width": 56}, patch_size=14, max_crops=2, overlap_margins=[1, 1]
    )
    processor = hf.Molmo2Processor(
        images, hf.Molmo2VideoProcessor(), tokenizer, chat_template=chat("<|image|>")[3:]
    )
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8}
    config = hf.Molmo2Config(
        vision_config={**TOWER, **heads, "image_size": [56, 56], "patch_size": 14},
        adapter_config={
            **heads,
            "hidden_size": 32,
            "intermediate_size": 64,
            "text_hidden_size": 32,
            "vision_feature_layer": [1, 0],
        },
        text_config={**TEXT, "vocab_size": len(tokenizer), "additional_vocab_size": 8},
        image_patch_id=tokenizer.patch_token_id,
        image_start_token_id=tokenizer.start_token_id,
        low_res_image_start_token_id=tokenizer.low_start_token_id,
        image_end_token_id=tokenizer.end_token_id,
        frame_start_token_id=tokenizer.frame_start_token_id,
        frame_end_token_id=tokenizer.frame_end_token_id,
    )
    return hf.Molmo2ForConditionalGeneration(config), processor


@zoo
def ovis2(words):
    """Five marks around the picture are overwritten with weights of the vision tower."""
    marks = {"start": "<IMG_START>", "end": "<IMG_END>", "grid": "<IMG_GRID>"}
    marks |= {"column": "<IMG_COL>", "row": "<IMG_ROW>", "atom": "<IMG_ATOM>"}
    named = {f"{name}_token": token for name, token in marks.items()}
    tokenizer = word_tokenizer(words, image_token="<image>", **named)
    images = hf.Ovis2ImageProcessor(**SQUARE, max_patches=4, min_patches=1, crop_to_patches=True)
    processor = hf.Ovis2Processor(
        images, tokenizer, image_seq_length=16, chat_template=chat("<image>\n")
    )
    indicators = [getattr(tokenizer, f"{name}_token_id") for name in list(marks)[:5]]
    config = hf.Ovis2Config(
        vision_config={
            **TOWER,
            "image_size": 64,
            "patch_size": 8,
            "hidden_stride": 2,
            "vocab_size": 32,
            "tokenize_function": "softmax",
        },
        text_config=hf.Qwen2Config(**ids_of(tokenizer), **TEXT),
        image_token_id=tokenizer.atom_token_id,
        visual_indicator_token_ids=indicators,
        vocab_size=len(tokenizer),
        hidden_size=32,
    )
    return hf.Ovis2ForConditionalGeneration(config), processor


@zoo
def granite4_vision(words):
    """Placeholders are zeros; features enter behind blocks, and logits are scaled."""
    tokenizer, tiles = word_tokenizer(words, image_token="<image>"), [[64, 128], [128, 64]]
    images = hf.LlavaNextImageProcessor(
        image_grid_pinpoints=tiles, crop_size=SQUARE["size"], **SQUARE
    )
    processor = getattr(hf, "Granite4VisionProcessor", hf.LlavaNextProcessor)(
        images,
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="full",
        downsample_rate="1/2",
        chat_template=chat("<image>"),
    )
    scales = {"num_hidden_layers": 3, "logits_scaling": 6.0, "embedding_multiplier": 12.0}
    wide = {"hidden_size": 64, "num_attention_heads": 1, "image_size": 64, "patch_size": 8}
    config = hf.Granite4VisionConfig(
        vision_config=hf.SiglipVisionConfig(**TOWER | wide),
        text_config={**ids_of(tokenizer), **NO_HEAD, **scales},
        image_token_index=tokenizer.image_token_id,
        vision_feature_select_strategy="full",
        image_grid_pinpoints=tiles,
        downsample_rate="1/2",
        deepstack_layer_map=[[-1, 0]],
        spatial_target_layers=[1, 2],
        qformer_config={
            "model_type": "blip_2_qformer",
            "num_hidden_layers": 1,
            "intermediate_size": 64,
            "vocab_size": 8,
        },
    )
    return hf.Granite4VisionForConditionalGeneration(config), processor


@zoo
def gemma4(words):
    """Every block looks up the ids of the tokens: those of a masked question must be hidden."""
    media = ("image", "boi", "eoi", "audio", "boa", "eoa", "video")
    tokenizer = word_tokenizer(words, **{f"{name}_token": f"<{name}>" for name in media})
    processor = hf.Gemma4Processor(
        hf.Gemma4AudioFeatureExtractor(),
        hf.Gemma4ImageProcessor(patch_size=8, max_soft_tokens=70),
        tokenizer,
        hf.Gemma4VideoProcessor(),
        chat_template=chat("<image>"),
    )
    by_layer = {"vocab_size_per_layer_input": len(tokenizer), "hidden_size_per_layer_input": 8}
    kinds = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 64}
    kinds |= {"global_head_dim": 8, "use_bidirectional_attention": "vision"}
    heads = {"num_key_value_heads": 4, "head_dim": 8}
    patches = {"patch_size": 8, "pooling_kernel_size": 3, "position_embedding_size": 256}
    config = hf.Gemma4Config(
        vision_config={**TOWER, **heads, **patches},
        text_config={**ids_of(tokenizer), **TEXT, **by_layer, **kinds}
        | {"final_logit_softcapping": 30.0},
        audio_config=None,
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in media},
    )
    return hf.Gemma4ForConditionalGeneration(config), processor


@zoo
def aya_vision(words):
    """Several tiles for a picture; the marker of the prompt is not the placeholder."""
    marks = {"start": "<|START_OF_IMG|>", "end": "<|END_OF_IMG|>", "patch": "<|IMG_PATCH|>"}
    marks |= {"line": "<|IMG_LINE_BREAK|>", "whole": "TILE_GLOBAL"}
    marks |= {f"tile_{index}": f"TILE_{index}" for index in range(1, 5)}
    named = {f"{name}_token": token for name, token in marks.items()}
    tokenizer = word_tokenizer(words, image_token="<image>", **named)
    processor = hf.AyaVisionProcessor(
        hf.GotOcr2ImageProcessor(**SQUARE, crop_to_patches=True, min_patches=1, max_patches=4),
        tokenizer,
        patch_size=8,
        img_size=64,
        downsample_factor=2,
        chat_template=chat("<image>"),
    )
    tower = {**TOWER, "image_size": 64, "patch_size": 8, "vision_use_head": False}
    config = hf.AyaVisionConfig(
        vision_config=hf.SiglipVisionConfig(**tower),
        text_config=hf.Cohere2Config(**ids_of(tokenizer), **TEXT, sliding_window=64),
        image_token_index=tokenizer.patch_token_id,
        downsample_factor=2,
    )
    return hf.AyaVisionForConditionalGeneration(config), processor


@zoo
def muse_glimmer(words):
    """Logits are multiplied and capped after the head."""
    marks = {"start_token": "<|image_start|>", "end_token": "<|image_end|>"}
    tokenizer = word_tokenizer(words, image_token="<|patch|>", video_token="<|video|>", **marks)
    processor = hf.MuseGlimmerProcessor(
        hf.MuseGlimmerImageProcessor(patch_size=8, merge_size=2),
        hf.MuseGlimmerVideoProcessor(),
        tokenizer,
        chat_template=chat("<|patch|>"),
    )
    places = {"pos_emb_height": 8, "pos_emb_width": 8, "max_position_embeddings": 64}
    config = hf.MuseGlimmerConfig(
        vision_config={**TOWER, **places, "patch_size": 8},
        text_config={**ids_of(tokenizer), **TEXT, "sliding_window": 64},
        image_token_id=tokenizer.image_token_id,
        video_token_id=tokenizer.video_token_id,
        out_hidden_size=128,
        projector_hidden_size=32,
    )
    return hf.MuseGlimmerForConditionalGeneration(config), processor


@zoo
def qwen4_exp(words):
    """Blocks look up n-grams of ids, and no norm of a usual name follows the last of them."""
    names = ("image", "video", "vision_start", "vision_end")
    tokenizer = word_tokenizer(words, **{f"{name}_token": f"<|{name}|>" for name in names})
    sizes = {"size": {"shortest_edge": 256, "longest_edge": 64 * 64}}
    processor = hf.Qwen3VLProcessor(
        hf.Qwen2VLImageProcessor(**sizes, patch_size=8, merge_size=2),
        tokenizer,
        hf.Qwen3VLVideoProcessor(patch_size=8, merge_size=2),
        chat_template=chat("<|vision_start|><|image|><|vision_end|>"),
    )
    linear = {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2}
    linear |= {"linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention"]}
    grams = {"ple_layer_ids": [1], "ple_embed_dim": 32, "ngram_size": 3, "heads_per_ngram": 2}
    grams |= {"ngram_vocab_size_base": 64, "make_ngram_vocab_size_divisible_by": 8}
    grams |= {"split_ngram_parts": 2, "hc_count": 2, "hc_lowrank": 8}
    index = {"indexer_n_heads": 2, "indexer_kv_heads": 1, "indexer_head_dim": 8}
    index |= {"indexer_budget": 64, "indexer_compress_ratio": 4}
    rope = {"rope_parameters": SHARES | {"partial_rotary_factor": 1.0}}
    tower = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4}
    config = hf.Qwen4ExpConfig(
        vision_config=tower
        | {"out_hidden_size": 32, "patch_size": 8, "num_position_embeddings": 64},
        text_config={**ids_of(tokenizer), **TEXT, **linear, **grams, **index, **rope, **EXPERTS}
        | {"shared_expert_intermediate_size": 32},
        **{f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names},
    )
    return hf.Qwen4ExpForConditionalGeneration(config), processor


@zoo
def hunyuan_vl(words):
    """Rows of a batch influence each other: positions of a picture count those of other rows."""
    marks = {"start_token": "<img_start>", "end_token": "<img_end>", "line_token": "<img_nl>"}
    marks = {f"image_{name}": token for name, token in marks.items()}
    tokenizer = word_tokenizer(words, image_token="<img_pad>", **marks)
    sizes = {"size": {"shortest_edge": 256, "longest_edge": 64 * 64}}
    processor = hf.HunYuanVLProcessor(
        hf.HunYuanVLImageProcessor(**sizes, patch_size=8, merge_size=2),
        tokenizer,
        chat_template=chat("<img_start><img_pad><img_end>"),
    )
    sizes = {"max_image_size": 64, "min_image_size": 16, "patch_size": 8, "spatial_merge_size": 2}
    rope = {"rope_type": "default", "rope_theta": 10.0, "mrope_section": [1, 1, 1, 1]}
    config = hf.HunYuanVLConfig(
        vision_config={**TOWER, **sizes, "out_hidden_size": 32, "text_hidden_size": 32},
        text_config={**ids_of(tokenizer), **TEXT, "rope_parameters": rope},
        image_token_id=tokenizer.image_token_id,
        im_start_id=tokenizer.image_start_token_id,
        im_end_id=tokenizer.image_end_token_id,
        im_newline_id=tokenizer.image_line_token_id,
    )
    return hf.HunYuanVLForConditionalGeneration(config), processor


def qwen3_omni(words):
    """Videos with sound, and a vision token has several vectors (deepstack); not in `ZOO`."""
    names = {"image": "IMAGE", "video": "VIDEO", "audio": "AUDIO"}
    names |= {
        f"{kind}_{end}": f"{kind}_{end}" for kind in ("vision", "audio") for end in ("bos", "eos")
    }
    marks = {f"{name}_token": f"<|{mark}|>" for name, mark in names.items()}
    tokenizer = word_tokenizer(words, **marks)
    sizes = {"size": {"shortest_edge": 256, "longest_edge": 64 * 64}, "patch_size": 8}
    clip = "<|vision_bos|><|VIDEO|><|vision_eos|>"
    processor = hf.Qwen3OmniMoeProcessor(
        image_processor=hf.Qwen2VLImageProcessor(**sizes, merge_size=2),
        video_processor=hf.Qwen2VLVideoProcessor(**sizes, merge_size=2),
        feature_extractor=hf.WhisperFeatureExtractor(feature_size=32),
        tokenizer=tokenizer,
        chat_template=chat(clip).replace("'image'", "'video'"),
    )
    sound = {"num_mel_bins": 32, "d_model": 32, "encoder_layers": 1, "encoder_ffn_dim": 64}
    sound |= {"encoder_attention_heads": 4, "output_dim": 32, "max_source_positions": 400}
    tower = {"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 4}
    tower |= {"out_hidden_size": 32, "patch_size": 8, "num_position_embeddings": 64}
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in names}
    ids |= {"vision_start_token_id": ids["vision_bos_token_id"]}
    ids |= {"vision_end_token_id": ids["vision_eos_token_id"]}
    ids |= {"audio_start_token_id": ids["audio_bos_token_id"]}
    ids |= {"audio_end_token_id": ids["audio_eos_token_id"]}
    config = hf.Qwen3OmniMoeThinkerConfig(
        audio_config=sound | {"downsample_hidden_size": 16},
        vision_config=tower | {"deepstack_visual_indexes": [0]},
        text_config={**ids_of(tokenizer), **TEXT, "rope_parameters": SHARES, **EXPERTS},
        **ids,
    )
    return hf.Qwen3OmniMoeThinkerForConditionalGeneration(config), processor
