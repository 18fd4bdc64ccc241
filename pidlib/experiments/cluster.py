"""What a cluster needs before a run: a job script, the cost, and the downloads."""

import shlex
import shutil
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from functools import cache
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from huggingface_hub import try_to_load_from_cache
from tqdm import tqdm

from pidlib import benchmarks
from pidlib._common import project_root
from pidlib.experiments.extractions import Queries, Query, base_of, find_model
from pidlib.experiments.preset import Preset
from pidlib.extraction import extract
from pidlib.models.checkpoints import CHECKPOINTS, MARGIN
from pidlib.models.load import download

FLOPS, TOKENS, CANDIDATES = 3e14, 700, 4  # assumed: an H100 at 30 % of its peak; a photo, a text


def script(preset: Preset, command: Sequence[str], chosen: Namespace) -> str:
    """A job array for Slurm; ``sbatch`` reads it from a pipe and takes further options."""
    root, gpus = project_root(), chosen.gpus_per_task
    logs = root / preset.output / "slurm"
    logs.mkdir(parents=True, exist_ok=True)  # Slurm does not make it
    command = shlex.join([sys.executable, "-m", "pidlib.experiments", *command])
    return f"""\
#!/bin/bash
#SBATCH --job-name=pidlib-{preset.name}
#SBATCH --partition={chosen.partition}
#SBATCH --time={chosen.time}
#SBATCH --array=1-{chosen.at_once}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={4 * gpus or 1}
#SBATCH --output="{logs}/%A_%a.log"
{f"#SBATCH --gpus-per-task={gpus}" if gpus else "# on CPUs"}
# Equal tasks: each does what no other does. After a time limit or a failure, submit it again.
cd {shlex.quote(str(root))}
export PYTHONPATH=. PYTHONHASHSEED=0 OMP_NUM_THREADS=${{OMP_NUM_THREADS:-1}} HF_HUB_OFFLINE=1
# srun passes signals on to Python, which then gives its claims back.
srun --ntasks=1 {command}
"""


def costs(preset: Preset, queries: Queries) -> pd.DataFrame:
    """The expected cost of the extractions, a row for each model; reads nothing of the hub.

    Models in folders are timed with a batch on this machine. Hours of others are those of `TOKENS`
    tokens a pass at `FLOPS`, if their parameters are known. Trainings are not counted.
    """
    rows = [_cost(preset, *each) for each in tqdm(queries.items(), "models", unit="model")]
    return pd.DataFrame(rows).set_index("model")


def _cost(preset: Preset, name: str, pairs: Sequence[tuple[str, Query]]) -> dict[str, object]:
    base, folder, revision, _ = base_of(name, allow_unpinned=True)
    if folder:
        size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        external = benchmarks.names("external")
        here = [pair for pair in pairs if pair[0].partition("@")[0] not in external] or pairs[:1]
        most = max(here, key=lambda pair: len(pair[1].passes) + pair[1].partners)
        depth, width, rate = _measured(preset, name, *most)
        download, tokens, memory = 0.0, 64, size * MARGIN / 2**30
    else:  # shape and rate by the number of parameters: 12 d^2 a block, 128 d blocks
        known = CHECKPOINTS.get(base)
        billions, memory = (known.parameters, known.memory) if known else 2 * (float("nan"),)
        width = (1e9 * billions * 128 / 12) ** (1 / 3)
        depth, rate, tokens = width / 128, FLOPS / (2e9 * billions * TOKENS), TOKENS
        cached = try_to_load_from_cache(base, "config.json", revision=revision)
        download = 0.0 if isinstance(cached, str) else 2 * billions
    passes = size = 0.0
    for benchmark, query in pairs:
        n, layers = query.n_samples, depth if query.layers is None else len(query.layers)
        partners = _partners(benchmark, query) if query.partners else 0
        vectors = 2 + layers + 2 * tokens * query.tokens
        numbers = len(query.passes) * (1 + layers) + partners
        passes += n * (len(query.passes) + partners + query.tokens)
        size += 4 * n * (vectors * width + numbers * (CANDIDATES + 1))
    row = {"model": name, "download_GB": download, "memory_GiB": memory, "extractions": len(pairs)}
    return row | {"passes": passes, "hours": passes / rate / 3600, "cache_GB": size / 1e9}


@cache
def _partners(benchmark: str, query: Query) -> int:
    """The number of questions that each picture is paired with; at most, for external data."""
    if benchmark.partition("@")[0] in benchmarks.names("external"):
        return min(query.partners, query.n_samples)
    samples = benchmarks.load(benchmark, query.split, query.n_samples, query.seed)
    return min(query.partners, len({sample.text for sample in samples}))


def _measured(preset: Preset, name: str, benchmark: str, query: Query) -> tuple[float, ...]:
    """Number of blocks, width, and passes per second in a batch, of a model in a folder."""
    with TemporaryDirectory() as cache:
        model = find_model(preset.model_copy(update={"cache": cache}), name)
    count = min(preset.batch_size, query.n_samples)
    samples = benchmarks.load(benchmark, query.split, count, query.seed)
    options = {"passes": query.passes, "partners": query.partners, "batch_size": preset.batch_size}
    for _ in range(2):  # the first loads the weights
        start = time.perf_counter()
        extraction = extract(model, samples, progress=False, **options)
    pairs = 0 if extraction.pairs is None else len(extraction.pairs.weights)
    rate = (len(samples) * len(query.passes) + pairs) / (time.perf_counter() - start)
    return model.facts["depth"], extraction.embeddings["vision"].shape[1], rate


def report(preset: Preset, queries: Queries) -> str:
    """The costs by model, their sum, and what this machine has."""
    table = costs(preset, queries)
    total = table.sum().to_frame("all").T.assign(memory_GiB=table["memory_GiB"].max())
    text = pd.concat([table, total]).to_string(float_format="{:,.1f}".format)
    cache = project_root() / preset.cache
    free = shutil.disk_usage(next(path for path in cache.parents if path.exists())).free
    sizes = [torch.cuda.mem_get_info(index)[1] for index in range(torch.cuda.device_count())]
    gpus = ", ".join(f"{size / 2**30:.0f} GiB" for size in sizes) or "none"
    here = f"here: {free / 1e9:,.0f} GB free for {preset.cache}; GPUs: {gpus}"
    lack = total["cache_GB"].item() + total["download_GB"].item() - free / 1e9
    here += f"\nwarning: cache and downloads need {lack:,.0f} GB more than are free" * (lack > 0)
    return f"{text}\n\nhours: of folders as measured here, of others on one H100\n{here}"


def fetch(preset: Preset, queries: Queries) -> None:
    """Download weights and data sets, so that compute nodes need no network (HF_HUB_OFFLINE=1)."""
    for name in tqdm(dict.fromkeys((*queries, *preset.bases)), "models", unit="model"):
        base, folder, revision, _ = base_of(name, allow_unpinned=preset.allow_unpinned)
        if folder is None:
            download(base, revision)
    sets = {(name, q.split, q.n_samples, q.seed) for pairs in queries.values() for name, q in pairs}
    sets |= {(name, "test", preset.n_retained, preset.seed) for name in preset.base_benchmarks}
    for source in tqdm(sorted(sets), "data sets", unit="part"):
        if source[0].partition("@")[0] in benchmarks.names("external"):
            benchmarks.load(*source, allow_unpinned=preset.allow_unpinned)
