"""Checks and timings of one GPU, in under eight minutes: ``make gpu-check``.

Solver, decisions and extraction on CUDA are compared with the CPU; models with the shapes of
Qwen2.5-VL at 2 and 7 billion parameters, random and in bfloat16, are extracted from and timed
against a plain loop of their own forward pass; an adapter is trained for two steps. The table is
OUTPUT/validation/table_gpu.csv. Without a GPU there is nothing to do; ``--tiny`` runs everything on
the CPU in seconds, with small shapes.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from pidlib import Sample, benchmarks, extract, load_model, pid
from pidlib.decomposition.decisions import decision_pid
from pidlib.experiments.validation.laws import answer_laws
from pidlib.extraction import PASSES
from pidlib.extraction.masking import FULL
from pidlib.models import LoadedModel, family_of
from pidlib.models._transformers import transformers
from pidlib.models.load import MINIS, load_processor
from pidlib.training.loop import encode

MINI = "qwen2_5_vl"
PARTNERS = 8  # questions for each picture, in a profile
PATCH = 14  # pixels a side; two by two patches are a token


class Shape(NamedTuple):
    """Sizes of the language model and of the vision tower; pictures and samples of a check."""

    width: int
    depth: int
    heads: int
    kv_heads: int
    inner: int
    vocabulary: int
    tower: int
    tower_depth: int
    side: int  # of a picture in pixels
    n: int
    batch: int


SHAPES = {
    "2B": Shape(1536, 28, 12, 2, 8960, 151_936, 1280, 32, side=448, n=128, batch=32),
    "7B": Shape(3584, 28, 28, 4, 18_944, 152_064, 1280, 32, side=448, n=64, batch=16),
}
TINY = Shape(64, 2, 4, 2, 128, 512, 64, 2, side=56, n=32, batch=16)


class Row(NamedTuple):
    """A comparison: seconds here and of the reference, and the largest difference of results."""

    check: str
    n: int  # tables, samples or forward passes
    seconds: float
    reference: str = ""
    reference_seconds: float = np.nan
    difference: float = np.nan
    peak_GiB: float = np.nan


class Check(NamedTuple):
    """Where checks run, and whether with small shapes."""

    device: str
    tiny: bool

    def timed(self, run: Callable, *arguments: Any, **options: Any) -> tuple[Any, float]:
        """The result of a call and its seconds, with all kernels done."""
        synchronize = torch.cuda.synchronize if self.device == "cuda" else lambda: None
        synchronize()
        start = time.perf_counter()
        result = run(*arguments, **options)
        synchronize()
        return result, time.perf_counter() - start

    def peak(self) -> float:
        """The most memory in GiB since the last call."""
        if self.device != "cuda":
            return np.nan
        most = torch.cuda.max_memory_allocated() / 2**30
        torch.cuda.reset_peak_memory_stats()
        return most


def check_solver(check: Check) -> Iterator[Row]:
    """Atoms of random tables on the device against the CPU."""
    sizes = {"5x5x3": 4} if check.tiny else {"5x5x3": 1000, "20x20x4": 200, "200x200x4": 1}
    for size, count in sizes.items():
        shape = tuple(map(int, size.split("x")))
        generator = np.random.default_rng(0)
        joints = generator.dirichlet(np.ones(np.prod(shape)), count).reshape(count, *shape)
        pid(joints[:1], device=check.device)  # the first call loads kernels
        here, seconds = check.timed(pid, joints, device=check.device)
        there, reference = check.timed(pid, joints, device="cpu")
        apart = max(np.abs(here.atoms[atom] - there.atoms[atom]).max() for atom in here.atoms)
        yield Row(f"solver {size}", count, seconds, "CPU", reference, apart)
        assert apart <= 1e-4, f"atoms of {size} differ by {apart:.1g} bits"


def check_decisions(check: Check) -> Iterator[Row]:
    """Atoms of decisions whose inputs are all new, on the device against the CPU."""
    law = answer_laws()["all inputs new"]
    for n in (32,) if check.tiny else (256, 512, 1000):
        decisions = law.masked(n, np.random.default_rng(n))
        solved, seconds = check.timed(decision_pid, decisions, device=check.device)
        if n > 512:  # minutes on the CPU
            yield Row("decisions", n, seconds)
            continue
        known, reference = check.timed(decision_pid, decisions, device="cpu")
        here, there = solved.pid, known.pid
        apart = max(abs(here.atoms[atom] - there.atoms[atom]) for atom in here.atoms)
        yield Row("decisions", n, seconds, "CPU", reference, apart)
        assert apart <= here.gap + there.gap + 1e-5, f"atoms differ by {apart:.1g} bits"


def check_mini(check: Check) -> Iterator[Row]:
    """Logits of a mini in float32 on the device against the CPU; then placed by accelerate."""
    samples = benchmarks.load("micro/grounding", n=32)
    logits, seconds = {}, {}
    for name, options in {"device": {}, "auto": {"device_map": "auto"}, "cpu": {}}.items():
        device = "cpu" if name == "cpu" else check.device
        model = load_model(MINI, device=device, dtype=torch.float32, model_options=options)
        extraction, seconds[name] = check.timed(extract, model, samples, progress=False)
        logits[name] = extraction.logits[FULL]
    for name, words in {"device": "mini, float32", "auto": "mini, device_map auto"}.items():
        apart = float(np.abs(logits[name] - logits["cpu"]).max())
        yield Row(words, len(samples), seconds[name], "CPU", seconds["cpu"], apart, check.peak())
        assert apart <= 1e-2, f"{words}: logits differ by {apart:.1g}"


def check_four_bits(check: Check) -> Iterator[Row]:
    """Extraction from a mini with weights of 4 bits, where bitsandbytes is installed."""
    if check.device != "cuda" or not find_spec("bitsandbytes"):
        return
    options = {"quantization_config": transformers.BitsAndBytesConfig(load_in_4bit=True)}
    model = load_model(MINI, device=check.device, model_options=options)
    samples = benchmarks.load("micro/grounding", n=32)
    few, seconds = check.timed(extract, model, samples, progress=False)
    peak, exact = check.peak(), load_model(MINI, device=check.device, dtype=torch.float32)
    known, reference = check.timed(extract, exact, samples, progress=False)
    logits = [each.logits[FULL].ravel() for each in (few, known)]
    apart = 1 - float(np.corrcoef(logits)[0, 1])
    yield Row("mini, 4 bits", len(samples), seconds, "float32", reference, apart, peak)
    assert apart <= 0.2, f"logits of 4 bits correlate by {1 - apart:.2g} with those of 32"


def check_models(check: Check) -> Iterator[Row]:
    """Extraction from large random models against a plain loop of their own forward pass."""
    for name, shape in {"tiny": TINY}.items() if check.tiny else SHAPES.items():
        model, samples = build(shape, check.device), pictures(shape)
        options = {"batch_size": shape.batch, "progress": False}
        starts = range(0, shape.n, shape.batch)
        batches = [samples[start : start + shape.batch] for start in starts]
        plain(model, batches[:1])  # loads kernels
        extract(model, samples[: shape.batch], passes=(FULL,), **options)  # and proves the model
        check.peak()
        loop, reference = check.timed(plain, model, batches)
        peak = check.peak()
        yield Row(f"{name}, plain loop", shape.n, reference, peak_GiB=peak)
        whole, seconds = check.timed(extract, model, samples, passes=(FULL,), **options)
        largest = np.abs(loop).max()
        apart = float(np.abs(whole.logits[FULL] - loop).max() / largest)
        words = f"{name}, full pass"
        yield Row(words, shape.n, seconds, "plain loop", reference, apart, check.peak())
        assert apart <= 0.1, f"{words}: logits differ by {apart:.1g} of the largest"
        profile, seconds = check.timed(extract, model, samples, partners=PARTNERS, **options)
        passes = len(PASSES) + PARTNERS
        words = f"{name}, passes of a profile"
        as_plain = "plain loop", passes * reference
        yield Row(words, passes * shape.n, seconds, *as_plain, peak_GiB=check.peak())
        assert np.isfinite(profile.logits["vision"]).all()
        yield check_adapter(check, f"{name}, two steps of an adapter", model, samples)
        del model
        if check.device == "cuda":
            torch.cuda.empty_cache()


def check_adapter(check: Check, words: str, model: LoadedModel, samples: Sequence[Sample]) -> Row:
    """Train an adapter for two steps: the answers move."""
    from pidlib.training.lora import Tuning, tune

    tuning = Tuning(steps=2, batch=8, learning_rate=1e-2)  # the first warms up
    with TemporaryDirectory() as folder:
        options = {"tuning": tuning, "folder": Path(folder, "adapter")}
        tuned, seconds = check.timed(tune, model, samples[: tuning.batch], **options)
    peak, batches = check.peak(), [samples[: tuning.batch]]
    apart = float(np.abs(plain(tuned, batches) - plain(model, batches)).max())
    assert 0 < apart < np.inf, f"logits move by {apart} in two steps"
    return Row(words, tuning.batch, seconds, "without it", difference=apart, peak_GiB=peak)


def build(shape: Shape, device: str, dtype: torch.dtype = torch.bfloat16) -> LoadedModel:
    """A random Qwen2.5-VL of a shape, made on the device, with the vocabulary of the mini."""
    config = json.loads((MINIS / MINI / "config.json").read_text(encoding="utf-8"))
    head = shape.width // shape.heads
    sections = (head // 8, 3 * head // 16)
    text, vision = config["text_config"], config["vision_config"]
    text |= {"hidden_size": shape.width, "num_hidden_layers": shape.depth, "head_dim": head}
    text |= {"num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads}
    text |= {"intermediate_size": shape.inner, "vocab_size": shape.vocabulary}
    text["max_position_embeddings"] = 32_768
    text["rope_parameters"]["mrope_section"] = [*sections, head // 2 - sum(sections)]
    del text["layer_types"]  # by the depth
    vision |= {"hidden_size": shape.tower, "depth": shape.tower_depth, "patch_size": PATCH}
    vision |= {"intermediate_size": 2 * shape.tower, "out_hidden_size": shape.width}
    vision |= {"num_heads": shape.tower // 16 if shape is TINY else 16, "window_size": 8 * PATCH}
    vision["fullatt_block_indexes"] = [shape.tower_depth - 1]
    config = transformers.AutoConfig.for_model(**config)
    saved = load_processor(MINIS / MINI, config)
    size = {"shortest_edge": shape.side**2, "longest_edge": shape.side**2}
    images = transformers.Qwen2VLImageProcessor(size=size, patch_size=PATCH, merge_size=2)
    parts = {"video_processor": saved.video_processor, "chat_template": saved.chat_template}
    processor = transformers.Qwen2_5_VLProcessor(images, saved.tokenizer, **parts)
    torch.manual_seed(0)
    with torch.device(device):
        model = transformers.AutoModelForImageTextToText.from_config(config, dtype=dtype)
    place = torch.device(device)
    return LoadedModel(MINI, model.eval(), processor, family_of(model), "0" * 40, place)


def pictures(shape: Shape) -> list[Sample]:
    """Samples with pictures of the side of a shape."""
    samples = benchmarks.load("micro/grounding", n=shape.n)
    return [replace(each, image=each.image.resize((shape.side, shape.side))) for each in samples]


@torch.inference_mode()
def plain(model: LoadedModel, batches: Sequence[Sequence[Sample]]) -> np.ndarray:
    """Logits of the candidates at the end of each prompt, by the model's own forward pass."""
    tokens = [model.processor.tokenizer.convert_tokens_to_ids(c) for c in batches[0][0].candidates]
    rows = []
    for samples in batches:
        inputs = encode(model, samples).to(model.model.dtype).to(model.device)
        logits = model.model(**inputs, logits_to_keep=1).logits[:, -1]
        rows.append(logits[:, tokens].float().cpu().numpy())
    return np.concatenate(rows)


