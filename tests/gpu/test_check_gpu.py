"""The checks of a GPU run on the CPU with small shapes; without a GPU they say so."""

import runpy
from pathlib import Path

import pandas as pd
import torch

main = runpy.run_path(str(Path(__file__).with_name("check_gpu.py")))["main"]


def test_all_checks_run_with_small_shapes(tmp_path, capsys):
    code = main(["--tiny", "--output", str(tmp_path)])
    assert code == 0, capsys.readouterr()
    table = pd.read_csv(tmp_path / "validation" / "table_gpu.csv").set_index("check")
    assert {"solver 5x5x3", "decisions", "mini, float32", "tiny, full pass"} <= set(table.index)
    assert (table["seconds"] > 0).all() and (table["device"] == "CPU").all()
    assert table.loc["mini, float32", "difference"] < 1e-5
    assert table.loc["tiny, full pass", "difference"] < 0.05


def test_without_a_gpu_nothing_is_checked(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--output", str(tmp_path)]) == 0
    assert "no GPU is visible here" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
