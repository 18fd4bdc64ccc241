"""Models whose adapters are not there are left out."""

import pytest

from pidlib.experiments import preset as presets
from pidlib.experiments.preset import load_preset
from pidlib.experiments.real import trained as module
from pidlib.experiments.real.trained import trained


@pytest.fixture
def preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "project_root", lambda: tmp_path)
    monkeypatch.setattr(presets, "project_root", lambda: tmp_path)
    folder = tmp_path / module.ASSEMBLED
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    return load_preset("real")


def test_missing_adapters_are_named_and_left_out(preset, recwarn):
    (module.ADAPTERS / "base_1").mkdir(parents=True)
    with pytest.warns(UserWarning) as caught:
        left = trained(preset)
    names = "base_0, base_2, picture_blind, caption_blind, caption_prior, brief"
    text = f"left out until they are trained: {names}; `make real-population` trains them"
    assert [str(each.message) for each in caught] == [text]
    labels = [[name.partition("=")[0] for name in getattr(left, each)] for each in module.LISTS]
    assert labels == [["base_1"], ["base_1"], ["base_1"]]
    for name in names.split(", "):
        (module.ADAPTERS / name).mkdir()
    assert trained(preset) == preset and len(recwarn) == 0


def test_a_missing_model_stops_before_any_work(preset, tmp_path):
    with pytest.raises(FileNotFoundError, match="no adapter in .*; run `make real-population`"):
        trained(preset)
    (tmp_path / module.ASSEMBLED / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="no model in .*; run `make real`"):
        trained(preset)


def test_models_of_ones_own_stay(preset, recwarn):
    own = preset.model_copy(update=dict.fromkeys(module.LISTS, ("mine=runs/checkpoint",)))
    assert trained(own) == own and len(recwarn) == 0
