"""Families that put a picture's tokens before the question's: a vision transformer, a projector and a language model."""

import transformers as hf

from pidlib.models.tiny.parts import IMAGE_SIZE, MEAN_STD, PATCH, SQUARE, TOKENS, Size, chat, ends, vocabulary, word_tokenizer

Built = tuple[hf.PreTrainedModel, hf.ProcessorMixin]
USER, ASSISTANT = "user: ", "\nassistant:"


def llava(words, size: Size) -> Built:
    """CLIP, and Llama."""
    tokenizer = word_tokenizer(words, {"image_token": "<image>"})
    processor = hf.LlavaProcessor(
        image_processor=hf.CLIPImageProcessor(do_center_crop=False, do_resize=True, **SQUARE),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat(USER, "<image>", ASSISTANT),
    )
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(patch_size=PATCH, **size.vision),
        text_config=hf.LlamaConfig(**vocabulary(tokenizer), **size.text),
        image_token_index=tokenizer.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=TOKENS,
        tie_word_embeddings=False,
    )
    return hf.LlavaForConditionalGeneration(config), processor


def llava_onevision(words, size: Size) -> Built:
    """SigLIP, and Qwen2. The picture comes twice: as a whole, then cut into tiles (one here) with a token at each line's end."""
    tokenizer = word_tokenizer(words, {"image_token": "<image>", "video_token": "<video>"})
    tiles = [[IMAGE_SIZE, IMAGE_SIZE]]
    processor = hf.LlavaOnevisionProcessor(
        image_processor=hf.LlavaOnevisionImageProcessor(image_grid_pinpoints=tiles, **SQUARE),
        video_processor=hf.LlavaOnevisionVideoProcessor(**SQUARE),
        tokenizer=tokenizer,
        num_image_tokens=TOKENS,
        vision_feature_select_strategy="full",
        chat_template=chat(USER, "<image>", ASSISTANT),
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(patch_size=PATCH, vision_use_head=False, **size.vision),
        text_config=hf.Qwen2Config(**vocabulary(tokenizer), **ends(tokenizer), **size.text),
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        image_grid_pinpoints=tiles,
    )
    return hf.LlavaOnevisionForConditionalGeneration(config), processor


def paligemma(words, size: Size) -> Built:
    """SigLIP, and Gemma, whose picture and question all see each other."""
    tokenizer = word_tokenizer(words, {"image_token": "<image>"})
    images = hf.SiglipImageProcessor(**SQUARE)
    images.image_seq_length = TOKENS
    processor = hf.PaliGemmaProcessor(image_processor=images, tokenizer=tokenizer)
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(patch_size=PATCH, projection_dim=size.width, vision_use_head=False, **size.vision),
        text_config=hf.GemmaConfig(**vocabulary(tokenizer), **size.text),
        image_token_index=tokenizer.image_token_id,
        projection_dim=size.width,
    )
    return hf.PaliGemmaForConditionalGeneration(config), processor


def gemma3(words, size: Size) -> Built:
    """SigLIP pooled to fewer tokens, and Gemma 3 with its sliding windows."""
    special = {"boi_token": "<start_of_image>", "image_token": "<image_soft_token>", "eoi_token": "<end_of_image>"}
    tokenizer = word_tokenizer(words, special)
    processor = hf.Gemma3Processor(
        image_processor=hf.Gemma3ImageProcessor(**SQUARE),
        tokenizer=tokenizer,
        image_seq_length=TOKENS,
        chat_template=chat("<s>user\n", "<start_of_image>", "\nmodel\n"),
    )
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(patch_size=PATCH // 2, vision_use_head=False, **size.vision),
        text_config=hf.Gemma3TextConfig(sliding_window=64, query_pre_attn_scalar=size.width // 4, **vocabulary(tokenizer), **size.text),
        mm_tokens_per_image=TOKENS,
        image_token_index=tokenizer.image_token_id,
        boi_token_index=tokenizer.boi_token_id,
        eoi_token_index=tokenizer.eoi_token_id,
    )
    return hf.Gemma3ForConditionalGeneration(config), processor


def idefics3(words, size: Size) -> Built:
    """Idefics3, the class of SmolVLM: SigLIP with four patches to a token, and Llama."""
    special = {"image_token": "<image>", "edge": "<fake_token_around_image>", "whole": "<global-img>", "turn_end": "<end_of_utterance>"}
    tokenizer = word_tokenizer(words, special)
    edge = {"longest_edge": IMAGE_SIZE}
    processor = hf.Idefics3Processor(
        image_processor=hf.Idefics3ImageProcessor(size=edge, max_image_size=edge, do_image_splitting=False, **MEAN_STD),
        tokenizer=tokenizer,
        image_seq_len=TOKENS,
        chat_template=chat(USER, "<image>", "<end_of_utterance>" + ASSISTANT),
    )
    config = hf.Idefics3Config(
        vision_config={"patch_size": PATCH // 2, **size.vision},
        text_config=hf.LlamaConfig(**vocabulary(tokenizer), **size.text),
        scale_factor=2,
        image_token_id=tokenizer.image_token_id,
    )
    return hf.Idefics3ForConditionalGeneration(config), processor


def internvl(words, size: Size) -> Built:
    """InternViT with four patches to a token, and Qwen2."""
    special = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
        "turn_start_token": "<|im_start|>",
        "turn_end_token": "<|im_end|>",
    }
    tokenizer = word_tokenizer(words, special)
    processor = hf.InternVLProcessor(
        image_processor=hf.GotOcr2ImageProcessor(crop_to_patches=False, **SQUARE),
        video_processor=hf.InternVLVideoProcessor(**SQUARE),
        tokenizer=tokenizer,
        image_seq_length=TOKENS,
        chat_template=chat("<|im_start|>user\n", "<IMG_CONTEXT>\n", "<|im_end|>\n<|im_start|>assistant\n"),
    )
    config = hf.InternVLConfig(
        vision_config={"patch_size": PATCH // 2, **size.vision},
        text_config=hf.Qwen2Config(**vocabulary(tokenizer), **ends(tokenizer), **size.text),
        image_token_id=tokenizer.context_image_token_id,
        image_seq_length=TOKENS,
        tie_word_embeddings=False,
    )
    return hf.InternVLForConditionalGeneration(config), processor
