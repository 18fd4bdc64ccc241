"""Families whose language model looks at vision tokens that stand beside the text: by cross-attention."""

import transformers as hf

from pidlib.models.tiny.parts import IMAGE_SIZE, PATCH, SQUARE, Size, chat, ends, vocabulary, word_tokenizer

Built = tuple[hf.PreTrainedModel, hf.ProcessorMixin]


def mllama(words, size: Size) -> Built:
    """Llama 3.2 Vision: every second block looks at the picture, through a gate that opens in training; one tile."""
    tokenizer = word_tokenizer(words, {"image_token": "<|image|>"})
    processor = hf.MllamaProcessor(
        image_processor=hf.MllamaImageProcessor(max_image_tiles=1, **SQUARE),
        tokenizer=tokenizer,
        chat_template=chat("<s>user\n", "<|image|>", "\nassistant\n"),
    )
    vision = {
        **size.vision,
        "attention_heads": size.vision["num_attention_heads"],
        "patch_size": PATCH,
        "num_global_layers": 1,
        "intermediate_layers_indices": [0],
        "vision_output_dim": 2 * size.vision_width,  # the last state, and that of block 0
        "max_num_tiles": 1,
        "supported_aspect_ratios": [[1, 1]],
    }
    looking = list(range(size.depth % 2, size.depth - 1, 2))
    config = hf.MllamaConfig(
        vision_config=vision,
        text_config={**vocabulary(tokenizer), **ends(tokenizer), **size.text, "cross_attention_layers": looking},
        image_token_index=tokenizer.image_token_id,
    )
    return hf.MllamaForConditionalGeneration(config), processor


def blip(words, size: Size) -> Built:
    """BLIP: a vision transformer as wide as the language model, for nothing projects its tokens, and a BERT that looks at them."""
    tokenizer = word_tokenizer({*words, "question", "answer"}, {})
    processor = hf.BlipProcessor(image_processor=hf.BlipImageProcessor(**SQUARE), tokenizer=tokenizer)
    shape = {"hidden_size": size.width, "intermediate_size": 2 * size.width, "num_attention_heads": 4}
    config = hf.BlipConfig(
        vision_config={**shape, "num_hidden_layers": size.vision_depth, "image_size": IMAGE_SIZE, "patch_size": PATCH},
        text_config={
            **shape,
            **vocabulary(tokenizer),
            **ends(tokenizer),
            "sep_token_id": tokenizer.eos_token_id,
            "num_hidden_layers": size.depth,
            "max_position_embeddings": 256,
        },
    )
    return hf.BlipForConditionalGeneration(config), processor
