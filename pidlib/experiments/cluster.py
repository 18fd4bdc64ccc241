"""What a cluster needs before a run: a job script, the cost, and the downloads."""

import shlex
import sys
from argparse import Namespace
from collections.abc import Sequence

from pidlib._common import project_root
from pidlib.experiments.preset import Preset

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=pidlib-{name}
#SBATCH --partition={partition}
#SBATCH --time={time}
#SBATCH --array=1-{at_once}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={cpus}
#SBATCH --output={logs}/%A_%a.log
#SBATCH --open-mode=append
{gpus}# Equal tasks: each does what no other does. After a time limit or a failure, submit it again.
cd {root}
export PYTHONPATH=. PYTHONHASHSEED=0 OMP_NUM_THREADS=${{OMP_NUM_THREADS:-1}} HF_HUB_OFFLINE=1
# srun passes signals on to Python, which then gives its claims back.
srun --ntasks=1 {python} -m pidlib.experiments {command}
"""


def script(preset: Preset, command: Sequence[str], chosen: Namespace) -> str:
    """A job array for Slurm; ``sbatch`` reads it from a pipe and takes further options."""
    root = project_root()
    logs = root / preset.output / "slurm"
    logs.mkdir(parents=True, exist_ok=True)  # Slurm does not make it
    gpus = chosen.gpus_per_task
    return SCRIPT.format(
        name=preset.name,
        partition=chosen.partition,
        time=chosen.time,
        at_once=chosen.at_once,
        cpus=max(1, 4 * gpus),
        logs=logs,
        gpus=f"#SBATCH --gpus-per-task={gpus}\n" * bool(gpus),
        root=shlex.quote(str(root)),
        python=shlex.quote(sys.executable),
        command=shlex.join(command),
    )
