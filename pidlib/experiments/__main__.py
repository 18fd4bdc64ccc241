"""Run the models and the trainings of a preset, the first step of all experiments.

``extract`` makes what the notebooks read. ``outcomes`` and ``coverage`` make committed tables
again: all trainings of the reweighting experiment, and the study of intervals. Start a command as
often as you like, on machines that share the cache: each process does what no other does, and the
result is the same byte for byte. ``sbatch`` prints a job array for Slurm that extracts.
"""

import argparse
import signal
import sys
from pathlib import Path

from tqdm import tqdm

from pidlib._common import project_root
from pidlib.experiments import ahead, cluster
from pidlib.experiments.preset import load_preset
from pidlib.experiments.processes import launch, work
from pidlib.experiments.reweighting import outcomes
from pidlib.experiments.reweighting.plan import all_trainings
from pidlib.experiments.tables import write
from pidlib.experiments.validation import fig_coverage


def main() -> int | None:
    """Run the command; the exit code is 1 if anything failed."""
    parser = argparse.ArgumentParser(prog="python -m pidlib.experiments", description=__doc__)
    parser.add_argument("command", choices=["extract", "outcomes", "coverage", "sbatch"])
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper or a YAML file")
    parser.add_argument("--models", default="", help="A,B: these models of the preset alone")
    parser.add_argument("--jobs", type=int, default=1, help="processes; 1 on a single GPU")
    parser.add_argument("--gpus", action="store_true", help="a process for each visible GPU")
    parser.add_argument("--dry-run", action="store_true", help="say what extract would cost")
    parser.add_argument("--fetch", action="store_true", help="download what extract needs")
    parser.add_argument("--retrain", action="store_true", help="outcomes: ignore committed ones")
    slurm = parser.add_argument_group("sbatch")
    slurm.add_argument("--partition", default="gpu")
    slurm.add_argument("--time", default="04:00:00", help="of a task; submit again to go on")
    slurm.add_argument("--gpus-per-task", type=int, default=1, help="0: on the CPU")
    slurm.add_argument("--at-once", type=int, default=4, help="number of tasks")
    chosen = parser.parse_args()
    if chosen.jobs < 1 or chosen.at_once < 1:
        parser.error(f"--jobs {chosen.jobs} --at-once {chosen.at_once}: give 1 or more")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # gives claims back
    preset, path = load_preset(chosen.preset), Path(chosen.preset)
    command = ["--preset", str(path.resolve()) if path.suffix else chosen.preset]
    command += ["--models", chosen.models] * bool(chosen.models)
    models = tuple(filter(None, chosen.models.split(",")))
    if chosen.command == "sbatch" or chosen.dry_run:
        asked = ahead.queries(preset, models, strict=False)  # unknown models stop here
        try:
            ahead.queries(preset, models)
        except ValueError as error:  # as extract will
            print(f"warning: extract will stop: {error}", file=sys.stderr)
    if chosen.command == "sbatch":
        return print(cluster.script(preset, ["extract", *command], chosen), end="")
    if chosen.fetch:
        return cluster.fetch(preset, ahead.queries(preset, models))
    if chosen.dry_run:
        return print(cluster.report(preset, asked))
    if chosen.command == "extract":
        tasks = ahead.extract_tasks(preset, models)
    elif chosen.command == "outcomes":
        known = set() if chosen.retrain else set(outcomes.load_committed()["fingerprint"])
        specs = [spec for spec in all_trainings(preset) if spec.fingerprint not in known]
        tasks = ahead.training_tasks(preset, specs)
    else:
        tasks = ahead.coverage_tasks(preset)
    if chosen.jobs > 1 or chosen.gpus:
        command += ["--retrain"] * chosen.retrain
        if code := launch([chosen.command, *command], chosen.jobs, chosen.gpus):
            return code
    elif failures := work(tasks, project_root() / preset.cache):
        for name, error in failures.items():
            tqdm.write(f"failed: {name}: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    tqdm.write(f"{len(tasks)} extractions and trainings are in {preset.cache}")
    if chosen.command == "extract":
        return 0
    if chosen.command == "outcomes":
        module, table = outcomes, outcomes.complete(preset, all_trainings(preset), chosen.retrain)
    else:
        module, table = fig_coverage, fig_coverage.make(preset, fig_coverage.plan(preset))
    path = write(table, preset.table(module.TABLE), module.COLUMNS)
    tqdm.write(f"wrote {len(table):,} rows to {path}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")
