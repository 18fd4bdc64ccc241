"""The first step alone: every model of a preset is asked all that any table needs, and what it answers is kept in the cache.

So are the outcomes of the trainings on weighted questions that notebooks make anew, those of the first seeds.
"""

import argparse
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import NamedTuple

from tqdm import tqdm

from pidlib import audit, bottleneck, contributions, depth, estimators, gating, population, predictors, sensory_tables, streams
from pidlib.experiment import Preset, load_preset
from pidlib.runs import Asked, decisions, embeddings, runs


class Questions(NamedTuple):
    """Models, the benchmarks on which they are asked, and what."""

    models: Sequence[str]
    benchmarks: Sequence[str]
    asked: tuple[Asked, ...]


def everything(preset: Preset) -> list[Questions]:
    """All that any table needs."""
    seen, films, fused = preset.benchmarks, preset.omni_benchmarks, [gating.FUSION]
    exemplars = (*decisions(preset), *embeddings(preset), *depth.asked(preset), *audit.asked(preset))
    compared = (*predictors.asked(preset), *contributions.asked(preset))
    return [
        Questions(preset.models, seen, exemplars),
        Questions(preset.population, seen, compared),
        Questions(preset.options_models, seen, estimators.asked(preset)),
        Questions(preset.omni_models, films, sensory_tables.asked(preset)),
        Questions(preset.omni_models, films, streams.asked(preset)),
        Questions(preset.omni_models, fused, gating.asked(preset)),
        Questions(preset.bottleneck_models, bottleneck.SUBSETS, bottleneck.asked(preset)),
        Questions(bottleneck.middle(preset.bottleneck_models), fused, bottleneck.softer(preset)),
        Questions(preset.bases, preset.base_benchmarks, population.asked(preset)),
    ]


def ask(preset: Preset, model: str, *, progress: bool = False) -> int:
    """Ask one model everything; the number of questions that it answered."""
    asked: dict[tuple[str, ...], list[Asked]] = {}
    for some in everything(preset):
        if model in some.models:
            asked.setdefault(tuple(some.benchmarks), []).extend(some.asked)
    return sum(
        len(run.extraction)
        for where, what in asked.items()
        for several in runs(preset, what, where, models=[model], progress=progress)
        for run in several
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m pidlib.answers", description=__doc__)
    parser.add_argument("--preset", default="offline", help="smoke, offline, paper, or the path of a .yaml file")
    parser.add_argument("--jobs", type=int, default=1, help="models at a time, each in a process of its own; on one GPU leave it at 1")
    chosen = parser.parse_args()
    preset = load_preset(chosen.preset)
    models = list(dict.fromkeys(name for some in everything(preset) for name in some.models))
    if chosen.jobs == 1:
        count = sum(ask(preset, model, progress=True) for model in models)
    else:
        with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
            answered = [pool.submit(ask, preset, model) for model in models]
            count = sum(one.result() for one in tqdm(as_completed(answered), total=len(models), desc="models", unit="model"))
    tqdm.write(f"wrote what {len(models)} models answered to {count:,} questions to {preset.cache}")
    from pidlib.outcomes import made  # late: processes that only ask need nothing that trains
    from pidlib.reweighting_tables import all_settings

    settings = [one for one in all_settings(preset) if one.seed < preset.n_remade_seeds]
    rows = made(preset, settings, chosen.jobs)
    tqdm.write(f"wrote {len(rows):,} outcomes of {len(settings)} trainings on weighted questions to {preset.cache}")


if __name__ == "__main__":
    main()