CHECKS = (check_solver, check_decisions, check_mini, check_four_bits, check_models)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all checks and write their table; 1 if any failed, 0 also where there is no GPU."""
    parser = argparse.ArgumentParser(prog="check_gpu", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/gpu"), help="folder")
    parser.add_argument("--tiny", action="store_true", help="small shapes, on the CPU")
    chosen = parser.parse_args(arguments)
    if not chosen.tiny and not torch.cuda.is_available():
        print("no GPU is visible here (torch.cuda.is_available()): nothing was checked")
        return 0
    check = Check("cpu" if chosen.tiny else "cuda", chosen.tiny)
    rows, failed = [], []
    for run in (bar := tqdm(CHECKS, unit="check")):
        bar.set_postfix_str(run.__name__)
        try:
            for row in run(check):
                rows.append(row)
                bar.write(f"{row.check}: {row.seconds:.2f} s for {row.n}")
        except Exception:
            failed.append(run.__name__)
            bar.write(traceback.format_exc())
    name = "CPU" if chosen.tiny else torch.cuda.get_device_name()
    table = pd.DataFrame(rows, columns=Row._fields).assign(device=name, torch=torch.__version__)
    table.insert(3, "per_second", table["n"] / table["seconds"])
    path = chosen.output / "validation" / "table_gpu.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False, float_format="%.4g", lineterminator="\n")
    print(f"wrote {path}; failed: {', '.join(failed) or 'nothing'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
