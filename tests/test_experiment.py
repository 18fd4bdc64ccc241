"""Presets, fingerprints and the guard stop a wrong name before any work, and say which was meant."""

import pytest

from pidlib.experiment import PRESETS, Preset, derive_seed, fingerprint, guard, load_preset


@pytest.mark.parametrize("name", ["smoke", "offline", "paper"])
def test_each_preset_states_every_field(name):
    preset = load_preset(name)
    assert preset.name == name
    assert preset.model_fields_set == set(Preset.model_fields)


def test_only_the_offline_preset_writes_where_results_are_committed():
    assert load_preset("offline").table("validation/fig_bias") == load_preset("offline").table("validation/fig_bias")
    assert {load_preset(name).output.as_posix() for name in ("smoke", "paper")} == {"build/smoke", "build/paper"}


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda: load_preset("ofline"), "unknown preset 'ofline'; did you mean 'offline'?"),
        (lambda: load_preset("smoke", n_cluster=3), "unknown parameter 'n_cluster'; did you mean 'n_clusters'?"),
        (lambda: load_preset("smoke", n_samples="many"), "n_samples: .*valid integer"),
        (lambda: load_preset("smoke", n_samples=0), "n_samples: .*greater than 0"),
        (lambda: load_preset("smoke", tau=2), "tau: "),
        (lambda: load_preset("smoke", models=()), "models: "),
        (lambda: load_preset("smoke", name="other"), "unknown parameter 'name'"),
        (lambda: load_preset("smoke", unimodal="maskd"), "unimodal.0: unknown mode 'maskd'; did you mean 'masked'?"),
        (lambda: load_preset("smoke", unimodal="masked,masked"), "unimodal: 'masked' stands there twice"),
        (lambda: load_preset("smoke", models="llava,llava"), "models: 'llava' stands there twice"),
        (lambda: load_preset("smoke", bias_codes=[5, 5]), "bias_codes: 5 stands there twice"),
        (lambda: load_preset("smoke", device="gpu"), "device: .*'auto', 'cpu' or 'cuda', got 'gpu'"),
        (lambda: load_preset("smoke", bench_sizes="2x2"), "bench_sizes.0: .*match pattern.*got '2x2'"),
        (lambda: load_preset("smoke", bench_sizes="2x0x2"), "bench_sizes.0: .*match pattern.*got '2x0x2'"),
        (lambda: load_preset("smoke", benchmarks="micro/groundin"), "benchmarks.0: .*'micro/groundin'; did you mean 'micro/grounding'?"),
        (lambda: load_preset("smoke", benchmarks="micro/scene,micro/scene"), "benchmarks: 'micro/scene' stands there twice"),
    ],
)
def test_wrong_names_and_values_are_refused(call, hint):
    with pytest.raises(ValueError, match=hint.replace("?", r"\?")):
        call()


def test_a_misspelt_key_in_a_preset_file_is_refused(tmp_path):
    text = (PRESETS / "smoke.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert load_preset(str(path)).n_samples == load_preset("smoke").n_samples
    path.write_text(text.replace("n_clusters:", "n_cluster:"))
    with pytest.raises(ValueError, match="unknown preset key 'n_cluster'; did you mean 'n_clusters'"):
        load_preset(str(path))
    path.write_text(text.replace("n_clusters: 2\n", ""))
    with pytest.raises(ValueError, match="n_clusters: Field required"):
        load_preset(str(path))


@pytest.mark.parametrize("name", ["smoke", "offline"])
def test_presets_that_run_offline_name_minis_alone(name):
    from pidlib.models.minis import RECIPES

    assert set(load_preset(name).models) <= set(RECIPES)


def test_the_paper_preset_says_that_its_models_are_to_be_pinned():
    text = (PRESETS / "paper.yaml").read_text()
    assert "owner/name@<40 hex>" in text and "-p models" in text
    assert all(model.count("/") == 1 for model in load_preset("paper").models)


def test_benchmarks_of_other_sources_are_left_to_those_who_load_them():
    assert load_preset("smoke", benchmarks="mine/questions").benchmarks == ("mine/questions",)


def test_a_list_may_be_typed_with_commas():
    assert load_preset("smoke", models="a, b").models == ("a", "b")
    assert load_preset("smoke", bias_codes="3,4").bias_codes == (3, 4)


def notebook(**injected):
    """The names a kernel holds at the guard: imports, its own, the declared parameters, and what papermill injected after them."""
    declared = {"preset": str, "n_clusters": int | None}
    return {"__annotations__": declared, "In": [""], "Out": {}, "_i": "", "np": pytest, "preset": "smoke", "n_clusters": None} | injected


def test_guard_returns_the_preset_and_what_was_replaced():
    assert guard(notebook()) == load_preset("smoke")
    assert guard(notebook(n_clusters=5)) == load_preset("smoke", n_clusters=5)


@pytest.mark.parametrize("value", [3, 3.5, "three", True, None, [3], {"three": 3}])
def test_guard_refuses_an_injected_name_nobody_declared(value):
    with pytest.raises(ValueError, match=r"unknown parameter 'n_cluster'; did you mean 'n_clusters'\?"):
        guard(notebook(n_cluster=value))


def test_guard_refuses_a_field_of_the_preset_that_the_notebook_does_not_read():
    with pytest.raises(ValueError, match="unknown parameter 'n_samples'"):
        guard(notebook(n_samples=3))


def test_guard_lets_scratch_variables_pass_once_the_notebook_is_under_way():
    names = notebook()
    guard(names)
    assert guard(names | {"x": 1, "n_clusters": 4}).n_clusters == 4


def test_fingerprint_sees_every_part_and_no_order():
    base = {"model": "llava", "n": 8, "passes": {"vision", "language"}}
    assert fingerprint(**base) == fingerprint(**dict(reversed(base.items())))
    assert len({fingerprint(**base), fingerprint(**base | {"n": 9}), fingerprint(**base | {"seed": 0})}) == 3
    with pytest.raises(TypeError, match="pass a string or numbers"):
        fingerprint(model=object())


def test_derived_seeds_depend_on_names_alone():
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1) != derive_seed(0, "a1")
