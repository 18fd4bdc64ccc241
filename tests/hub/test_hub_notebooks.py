"""A notebook of each experiment on models and data sets of a hub, named as in the paper preset."""

import contextlib
import json
import re
from pathlib import Path

import pandas as pd
import papermill
import pytest
import yaml
from media_files import write_clip
from small_world import random_model, spread
from test_notebooks import run_here

from hub.rows import stored
from pidlib._common import project_root
from pidlib.benchmarks.hub_sources import TASKS
from pidlib.experiments import ahead, cluster
from pidlib.experiments.preset import PRESETS, load_preset

SIZES = {
    **{"n_samples": 12, "partners": 2, "draws": 1, "n_omni": 6, "given": "template"},
    **{"n_tuned": 16, "n_profiled": 8, "n_evaluated": 8, "n_retained": 8},
    **{"n_tuning_seeds": 1, "n_remade_seeds": 1, "tuning": {"steps": 1, "batch": 2}},
}
SEEING = "Qwen/Qwen2.5-VL-7B-Instruct"
HEARING = "Qwen/Qwen2.5-Omni-3B"


def served_model(hub, name: str, family: str, words: set[str], folder: Path) -> str:
    """Serve a model whose tokenizer has these words; return its pinned name."""
    model, processor = random_model(family, sorted(words))
    if family == "qwen2_5_omni":  # takes a minute of sound
        sound = processor.feature_extractor
        sound.chunk_length, sound.n_samples, sound.nb_max_frames = 60, 960_000, 6000
    for part in (spread(model, 0), processor):
        part.save_pretrained(folder / family)
    return f"{name}@{hub.add(name, folder / family)}"


def served_table(hub, name: str, repository: str, folder: Path, size: int) -> str:
    stored(folder / name, name.removeprefix("hub/"), size)
    return f"{name}@{hub.add(repository, folder / name, 'datasets')}"


def written(folder: Path, **changed) -> str:
    """Write the smoke preset with changes; return its path."""
    preset = yaml.safe_load((PRESETS / "smoke.yaml").read_text()) | SIZES | changed
    preset |= {"cache": str(folder / "cache"), "output": str(folder)}
    (folder / "mine.yaml").write_text(yaml.safe_dump(preset))
    return str(folder / "mine.yaml")


def run(notebook: str, preset: str, folder: Path, apart: bool = False) -> pd.DataFrame:
    """Run a notebook, in this process or in one that knows only what is on disk; its table."""
    path = project_root() / f"notebooks/{notebook}.ipynb"
    given = {"preset": preset, "output": str(folder)}
    if apart:
        papermill.execute_notebook(path, None, given, cwd=folder, progress_bar=False)
    else:
        with contextlib.chdir(folder):
            run_here(path, given)
    return pd.read_csv(folder / f"data/results/{notebook}.csv")


@pytest.fixture
def pictures(hub, tmp_path) -> dict[str, str]:
    """A model and two data sets, by their names without commits."""
    named = {
        name: served_table(hub, name, TASKS[name[4:]].repository, tmp_path, 64)
        for name in ("hub/mmbench", "hub/pope")
    }
    words = {*"ABCDE", "Yes", "No", "Is", "there", "what", "is", "one", "two", "three", "look"}
    return named | {SEEING: served_model(hub, SEEING, "qwen2_5_vl", words, tmp_path)}


def test_profiles_of_a_model_of_the_hub(hub, pictures, tmp_path):
    names = [pictures["hub/mmbench"], pictures["hub/pope"]]
    preset = written(tmp_path, models=[pictures[SEEING]], benchmarks=names)
    table = run("vision_language/fig_profiles", preset, tmp_path)
    assert set(table["model"]) == {SEEING} and set(table["benchmark"]) == {
        "hub/mmbench",
        "hub/pope",
    }
    assert set(table["revision"]) == {pictures[SEEING].partition("@")[2]}
    assert set(table["benchmark_revision"]) == {name.partition("@")[2] for name in names}


def test_trainings_of_a_model_of_the_hub(hub, pictures, tmp_path):
    tuned = {pictures["hub/mmbench"]: [pictures[SEEING]]}
    preset = written(tmp_path, tuned_models=tuned, retained_benchmarks=[pictures["hub/pope"]])
    table = run("reweighting/fig_gain", preset, tmp_path)
    gains = table[table["kind"] == "gain"]
    assert set(gains["base"]) == {SEEING} and set(gains["trained_on"]) == {"hub/mmbench"}
    assert set(gains["benchmark"]) == {"hub/mmbench", "hub/pope"}
    assert gains["base_value"].notna().all()  # synergy is joined by names without commits


@pytest.mark.filterwarnings("ignore:.*fewer than")
def test_clips_are_fetched_and_profiled_without_the_hub(hub, tmp_path, monkeypatch):
    forms = (("Is the <Object> playing?", "yes"), ("Where is the <Object>?", "left"))
    rows = [
        {
            "video_id": f"clip{index % 2}",
            "type": json.dumps(["Audio-Visual", "Existential"]),
            "question_content": form,
            "templ_values": json.dumps(["flute"]),
            "question_deleted": 0,
            "anser": answer,
        }
        for index, (form, answer) in enumerate(forms * 8)
    ]
    for name, tone in (("clip0", 0.3), ("clip1", 0.6), ("spare", 0.6)):
        write_clip(tmp_path / f"clips/videos/{name}.mp4", size=(32, 32), tone=tone)
    for part in ("train", "val", "test"):
        (tmp_path / f"clips/avqa-{part}.json").write_text(json.dumps(rows))
    data = f"music_avqa/fusion@{hub.add('UnFaZeD07/Music-AVQA', tmp_path / 'clips', 'datasets')}"
    words = set(re.findall(r"\w+", json.dumps(rows)))
    model = served_model(hub, HEARING, "qwen2_5_omni", words, tmp_path)
    preset = written(tmp_path, omni_models=[model], omni_benchmarks=[data])
    settings = load_preset(preset)
    cluster.fetch(settings, ahead.queries(settings, [model]))
    assert not any("GET" in line and "spare.mp4" in line for line in hub.log)
    hub.__exit__()
    table = run("omni/table2_sensory", preset, tmp_path, apart=True)
    ours = table[table["grade"].isna()]
    assert set(ours["model"]) == {HEARING} and set(ours["benchmark"]) == {"music_avqa/fusion"}
