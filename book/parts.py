"""Compute the parts of the book that are no notebook, into a folder: clips, samples, gates.

``python book/parts.py build/book-parts``: a WebM of each template of clips, with a page; pictures
and decisions of a mini, with a page; gates and colors of atoms for the explorer.
"""

import json
import sys
from fractions import Fraction
from html import escape
from pathlib import Path

import av
import numpy as np

from pidlib import benchmarks
from pidlib._common import ATOM_STYLES
from pidlib.benchmarks import micro_av
from pidlib.benchmarks.clips import FRAMES, RATE
from pidlib.decomposition.decisions import decision_pid
from pidlib.decomposition.gates import GATES
from pidlib.extraction import DRAWS, FULL, PASSES, SOURCES, drawn, extract
from pidlib.models import load_model

SCALE = 6  # pixels of a clip on the page for one of a frame
REPEATS = 6  # of each frame, for players that expect more than four a second
MODEL, N, SHOWN = "llava", 64, 6  # samples of a benchmark that are measured, and shown
BENCHMARKS = ("micro/grounding", "micro/existence", "micro/relation", "micro/scene")
LARGEST = 16  # cells of a gate with sliders
ATOMS = ("redundancy", "unique_vision", "unique_language", "synergy")
UNDECIDED = 1e-9  # spread of a distribution below which it is the uniform one of the fallback


