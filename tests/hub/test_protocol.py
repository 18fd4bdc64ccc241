"""Models and data sets of a hub: pinned, gated, missing, cut off, and from the cache alone."""

import json
import time

import huggingface_hub.constants
import pytest
import torch
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
from small_world import spread
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from hub.rows import SIZE, stored
from pidlib import benchmarks, load_model
from pidlib.benchmarks import hub as hub_benchmarks
from pidlib.experiments import ahead, cluster
from pidlib.experiments.extractions import Request, find_model
from pidlib.experiments.preset import load_preset
from pidlib.extraction import extract
from pidlib.training import tiny

NAME = "llava-hf/llava-1.5-7b-hf"
OTHER = "0123456789abcdef0123456789abcdef01234567"


def weights_of(name, **options) -> dict[str, torch.Tensor]:
    return load_model(name, device="cpu", **options).model.state_dict()


def same(first, second) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_a_checkpoint_is_that_of_its_folder_and_downloaded_once(hub, saved, no_waiting):
    commit = hub.add(NAME, saved)
    loaded = load_model(f"{NAME}@{commit}", device="cpu")
    assert loaded.revision == commit and loaded.processor.chat_template
    assert same(loaded.model.state_dict(), weights_of(saved))
    assert sum("GET" in line and "safetensors" in line for line in hub.log) == 1
    assert weights_of(NAME, allow_unpinned=True) and load_model(NAME, revision=commit, device="cpu")
    assert sum("GET" in line and "safetensors" in line for line in hub.log) == 1


def test_a_cached_checkpoint_needs_no_hub_and_no_patience(hub, saved, no_waiting):
    commit = hub.add(NAME, saved)
    before = weights_of(f"{NAME}@{commit}")
    hub.log.clear()
    assert same(before, weights_of(f"{NAME}@{commit}")) and not hub.log
    hub.__exit__()
    assert same(before, weights_of(f"{NAME}@{commit}"))
    assert load_model(NAME, allow_unpinned=True, device="cpu").revision == commit
    preset = load_preset("smoke", models=f"mine={NAME}@{commit}")
    assert find_model(preset, preset.models[0]).model.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "revision", "error", "words"),
    [
        (NAME, OTHER, RevisionNotFoundError, f"Revision Not Found for url: .*{NAME}/tree/{OTHER}"),
        (
            "owner/none",
            OTHER,
            RepositoryNotFoundError,
            "Repository Not Found for url: .*owner/none",
        ),
        ("owner/gated", None, GatedRepoError, "Cannot access gated repo for url .*owner/gated"),
    ],
)
def test_refusals_of_the_hub_name_the_repository(name, revision, error, words, hub, saved):
    hub.add(NAME, saved)
    hub.add("owner/gated", saved, gated=True)
    with pytest.raises(error, match=words):
        load_model(name, revision=revision, allow_unpinned=True, device="cpu")
    assert not any("safetensors" in line for line in hub.log)


@pytest.mark.parametrize("commit", [None, OTHER])
@pytest.mark.parametrize("ask", [load_model, lambda name, **kw: find_model(preset_of(name), name)])
def test_what_is_not_in_the_cache_is_named_offline(ask, commit, hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    lost = rf"the model {NAME} \({commit or 'newest commit'}\) is not in the cache, .* --fetch"
    name = f"{NAME}@{commit}" if commit else NAME
    with pytest.raises(FileNotFoundError, match=lost):
        ask(name, allow_unpinned=True)


def preset_of(name):
    return load_preset("smoke", models=name, allow_unpinned=True)


def test_an_unknown_architecture_is_refused_before_its_weights_are_downloaded(hub, saved):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config["text_config"]))
    commit = hub.add(NAME, saved)
    with pytest.raises(ValueError, match="Unrecognized configuration class"):
        load_model(f"{NAME}@{commit}", device="cpu")
    assert hub.log and not any("safetensors" in line for line in hub.log)


def test_a_missing_processor_is_named_before_weights_are_downloaded(hub, saved):
    for path in saved.glob("*processor*"):
        path.unlink()
    commit = hub.add(NAME, saved)
    with pytest.raises(ValueError, match=r"has no processor: it lacks processor_config\.json"):
        load_model(f"{NAME}@{commit}", device="cpu")
    assert hub.log and not any("safetensors" in line for line in hub.log)


def test_a_download_that_breaks_off_is_resumed(hub, saved, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 256)
    commit = hub.add(NAME, saved)
    hub.cut["model.safetensors"] = 1000
    assert same(weights_of(saved), weights_of(f"{NAME}@{commit}"))
    assert any("model.safetensors bytes=" in line for line in hub.log)


