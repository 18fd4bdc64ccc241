"""Before a run on a cluster: the job script, the cost by model, the downloads."""

import re
import shlex
import subprocess

import huggingface_hub
import pytest

from pidlib.experiments import __main__ as shell
from pidlib.experiments import ahead, cluster
from pidlib.experiments.extractions import Query, Request
from pidlib.experiments.preset import load_preset
from pidlib.extraction import extract
from pidlib.extraction.masking import FULL
from pidlib.models import load_model
from pidlib.training.minis import vocabulary
from pidlib.training.tiny import build

COMMIT = "1" * 40
QWEN = f"Qwen/Qwen2.5-VL-7B-Instruct@{COMMIT}"
QUERY = Query("test", 40, 0, (FULL, "vision"), layers=None)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cluster")
    for part in build("llava", sorted(vocabulary(n=64)), size="tiny"):
        part.save_pretrained(folder / "model")
    places = {"cache": str(folder / "deep" / "cache"), "output": str(folder)}
    return load_preset("smoke", models=[str(folder / "model"), QWEN], **places)


def printed(capsys, monkeypatch, preset, *options, warned=None):
    monkeypatch.setattr(shell, "load_preset", lambda _: preset)
    monkeypatch.setattr(shell.signal, "signal", lambda *_: None)
    monkeypatch.setattr("sys.argv", ["pidlib", *options])
    assert not shell.main()
    out, errors = capsys.readouterr()
    assert warned is None or re.search(f"warning: .*{warned}", errors)
    return out


@pytest.mark.parametrize("gpus", [0, 2])
def test_the_job_script_is_a_script_of_equal_tasks(capsys, monkeypatch, preset, gpus):
    options = ["--partition", "big", "--time", "1:00", "--gpus-per-task", str(gpus)]
    options += ["--at-once", "7", "--models", "llava,paligemma"]
    text = printed(capsys, monkeypatch, preset, "sbatch", "--preset", "smoke", *options)
    assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
    settings = [line.split()[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--partition=big", "--time=1:00", "--array=1-7"} <= set(settings)
    assert ("--gpus-per-task=2" in settings) == (gpus == 2)
    *_, command = shlex.split(text, comments=True)[-8:], shlex.split(text, comments=True)
    words = [
        "-m",
        "pidlib.experiments",
        "extract",
        "--preset",
        "smoke",
        "--models",
        "llava,paligemma",
    ]
    assert command[-7:] == words and (preset.output / "slurm").is_dir()


def test_the_cost_of_a_model_in_a_folder_is_that_of_its_extraction(preset):
    pairs = [("micro/existence", QUERY)]
    row = cluster.costs(preset, {preset.models[0]: pairs}).iloc[0]
    assert row["download_GB"] == 0 and row["extractions"] == 1 and row["passes"] == 80
    assert 0 < row["hours"] < 0.1
    model = load_model(preset.models[0], device="cpu")
    samples = cluster.benchmarks.load("micro/existence", "test", 40)
    options = {"passes": QUERY.passes, "layers": (0, 1), "cache": preset.cache.parent / "one"}
    extract(model, samples, **options)
    (file,) = options["cache"].iterdir()
    assert row["cache_GB"] * 1e9 == pytest.approx(file.stat().st_size, rel=0.5)


def test_the_cost_of_a_checkpoint_follows_from_its_size(preset):
    more = QUERY._replace(partners=500)
    pairs = [("micro/existence", more), ("hub/pope", QUERY._replace(partners=8))]
    table = cluster.costs(preset, {QWEN: pairs, "some/body": pairs})
    known = table.loc[QWEN]
    assert known["download_GB"] == pytest.approx(16.6)
    assert known["hours"] == pytest.approx(known["passes"] * 2 * 8.3e9 * 700 / 3e14 / 3600)
    questions = {s.text for s in cluster.benchmarks.load("micro/existence", "test", 40)}
    assert known["passes"] == 40 * (2 + len(questions)) + 40 * (2 + 8)
    assert table.loc["some/body", ["hours", "cache_GB"]].isna().all()


def test_the_command_states_the_cost_and_makes_nothing(capsys, monkeypatch, preset):
    requests = [Request(preset.models, ["micro/existence"], (QUERY,))]
    monkeypatch.setattr(ahead, "all_requests", lambda _: requests)
    unpinned = preset.model_copy(update={"allow_unpinned": False})
    plain = QWEN.partition("@")[0]
    unpinned = unpinned.model_copy(update={"models": (preset.models[0], plain)})
    requests[0] = requests[0]._replace(models=unpinned.models)
    printed(capsys, monkeypatch, unpinned, "sbatch", "--preset", "smoke", warned=f"stop: .*{plain}")
    text = printed(
        capsys, monkeypatch, unpinned, "extract", "--dry-run", warned="extract will stop"
    )
    assert plain in text and "GB free for" in text and not preset.cache.exists()


def test_downloads_are_those_of_the_hub(capsys, monkeypatch, preset):
    benchmark, loaded, weights = f"hub/pope@{COMMIT}", [], []
    requests = [Request(preset.models, ["micro/existence", benchmark], (QUERY,))]
    monkeypatch.setattr(ahead, "all_requests", lambda _: requests)
    monkeypatch.setattr(cluster.benchmarks, "load", lambda *each, **_: loaded.append(each))
    monkeypatch.setattr(
        huggingface_hub,
        "snapshot_download",
        lambda name, **options: weights.append((name, options)) or "folder",
    )
    printed(capsys, monkeypatch, preset, "extract", "--fetch")
    ((name, options),) = weights
    assert name == QWEN.partition("@")[0] and options["revision"] == COMMIT
    assert "*.safetensors" in options["allow_patterns"]
    assert not any(files.endswith((".bin", ".py")) for files in options["allow_patterns"])
    assert loaded == [(benchmark, "test", 40, 0)]


def test_all_names_without_a_commit_are_listed_at_once(monkeypatch, preset):
    names = ["Qwen/Qwen2.5-VL-7B-Instruct", "google/gemma-3-4b-it"]
    requests = [Request([name], ["hub/pope"], (QUERY,)) for name in names]
    monkeypatch.setattr(ahead, "all_requests", lambda _: requests)
    with pytest.raises(ValueError) as error:
        ahead.queries(preset)
    lines = str(error.value).splitlines()
    assert len(lines) == 3
    assert all(any(name in line for line in lines) for name in [*names, "hub/pope"])