def write_clip(path: Path, sample: benchmarks.Sample) -> None:
    """Write the frames and the sound of a sample as WebM: VP9 and Opus."""
    frames = np.kron(sample.video, np.ones((1, SCALE, SCALE, 1), np.uint8))
    with av.open(str(path), "w", format="webm") as file:
        video = file.add_stream("libvpx-vp9", rate=FRAMES * REPEATS, options={"crf": "24"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt, video.bit_rate = "yuv420p", 0
        audio = file.add_stream("libopus", rate=48_000, layout="mono")
        for index in range(FRAMES * REPEATS):
            frame = av.VideoFrame.from_ndarray(frames[index // REPEATS], format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FRAMES * REPEATS)
            file.mux(video.encode(frame))
        sound = np.asarray(sample.audio, np.float32)[None]
        frame = av.AudioFrame.from_ndarray(sound, format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        resampler = av.AudioResampler("flt", "mono", 48_000, frame_size=960)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            file.mux(audio.encode(piece))
        for stream in (video, audio):
            file.mux(stream.encode(None))


def clips(folder: Path) -> str:
    """A page with one clip of each template."""
    cards = []
    for template in micro_av.TEMPLATES.values():
        samples = benchmarks.load(f"micro_av/{template.task}", "test", n=64)
        sample = next(sample for sample in samples if sample.template == template.name)
        write_clip(folder / "_static" / f"{template.name}.webm", sample)
        truth = micro_av.sensory_truth(template.name)
        bits = ", ".join(f"{ATOM_STYLES[k][1]} {v:.2f}" for k, v in truth.atoms.items() if v > 1e-4)
        cards.append(
            f'<figure class="clip"><video src="../_static/{template.name}.webm" controls loop '
            'controlslist="nofullscreen nodownload" disablepictureinpicture></video>'
            f"<figcaption><b>{template.name.replace('_', ' ')}</b> ({template.kind})<br>"
            f"{escape(sample.question)} <b>{escape(sample.answer)}</b><br>{bits} bits</figcaption>"
            "</figure>"
        )
    text = (
        "A clip lasts one second: a red circle, whose instrument is low, and a blue triangle, "
        "whose instrument is high. Below each are a question with its answer, and the atoms of an "
        "ideal answerer given the question: what it takes from sight, from sound, and only from "
        "both. [The figure](../notebooks/omni/fig_clips.ipynb) shows frames and spectrograms."
    )
    return f'# Clips with sound\n\n{text}\n\n<div class="cards">\n{"".join(cards)}\n</div>\n'


def samples(folder: Path) -> str:
    """A page of samples with the decisions of a mini and their local atoms."""
    model, parts = load_model(MODEL, device="cpu"), []
    for benchmark in BENCHMARKS:
        asked = benchmarks.load(benchmark, "test", n=N)
        options = {"passes": drawn(tuple(PASSES), DRAWS), "progress": False}
        extraction = extract(model, asked, **options)
        decisions = extraction.masked()
        result = decision_pid(decisions)
        rows = {"both": extraction.decisions(FULL)}
        rows |= {name: extraction.decisions(name) for name in SOURCES}
        cards = []
        for index, sample in enumerate(asked[:SHOWN]):
            picture = f"{benchmark.replace('/', '_')}_{index}.png"
            sample.image.resize((144, 144), 0).save(folder / "_static" / picture)
            local = {name: float(result.local[name][index]) for name in ATOMS}
            given = {name: values[index] for name, values in rows.items()}
            cards.append(card(sample, f"../_static/{picture}", given, local))
        atoms = ", ".join(f"{ATOM_STYLES[k][1]} {short(result.pid.atoms[k])}" for k in ATOMS)
        accuracy, moved = extraction.accuracy(), max(result.reconciliation.values())
        parts.append(
            f"## {benchmark}\n\nMeans over {N} samples, in bits: {atoms}. Accuracy {accuracy:.2f}; "
            f"answers from one modality were moved by up to {moved:.2f} total variation to agree "
            f'with the answers to both.\n\n<div class="cards">\n{"".join(cards)}\n</div>\n'
        )
    text = (
        f"What the mini `{MODEL}` answers to both picture and question, to the picture with the "
        "question masked, and to the question with the picture masked (means over draws of the "
        "noise), and the local atoms of the sample in bits. Their means over samples are the "
        "atoms, here not corrected for the number of samples; single ones can be negative. A gray "
        "column is uniform: the candidates had too little probability in every draw (*fallback*). "
        "The right answer is bold. The mini is trained from scratch on these synthetic tasks; no "
        "number here says anything about a large model."
    )
    return f"# Samples, one by one\n\n{text}\n\n" + "\n".join(parts)


def short(bits: float) -> str:
    """Two digits, with a minus sign, without a negative zero."""
    return f"{round(bits, 2) + 0.0:.2f}".replace("-", "−")


def card(sample: benchmarks.Sample, picture: str, given: dict, local: dict) -> str:
    """HTML of one sample: distributions over the candidates by input, and local atoms."""
    flat = {name: bool(np.ptp(values) < UNDECIDED) for name, values in given.items()}
    head = "".join(f"<th>{name}</th>" for name in ("", "both", "picture", "question"))
    body = ""
    for k, candidate in enumerate(sample.candidates):
        cells = "".join(
            f'<td class="p{" flat" * flat[name]}" style="--p:{values[k]:.3f}">{values[k]:.2f}</td>'
            for name, values in given.items()
        )
        mark = "<b>{}</b>" if candidate == sample.answer else "{}"
        body += f"<tr><th>{mark.format(escape(candidate))}</th>{cells}</tr>"
    bars = "".join(
        f'<tr><th>{ATOM_STYLES[name][1]}</th><td class="local" style="--b:{bits:.3f};'
        f'--c:{ATOM_STYLES[name][2]}">{short(bits)}</td></tr>'
        for name, bits in local.items()
    )
    return (
        f'<figure class="sample"><img src="{picture}" alt="" width="144" height="144" '
        f'loading="lazy"><figcaption>{escape(sample.text)}</figcaption>'
        f"<table><tr>{head}</tr>{body}</table><table>{bars}</table></figure>"
    )


def explorer_data() -> str:
    """Joints of small gates, and names and colors of the atoms, as JavaScript."""
    joints = {name: gate.joint() for name, gate in GATES.items()}
    small = {k: joint.tolist() for k, joint in joints.items() if joint.numel() <= LARGEST}
    names = ("redundancy", "unique to x<sub>1</sub>", "unique to x<sub>2</sub>", "synergy")
    atoms = [[name, ATOM_STYLES[atom][2]] for name, atom in zip(names, ATOMS, strict=True)]
    return f"const GATES = {json.dumps(small)};\nconst ATOM_LOOKS = {json.dumps(atoms)};\n"


def main(folder: Path) -> None:
    (folder / "_static").mkdir(parents=True, exist_ok=True)
    (folder / "book").mkdir(exist_ok=True)
    (folder / "_static/gates.js").write_text(explorer_data(), encoding="utf-8")
    for page in (clips, samples):
        (folder / f"book/{page.__name__}.md").write_text(page(folder), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
