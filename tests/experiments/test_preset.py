"""Presets and the parameters of notebooks: a wrong name or value stops before any work."""

import re

import numpy as np
import pytest

from pidlib._common import project_root
from pidlib.experiments.preset import (
    PRESETS,
    Preset,
    load_preset,
    parse_model,
    read_parameters,
)


@pytest.mark.parametrize("name", ["smoke", "offline", "paper", "real"])
def test_each_preset_states_every_field(name):
    preset = load_preset(name)
    assert preset.name == name
    assert preset.model_fields_set == set(Preset.model_fields)


def test_a_preset_takes_what_it_does_not_state_from_another(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("like: smoke\nn_samples: 7\ntuning: {steps: 9}\n")
    smoke, mine = load_preset("smoke"), load_preset(str(path), n_halves=4)
    changed = {key for key, value in mine if value != getattr(smoke, key)}
    assert changed == {"name", "n_samples", "n_halves", "tuning"} and mine.tuning == {"steps": 9}
    path.write_text("like: smok\n")
    with pytest.raises(ValueError, match="unknown preset 'smok'; did you mean 'smoke'"):
        load_preset(str(path))
    path.write_text("like: mine.yaml\n")  # itself
    with pytest.raises(ValueError, match="like: unknown preset 'mine.yaml'"):
        load_preset(str(path))


def test_tables_of_a_preset_with_an_experiment_are_in_its_folder():
    preset = load_preset("real")
    for name in ("vision_language/fig_layers", "real/fig_layers"):
        assert preset.table(name).as_posix().endswith("data/results/real/fig_layers.csv")
        assert preset.figure(name).as_posix().endswith("figures/real/fig_layers")
    types = {"__annotations__": {"preset": str, "n_samples": int, "output": str}, "preset": "real"}
    assert read_parameters(dict(types)).experiment == "real"
    with pytest.raises(ValueError, match="n_samples: this run would replace committed tables"):
        read_parameters(types | {"n_samples": 24})


def test_two_presets_write_to_the_committed_results():
    for name in ("offline", "real"):
        assert load_preset(name).output.as_posix() == "."
    for name in ("smoke", "paper"):
        assert load_preset(name).output.as_posix() == f"build/{name}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"preset": "ofline"}, "unknown preset 'ofline'; did you mean 'offline'?"),
        ({"n_cluster": 3}, "unknown parameter 'n_cluster'; did you mean 'n_clusters'?"),
        ({"n_samples": "many"}, "n_samples: Input should be a valid integer"),
        ({"n_samples": 0}, "n_samples: Input should be greater than 0"),
        ({"tau": 2}, "tau: "),
        ({"models": ()}, "models: "),
        ({"name": "other"}, "unknown parameter 'name'"),
        ({"unimodal": "maskd"}, "unimodal.0: Input should be 'masked', 'resampled' or"),
        ({"unimodal": "masked,masked"}, "unimodal: duplicate entry 'masked'"),
        ({"models": "llava,llava"}, "models: duplicate entry 'llava'"),
        ({"bias_codes": [5, 5]}, "bias_codes: duplicate entry 5"),
        ({"device": "gpu"}, "device: Input should be 'auto', 'cpu' or 'cuda', got 'gpu'"),
        ({"bench_sizes": "2x2"}, "bench_sizes.0: String should match pattern"),
        ({"bench_sizes": "2x0x2"}, "bench_sizes.0: String should match pattern"),
        ({"benchmarks": "micro/groundin"}, "did you mean 'micro/grounding'?"),
        ({"benchmarks": "micro/scene,micro/scene"}, "benchmarks: duplicate entry 'micro/scene'"),
        ({"tuning": "steps=3"}, "tuning: a mapping expected"),
        ({"models": '["llava"'}, "models: '[\"llava\"' is neither JSON nor YAML"),
        ({"models": "a/tuned,b/tuned"}, "'a/tuned' and 'b/tuned' have one name, 'tuned'"),
        ({"models": "x=a/b,x=c/d"}, "'x=a/b' and 'x=c/d' have one name, 'x'; give models as NAME="),
        ({"benchmarks": "table:a/q.csv,table:b/q.csv"}, "have one name, 'table:q.csv'"),
        ({"benchmarks": f"hub/pope@{40 * 'a'},hub/pope"}, "have one name, 'hub/pope'"),
    ],
)
def test_wrong_names_and_values_are_refused(fields, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        load_preset(**{"preset": "smoke"} | fields)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_samples", True),
        ("n_samples", np.True_),
        ("seed", True),
        ("tau", True),
        ("batch_size", False),
        ("bias_samples", [100, True]),
        ("tuning", {"steps": True}),
    ],
)
def test_a_truth_value_is_not_a_number(name, value):
    with pytest.raises(ValueError, match=f"{name}: got a truth value"):
        load_preset("smoke", **{name: value})
    assert load_preset("smoke", allow_unpinned=True).allow_unpinned


