"""Make all committed outcomes: ``python -m pidlib.experiments.reweighting``.

Trains what any table of the experiment needs and is not committed yet, and writes
``data/results/reweighting/outcomes.csv`` without outcomes that no table needs any more.
"""

import argparse

from tqdm import tqdm

from pidlib.experiments.preset import load_preset
from pidlib.experiments.reweighting.outcomes import TABLE, complete
from pidlib.experiments.reweighting.plan import all_trainings
from pidlib.experiments.tables import write

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m pidlib.experiments.reweighting")
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper or a YAML file")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at a time; 1 on one GPU")
    parser.add_argument("--retrain", action="store_true", help="ignore committed outcomes")
    chosen = parser.parse_args()
    preset = load_preset(chosen.preset)
    table = complete(preset, all_trainings(preset), chosen.jobs, retrain=chosen.retrain)
    tqdm.write(f"wrote {len(table):,} rows to {write(table, preset.table(TABLE))}")
