"""Redraw every figure from its table: ``python -m pidlib.figures [--preset NAME] [experiment/figure ...]``."""

import argparse

from tqdm import tqdm

from pidlib.experiment import load_preset
from pidlib.figures import draw


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib.figures", description=__doc__)
    parser.add_argument("names", nargs="*", help="validation/fig_bias ...; all that have a table, if none is named")
    parser.add_argument("--preset", default="offline", help="whose tables and figures: smoke, offline or paper")
    arguments = parser.parse_args()
    preset = load_preset(arguments.preset)
    tables = preset.table("any/any").parents[1]
    drawn = sorted(path for path in tables.glob("*/*.csv") if path.stem.startswith(("fig", "table")))  # outcomes are read, not drawn
    names = arguments.names or [path.relative_to(tables).with_suffix("").as_posix() for path in drawn]
    for name in (bar := tqdm(names, desc="drawing", unit="figure")):
        bar.set_postfix_str(name)
        bar.write(repr(draw(name, preset)))


if __name__ == "__main__":
    main()
