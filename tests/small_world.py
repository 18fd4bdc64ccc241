"""A random tiny model of each family, and samples with questions of many lengths."""

import copy
import functools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import transformers as hf
from PIL import Image

from pidlib import benchmarks
from pidlib.benchmarks import Sample
from pidlib.models import LoadedModel, family_of
from pidlib.training.tiny import build

FAMILY_NAMES = (
    *("llava", "llava_onevision", "paligemma", "gemma3", "idefics3", "internvl"),
    *("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "mllama", "blip"),
)
ARCHITECTURES = Path(__file__).with_name("architectures")  # of families without a mini
CANDIDATES = ("red", "green", "blue")
QUESTIONS = {
    "short": ("what color is it?", "what color is this?", "red or blue?"),
    "long": (
        "which color has the shape at the top left of the picture?",
        "what color is the shape on the right?",
    ),
}
WORDS = {
    word.strip("?")
    for questions in QUESTIONS.values()
    for question in questions
    for word in question.split()
} | set(CANDIDATES)


def random_model(family: str, words=WORDS, size: str = "tiny", seed: int = 0):
    """A model with random weights and its processor, of any family that takes pictures."""
    folder = ARCHITECTURES / family
    if folder.is_dir():
        prompt = {"question", "answer"} if family == "blip" else set()
        return build(folder, {*words, *prompt}, "tiny", seed)
    return build(family, words, size, seed)


@functools.cache
def loaded(family: str, seed: int = 0) -> LoadedModel:
    """A model with random weights, spread so that its answers differ; shared: leave unchanged."""
    model, processor = random_model(family, seed=seed)
    return LoadedModel(
        family, spread(model, seed), processor, family_of(model), "0" * 40, torch.device("cpu")
    )


def spread(model: hf.PreTrainedModel, seed: int) -> hf.PreTrainedModel:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model.eval()


def sized() -> LoadedModel:
    """A Qwen2.5-VL whose processor keeps proportions, so that the number of tokens varies."""
    model = loaded("qwen2_5_vl")
    images = hf.Qwen2VLImageProcessor(
        size={"shortest_edge": 256, "longest_edge": 128 * 128}, patch_size=8, merge_size=2
    )
    parts = {
        "video_processor": model.processor.video_processor,
        "chat_template": model.processor.chat_template,
    }
    return replace(
        model,
        processor=hf.Qwen2_5_VLProcessor(
            image_processor=images, tokenizer=model.processor.tokenizer, **parts
        ),
    )


@functools.cache
def tiled() -> LoadedModel:
    """An Mllama that splits a picture into one to four tiles."""
    model = loaded("mllama")
    config = copy.deepcopy(model.model.config)
    config.vision_config.max_num_tiles = 4
    config.vision_config.supported_aspect_ratios = [[1, 1], [1, 2], [2, 1], [2, 2]]
    images = hf.MllamaImageProcessor(max_image_tiles=4, size={"height": 64, "width": 64})
    parts = {"tokenizer": model.processor.tokenizer, "chat_template": model.processor.chat_template}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        cut = spread(hf.MllamaForConditionalGeneration(config), 0)
    return replace(model, model=cut, processor=hf.MllamaProcessor(image_processor=images, **parts))


def picture(seed: int) -> Image.Image:
    return Image.fromarray(
        np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    )


def sample(index: int, **changes) -> Sample:
    """The index-th sample: templates alternate, and so do the questions of each."""
    template = ("short", "long")[index % 2]
    questions = QUESTIONS[template]
    facts = {
        "sample_id": f"world/{index:03d}",
        "benchmark": "world",
        "template": template,
        "question": questions[index // 2 % len(questions)],
        "candidates": CANDIDATES,
        "answer": CANDIDATES[index % 3],
        "split": "test",
        "image": picture(index),
    }
    return Sample(**facts | changes)


def samples(count: int) -> list[Sample]:
    return [sample(index) for index in range(count)]


@functools.cache
def hearing() -> LoadedModel:
    """A model with random weights that takes videos with sound; shared: leave unchanged."""
    words = set(film(0).candidates)
    for name in benchmarks.names("clips"):
        for item in benchmarks.load(name, "train", 64):
            words.update(re.findall(r"\w+", item.text))
    model, processor = build("qwen2_5_omni", words, "tiny")
    return LoadedModel(
        "hearing", spread(model, 0), processor, family_of(model), "0" * 40, torch.device("cpu")
    )


def film(index: int, seconds: int = 1) -> Sample:
    """The index-th question about a clip, which is repeated to reach the length."""
    item = benchmarks.load("micro_av/visual", "test", 16)[index]
    longer = {
        "video": np.concatenate([item.video] * seconds),
        "audio": np.concatenate([item.audio] * seconds),
    }
    return replace(item, sample_id=f"film/{index}", **longer)