def test_a_wrong_key_in_a_preset_file_is_refused(tmp_path):
    text = (PRESETS / "smoke.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_preset(str(path)).n_samples == load_preset("smoke").n_samples
    path.write_text(text.replace("n_clusters:", "n_cluster:"))
    message = "unknown preset key 'n_cluster'; did you mean 'n_clusters'"
    with pytest.raises(ValueError, match=message):
        load_preset(str(path))
    path.write_text(text.replace("n_clusters: 2\n", ""))
    with pytest.raises(ValueError, match="n_clusters: Field required"):
        load_preset(str(path))


@pytest.mark.parametrize("text", ["- seed\n- models\n", "seed", ""])
def test_a_preset_file_without_a_mapping_is_refused(text, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="a mapping of parameters expected|Field required"):
        load_preset(str(path))


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ("models: [llava\n", "is no YAML file"),
        ("---\nseed: 1\n", "is no YAML file"),
        ("1: 2\n", "unknown preset key '1'"),
        ("yes: 2\n", "unknown preset key 'True'"),
        ("tuning: [60]\n", "tuning: a mapping expected"),
        ("weighting:\n", "weighting: a mapping expected"),
        ("tuned_models: [llava]\n", "tuned_models: Input should be a valid dictionary"),
    ],
)
def test_a_preset_file_of_another_kind_is_refused(added, message, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text((PRESETS / "smoke.yaml").read_text() + added)
    with pytest.raises(ValueError, match=message):
        load_preset(str(path))


def test_a_preset_that_is_no_text_file_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ValueError, match="is no YAML file"):
        load_preset(str(path))
    for other in (tmp_path / "none.yaml", None, 3):
        with pytest.raises(ValueError, match="unknown preset"):
            load_preset(other)


@pytest.mark.parametrize("name", ["smoke", "offline"])
def test_presets_that_run_offline_name_minis_only(name):
    from pidlib.training.recipes import RECIPES

    assert set(load_preset(name).models) <= set(RECIPES)


def test_the_paper_preset_says_how_to_pin_its_models():
    text = (PRESETS / "paper.yaml").read_text()
    assert "owner/name@<40 hex>" in text and "-p models" in text
    assert all(model.count("/") == 1 for model in load_preset("paper").models)


def test_a_list_can_be_typed_with_commas():
    assert load_preset("smoke", models="a, b").models == ("a", "b")
    assert load_preset("smoke", bias_codes="3,4").bias_codes == (3, 4)


def test_a_list_can_be_typed_as_json():
    table = "table:my questions, all.csv"
    assert load_preset("smoke", benchmarks=f'["{table}"]').benchmarks == (table,)
    assert load_preset("smoke", bias_codes="[3, 4]").bias_codes == (3, 4)


