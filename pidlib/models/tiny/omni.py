"""The family that sees and hears: films whose tokens share one clock with those of their sound."""

import transformers as hf

from pidlib.models.tiny.parts import MEAN_STD, Size, chat, ends, vocabulary, word_tokenizer
from pidlib.models.tiny.qwen import MERGE, PATCH, tower

FRAME = 48  # pixels: 3 x 3 vision tokens for every two frames
MELS, SECONDS = 32, 4  # bands of the spectrogram, and how long a soundtrack may be
CHUNK = 1  # second: so much film, then so much sound
Built = tuple[hf.PreTrainedModel, hf.ProcessorMixin]


def qwen2_5_omni(words, size: Size) -> Built:
    """The thinker of Qwen2.5-Omni: the tower of Qwen2.5-VL, the encoder of Whisper, and rotary positions in which a second is 25 steps.

    A film of one second in four frames comes as 2 x 3 x 3 tokens at the times 0 and 12, and its sound as 25 tokens at 0 to 24. That the
    language model tells places three columns wide and times twelve steps apart, it owes to the base of its angles, as in `qwen`.
    """
    special = {
        "image_token": "<|IMAGE|>",
        "video_token": "<|VIDEO|>",
        "audio_token": "<|AUDIO|>",
        "vision_bos_token": "<|vision_bos|>",
        "vision_eos_token": "<|vision_eos|>",
        "audio_bos_token": "<|audio_bos|>",
        "audio_eos_token": "<|audio_eos|>",
        "turn_start_token": "<|im_start|>",
        "turn_end_token": "<|im_end|>",
    }
    tokenizer = word_tokenizer(words, special)
    pixels = {"size": {"shortest_edge": FRAME**2, "longest_edge": FRAME**2}, "patch_size": PATCH, "merge_size": MERGE, **MEAN_STD}
    processor = hf.Qwen2_5OmniProcessor(
        image_processor=hf.Qwen2VLImageProcessor(**pixels),
        video_processor=hf.Qwen2VLVideoProcessor(cap_pixels_per_frame=False, **pixels),
        feature_extractor=hf.WhisperFeatureExtractor(feature_size=MELS, chunk_length=SECONDS, return_attention_mask=True),
        tokenizer=tokenizer,
        chat_template=chat("<|im_start|>user\n", "<|vision_bos|><|VIDEO|><|vision_eos|>", "<|im_end|>\n<|im_start|>assistant\n"),
    )
    processor.seconds_per_chunk = float(CHUNK)
    half = size.width // 8  # rotary pairs of one head, shared out to time, height and width
    time, height = half // 4, 3 * half // 8
    rope = {"rope_type": "default", "mrope_section": [time, height, half - time - height], "rope_theta": 10.0}
    config = hf.Qwen2_5OmniThinkerConfig(
        audio_config={
            "num_mel_bins": MELS,
            "d_model": size.vision_width,
            "encoder_layers": 2,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 2 * size.vision_width,
            "output_dim": size.width,
            "max_source_positions": 100 * SECONDS,
        },
        vision_config=tower(size) | {"window_size": FRAME, "fullatt_block_indexes": [size.vision_depth - 1]},
        text_config={**vocabulary(tokenizer), **ends(tokenizer), **size.text, "rope_parameters": rope, "tie_word_embeddings": False},
        image_token_index=tokenizer.image_token_id,
        video_token_index=tokenizer.video_token_id,
        audio_token_index=tokenizer.audio_token_id,
        audio_start_token_id=tokenizer.audio_bos_token_id,
        audio_end_token_id=tokenizer.audio_eos_token_id,
        vision_start_token_id=tokenizer.vision_bos_token_id,
        vision_end_token_id=tokenizer.vision_eos_token_id,
        seconds_per_chunk=CHUNK,
    )
    return hf.Qwen2_5OmniThinkerForConditionalGeneration(config), processor
