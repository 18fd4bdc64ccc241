"""Profile a model from a shell: ``python -m pidlib profile llava micro/grounding --n 256``."""

import argparse
import sys
import warnings
from pathlib import Path

import pidlib
from pidlib._common import replacing
from pidlib.profiles.check import N, check
from pidlib.profiles.report import MIN_SAMPLES


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("model", help="a mini, a folder, or owner/name@commit; +ADAPTER")
    named = {"metavar": "benchmark", "nargs": "?", "default": argparse.SUPPRESS}
    shared.add_argument("samples", **named, help="such as micro/grounding or table:FILE")
    shared.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    options = {"parents": [shared], "allow_abbrev": False}
    options["formatter_class"] = argparse.ArgumentDefaultsHelpFormatter
    commands.add_parser("check", help="what can be read of a model, in a minute", **options)
    command = commands.add_parser("profile", help="atoms of a model", **options)
    command.add_argument("--n", type=int, default=256, help="samples")
    command.add_argument("--partners", type=int, default=32, help="questions per picture")
    command.add_argument("--tau", type=float, default=0.3, help="candidate mass of a fallback")
    command.add_argument("--draws", type=int, default=4, help="draws of the noise to average")
    command.add_argument("--orders", type=int, default=1, help="orders of the options to average")
    command.add_argument("--mask", default="noise", help="of masked tokens: noise, mean, swapped")
    command.add_argument("--halves", type=int, default=16, help="halves of samples for intervals")
    command.add_argument("--seed", type=int, default=0, help="of noise, partners and halves")
    command.add_argument("--batch-size", type=int, default=32, help="samples per forward pass")
    command.add_argument("--cache", help="folder for extractions; an interrupted run resumes there")
    command.add_argument("--out", help="write the table to this CSV file")
    command.add_argument("--plot", help="write the figure to this PDF or PNG file")
    options = vars(parser.parse_args(arguments))
    run = {"check": _check, "profile": _profile}[options.pop("command")]
    try:
        run(**options)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"error: {error}")


def _check(model: str, device: str, samples: str = "micro/existence") -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* all are used")  # fewer than N
        questions = pidlib.load_benchmark(samples, n=N)
    if (n := len(questions)) < MIN_SAMPLES:
        warnings.warn(f"{samples} has {n} questions; give {MIN_SAMPLES} or more", stacklevel=2)
    for name, text in check(pidlib.load_model(model, device=device), questions[:8], n=n).items():
        print(f"{name:12}{text}")


def _profile(out: str | None, plot: str | None, halves: int, **options) -> None:
    for path in (out, plot):
        if path and not Path(path).parent.is_dir():
            raise ValueError(f"no folder {Path(path).parent} for {path}; create it first")
        if path and Path(path).is_dir():
            raise ValueError(f"{path} is a folder; give the name of a file")
    if plot and Path(plot).suffix not in (".pdf", ".png"):
        raise ValueError(f"--plot {plot}; give a file that ends in .pdf or .png")
    with warnings.catch_warnings(action="ignore"):  # they are printed with the profile
        profile = pidlib.profile(n_halves=halves, **options)
    print(profile)
    if out:
        profile.to_csv(out)
    if plot:
        with replacing(plot) as part:
            profile.plot().savefig(part)


if __name__ == "__main__":
    main()
