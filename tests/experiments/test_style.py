"""Colors, hatches and names of all figures."""

import pandas as pd

from pidlib.experiments import style


def test_atoms_differ_in_color_and_hatch():
    atoms = len(style.COLORS)
    assert len(set(style.COLORS.values())) == len(set(style.HATCHES.values())) == atoms
    assert not set(style.COLORS.values()) & {*style.OTHERS, style.NULL}


def test_names_of_models_and_benchmarks():
    assert style.model_name("qwen2_5_vl") == "Qwen2.5-VL mini"
    assert style.model_name("llava_onevision_compact") == "LLaVA-OneVision mini, compact"
    assert style.model_name("llava-hf/llava-1.5-7b-hf@" + 40 * "a") == "llava-1.5-7b-hf"
    folders = ("/runs/final/", "runs/llava_mine", "./llava", "llava_mine")
    assert [style.model_name(name) for name in folders] == [
        "final",
        "llava_mine",
        "llava",
        "llava_mine",
    ]
    assert style.benchmark_name("table:cars.csv") == "cars"
    assert style.benchmark_name("easy_vqa/yes_no") == "easy-VQA: yes/no"
    assert style.benchmark_name("prior/80") == "captions: 80 % right"
    assert style.benchmark_name("prior/80 balanced") == "captions: balanced"


def test_a_table_names_its_minis():
    assert style.minis_line(["a/llava", "else"], 3) == []
    assert "minis" in style.minis_line(["a/b", "llava"], 3)[0][0]


def test_corrected_values_are_the_best_where_they_are_known():
    rows = pd.DataFrame({"value_bits": [1.0, 2.0], "corrected_bits": [0.5, None]}, dtype="Float64")
    assert style.best(rows).tolist() == [0.5, 2.0]
    assert [style.best(row) for _, row in rows.iterrows()] == [0.5, 2.0]
