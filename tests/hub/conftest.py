"""A hub on the loopback that this process and its notebooks use."""

import time
from pathlib import Path

import datasets
import huggingface_hub.constants
import pytest
import transformers.utils.hub
from small_world import random_model, spread

from hub.server import Hub
from pidlib.benchmarks import hub as hub_benchmarks

OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty hub, and an empty cache for what is downloaded from it."""
    with Hub() as server:
        constants = huggingface_hub.constants
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        path = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[1:]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "".join(path))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "home/hub"))
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "home/datasets")
        for name in OFFLINE:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
        hub_benchmarks._read.cache_clear()
        yield server


@pytest.fixture
def no_waiting(monkeypatch):
    """Fail where the client of the hub would wait before it tries again."""

    def sleep(seconds):
        raise AssertionError(f"waits {seconds} s for the hub")

    monkeypatch.setattr(time, "sleep", sleep)


@pytest.fixture
def saved(tmp_path) -> Path:
    """A checkpoint with its processor, as save_pretrained writes it."""
    model, processor = random_model("llava")
    for part in (spread(model, 0), processor):
        part.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"