def test_models_can_have_a_name():
    models = load_preset("smoke", models="one=a/tuned,two=b/tuned").models
    assert [parse_model(model)[:2] for model in models] == [("one", "a/tuned"), ("two", "b/tuned")]
    commit = 40 * "a"
    assert parse_model(f"one=me/tuned@{commit}") == ("one", "me/tuned", commit)
    assert parse_model("/runs/lr=0.1/last")[0] == "/runs/lr=0.1/last"
    for base in (f"me/tuned@{commit}", "llava", "/runs/base"):
        for adapter in ("adapter", "runs/adapter", "/runs/adapter"):
            place = f"{base}+{adapter}"
            assert parse_model(place) == (place, place, None)
            assert parse_model(f"one={place}") == ("one", place, None)


def test_places_in_the_project_are_found_from_every_folder(tmp_path, monkeypatch):
    place, mini = "data/stamps/adapters/brief", "data/minis/llava"
    assert parse_model(f"brief={place}") == ("brief", place, None)
    monkeypatch.chdir(tmp_path)
    root = project_root()
    assert parse_model(f"brief={mini}+{place}") == ("brief", f"{root / mini}+{root / place}", None)
    assert parse_model(place) == (place, str(root / place), None)
    assert parse_model("data")[1] == "data"  # a mini of this name
    (tmp_path / place).mkdir(parents=True)
    assert parse_model(place)[1] == place


def test_tuning_replaces_single_entries():
    base = load_preset("smoke").tuning
    assert load_preset("smoke", tuning='{"steps": 3}').tuning == base | {"steps": 3}


def test_declared_parameters_are_shown_first():
    shown = read_parameters(notebook())._repr_html_()
    assert shown.index("n_clusters") < shown.index("<details>") < shown.index("n_samples")


def notebook(**injected):
    """The globals of a kernel at the check, with the parameters that papermill injected."""
    own = {"In": [""], "Out": {}, "_i": "", "np": pytest}
    declared = {"preset": str, "n_clusters": int | None}
    values = {"preset": "smoke", "n_clusters": None}
    return {"__annotations__": declared} | own | values | injected


def test_the_preset_of_a_notebook_has_its_parameters():
    for changes in ({}, {"n_clusters": 5}):
        preset = read_parameters(notebook(**changes))
        assert preset.model_dump() == load_preset("smoke", **changes).model_dump()


@pytest.mark.parametrize("value", [3, 3.5, "three", True, None, [3], {"three": 3}])
def test_a_parameter_that_was_not_declared_is_refused(value):
    message = r"unknown parameter 'n_cluster'; did you mean 'n_clusters'\?"
    with pytest.raises(ValueError, match=message):
        read_parameters(notebook(n_cluster=value))


def test_a_field_of_the_preset_that_the_notebook_does_not_use_is_refused():
    with pytest.raises(ValueError, match="unknown parameter 'n_samples'"):
        read_parameters(notebook(n_samples=3))


def test_every_notebook_takes_the_parameters_of_a_run(tmp_path):
    given = {"device": "auto", "batch_size": 4, "cache": str(tmp_path), "allow_unpinned": True}
    preset = read_parameters(notebook(**given))
    assert preset.model_dump(include=given.keys()) == given | {"cache": tmp_path}
    with pytest.raises(ValueError, match="unknown parameter 'devices'; did you mean 'device'"):
        read_parameters(notebook(devices="cpu"))


def test_another_run_does_not_replace_the_committed_tables(tmp_path):
    given = {"preset": "offline", "output": None}
    types = {"preset": str, "n_clusters": int, "output": str}
    other = notebook(**given, n_clusters=7) | {"__annotations__": types}
    with pytest.raises(ValueError, match="n_clusters: .* replace committed .*-p output build/mine"):
        read_parameters(dict(other))
    assert read_parameters(other | {"output": str(tmp_path)}).n_clusters == 7
    same = other | {"n_clusters": None, "device": "auto", "batch_size": 8}
    assert read_parameters(same).output.as_posix() == "."


def test_scratch_variables_are_accepted_after_the_first_check():
    names = notebook()
    read_parameters(names)
    assert read_parameters(names | {"x": 1, "n_clusters": 4}).n_clusters == 4
