"""Make the coverage study: ``python -m pidlib.experiments.validation``.

An interrupted study goes on where it stopped: finished repetitions are in the cache.
"""

import argparse

from tqdm import tqdm

from pidlib.experiments.preset import load_preset
from pidlib.experiments.tables import write
from pidlib.experiments.validation.fig_coverage import TABLE, make, plan

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pidlib.experiments.validation")
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper or a YAML file")
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time")
    chosen = parser.parse_args()
    preset = load_preset(chosen.preset)
    table = make(preset, plan(preset), chosen.jobs)
    tqdm.write(f"wrote {len(table):,} rows to {write(table, preset.table(TABLE))}")