def test_a_data_set_is_read_at_its_commit_and_then_from_the_cache(hub, tmp_path, no_waiting):
    stored(tmp_path / "rows", "pope")
    commit = hub.add("lmms-lab/POPE", tmp_path / "rows", "datasets")
    samples = benchmarks.load(f"hub/pope@{commit}", "test")
    assert samples == benchmarks.load(f"hub/pope@{tmp_path / 'rows'}", "test")
    assert [s.media for s in samples] == [
        s.media for s in benchmarks.load(f"hub/pope@{tmp_path / 'rows'}", "test")
    ]
    assert benchmarks.revision("hub/pope", allow_unpinned=True) == commit
    hub.__exit__()
    hub_benchmarks._read.cache_clear()
    assert benchmarks.load(f"hub/pope@{commit}", "test") == samples
    assert benchmarks.revision("hub/pope", allow_unpinned=True) == commit


def test_refusals_of_a_data_set_name_it(hub, tmp_path, monkeypatch):
    stored(tmp_path / "rows", "pope")
    with pytest.raises(RepositoryNotFoundError, match="Repository Not Found for url: .*POPE"):
        benchmarks.load(f"hub/pope@{OTHER}")
    commit = hub.add("lmms-lab/POPE", tmp_path / "rows", "datasets", gated=True)
    with pytest.raises(GatedRepoError, match="gated repo for url .*lmms-lab/POPE"):
        benchmarks.load(f"hub/pope@{commit}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name, repository in (("hub/mmstar", "MMStar"), ("music_avqa/audio", "Music-AVQA")):
        with pytest.raises(FileNotFoundError, match=f"the dataset .*/{repository} .*{OTHER}.* not"):
            benchmarks.load(f"{name}@{OTHER}")


def pieces_of_text(source, words) -> PreTrainedTokenizerFast:
    """A tokenizer as Llama's: a mark for the space, digits alone, bytes for what is unknown."""
    mark, special = "\u2581", ["<unk>", "<pad>", "<s>", "</s>", "<image>"]
    core = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    marks = [normalizers.Prepend(mark), normalizers.Replace(" ", mark)]
    core.normalizer = normalizers.Sequence(marks)
    core.pre_tokenizer = pre_tokenizers.Split(Regex(f"{mark}?[^{mark}\\d]+|{mark}|\\d"), "isolated")
    known = special + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=known, show_progress=False)
    core.train_from_iterator(["how many? user assistant"] * 9, trainer)
    core.pre_tokenizer = None
    names = dict(zip(("unk_token", "pad_token", "bos_token", "eos_token"), special, strict=False))
    return PreTrainedTokenizerFast(
        tokenizer_object=core, **names, extra_special_tokens={"image_token": "<image>"}
    )


@pytest.mark.filterwarnings("ignore:.*are left out")
def test_numbers_are_told_apart_by_a_tokenizer_that_splits_them(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "_tokenizer", pieces_of_text)
    model, processor = tiny.build("llava", (), "tiny")
    for part in (spread(model, 0), processor):
        part.save_pretrained(tmp_path / "saved")
    stored(tmp_path / "rows", "vqav2", 120)
    commit = hub.add("lmms-lab/VQAv2", tmp_path / "rows", "datasets")
    samples = benchmarks.load(f"hub/vqav2@{commit}", "test", 4)
    assert {"1", "2", "11"} <= set(samples[0].candidates)
    model = load_model(f"{NAME}@{hub.add(NAME, tmp_path / 'saved')}", device="cpu")
    extraction = extract(model, samples, progress=False)
    assert all(len(set(row.tolist())) == 10 for row in extraction.logits["vision+language"])


def test_everything_without_a_commit_is_listed_at_once_ready_to_paste(hub):
    preset = load_preset("paper")
    with pytest.raises(ValueError) as error:
        ahead.queries(preset)
    text = str(error.value)
    models = {*preset.models, *preset.population, *preset.omni_models, *preset.bases}
    data = [name for name in preset.benchmarks if name.startswith("hub/")]
    for name in (*models, *data, *preset.retained_benchmarks):
        assert f"{name} is" in text
    assert "such as Qwen/Qwen2.5-VL-7B-Instruct@" in text and "a commit of lmms-lab/POPE" in text
    assert not hub.log


@pytest.mark.parametrize(
    "changed",
    [{"retained_benchmarks": "hub/pope"}, {"tuned_models": {"prior/80": ["owner/name"]}}],
)
def test_names_of_trainings_are_checked_ahead_too(changed):
    with pytest.raises(
        ValueError, match="hub/pope is without commit|owner/name is a hub checkpoint"
    ):
        ahead.queries(load_preset("smoke", **changed))


@pytest.mark.filterwarnings("ignore:.*fewer than")
def test_what_was_fetched_is_all_that_a_run_needs(hub, saved, tmp_path, monkeypatch, no_waiting):
    stored(tmp_path / "rows", "pope")
    model = f"{NAME}@{hub.add(NAME, saved)}"
    data = f"hub/pope@{hub.add('lmms-lab/POPE', tmp_path / 'rows', 'datasets')}"
    preset = load_preset("smoke", models=model, retained_benchmarks=data)
    monkeypatch.setattr(ahead, "all_requests", lambda _: [Request([model], [data], ())])
    cluster.fetch(preset, ahead.queries(preset))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert weights_of(model) and len(benchmarks.load(data, "test")) < SIZE
