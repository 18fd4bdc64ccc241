"""Run the models of a preset: ``python -m pidlib.experiments extract --preset offline --jobs 2``.

This is the first step of all experiments; the notebooks then find everything in the cache.
"""

import argparse

from pidlib.experiments import ahead
from pidlib.experiments.preset import load_preset


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib.experiments", description=__doc__)
    parser.add_argument("command", choices=["extract"])
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper or a YAML file")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time; 1 on a single GPU")
    chosen = parser.parse_args()
    ahead.run(load_preset(chosen.preset), chosen.jobs)


if __name__ == "__main__":
    main()
