"""A job array on a real Slurm of this machine alone, broken on purpose: ``make slurm-test``.

munged, slurmctld and slurmd (Debian: slurm-wlm, munge) run as root on the loopback interface, with
two stand-ins for GPUs, which Slurm counts and assigns as it does real ones.
"""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import yaml

from pidlib.experiments import __main__ as shell
from pidlib.experiments import ahead
from pidlib.experiments.preset import load_preset
from pidlib.experiments.processes import work

DAEMONS = ("munged", "slurmctld", "slurmd")
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=26817
SlurmdPort=26818
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} Gres=gpu:2 State=UNKNOWN
PartitionName=gpu Nodes={host} Default=YES MaxTime=00:30:00 State=UP
"""
MODELS = "llava", "llava_compact_blind"  # their extractions and trainings
SMALL = {"population": "llava", "benchmarks": "micro/grounding", "unimodal": "masked"}
SMALL |= {"draws": 1, "partners": 2, "n_embedded": 32, "n_contributions": 32, "n_fusion_seeds": 1}
SMALL |= {"n_fusion_questions": 32, "n_tuning_seeds": 1, "n_remade_seeds": 1}
SMALL |= {"prior_strengths": "80", "tuning_lengths": "2"}


def run(*command: str, text: str | None = None) -> str:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def eventually(condition, what: str, seconds: float = 240.0):
    """Wait until a condition holds, and return its value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
    return value


@pytest.fixture(scope="module")
def slurm():
    """The folder of a running Slurm, whose commands find it by SLURM_CONF."""
    missing = [name for name in (*DAEMONS, "sbatch") if not shutil.which(name)]
    if missing or os.geteuid():
        pytest.skip(f"needs root and Slurm (apt-get install slurm-wlm munge); missing: {missing}")
    host = socket.gethostname().partition(".")[0]
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    folder.chmod(0o755)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o600)
    for gpu in ("gpu0", "gpu1"):  # copies of /dev/null: Slurm wants devices
        os.mknod(folder / gpu, 0o20666, os.makedev(1, 3))
    places = {"folder": folder, "host": host, "cpus": os.cpu_count()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**places))
    (folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={folder}/gpu[0-1]\n")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    files = {"--key-file": "munge.key", "--socket": "munge.socket", "--pid-file": "munged.pid"}
    files |= {"--log-file": "munged.log", "--seed-file": "munged.seed"}
    try:
        run("munged", "--force", *(f"{option}={folder}/{file}" for option, file in files.items()))
        run("slurmctld")
        run("slurmd")
        idle = lambda: "idle" in run("sinfo", "--noheader", "--format=%T")  # noqa: E731
        eventually(idle, "an idle node", 30)
        yield folder
    finally:
        subprocess.run(["scancel", "--me"], capture_output=True, check=False)
        for name in reversed(DAEMONS):
            path = folder / f"{name}.pid"
            if path.exists():
                os.kill(int(path.read_text()), signal.SIGTERM)
                eventually(lambda path=path: not path.exists(), f"{name} ends", 30)
        shutil.rmtree(folder, ignore_errors=True)


def small_preset(folder: Path) -> Path:
    preset = load_preset("smoke", **SMALL, cache=str(folder / "cache"), output=str(folder))
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(preset.model_dump(mode="json", exclude={"name"})))
    return path


def content(cache: Path) -> dict[str, bytes]:
    """All finished files of a cache."""
    files = {path.relative_to(cache): path for path in cache.rglob("*") if path.is_file()}
    hidden = {name for name in files if any(part.startswith(".") for part in name.parts)}
    return {str(name): path.read_bytes() for name, path in files.items() if name not in hidden}


def jobs() -> str:
    return run("squeue", "--noheader", "--format=%i %T")


def workers(preset: Path) -> list[int]:
    """The process ids of Python in the tasks of a preset."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if str(preset).encode() in words and b"python" in words[0]:
            found.append(int(process.name))
    return found


def submit(preset: Path, monkeypatch, capsys, *options: str) -> str:
    """Submit the array that the command prints; return the number of the job."""
    command = ["pidlib", "sbatch", "--preset", str(preset), "--partition", "gpu", "--time", "20"]
    command += ["--models", ",".join(MODELS), "--gpus-per-task", "1", *options]
    monkeypatch.setattr("sys.argv", command)
    assert not shell.main()
    return run("sbatch", "--parsable", "--cpus-per-task=1", text=capsys.readouterr().out).strip()


def test_a_broken_array_ends_with_the_bytes_of_a_single_run(slurm, tmp_path, monkeypatch, capsys):
    whole, broken = (tmp_path / name for name in ("whole", "broken"))
    for folder in (whole, broken):
        folder.mkdir()
    preset = small_preset(broken)
    job = submit(preset, monkeypatch, capsys, "--at-once", "3")
    cache = broken / "cache"
    eventually(lambda: len(list(cache.glob("*.tar"))) > 3, "first extractions")
    os.kill(eventually(lambda: workers(preset), "a task")[0], signal.SIGKILL)
    made = len(list(cache.glob("*.tar")))
    eventually(lambda: len(list(cache.glob("*.tar"))) > made + 3, "extractions after the kill")
    run("scancel", job)
    eventually(lambda: not jobs(), "an empty queue")
    assert not workers(preset)
    kept = {name: data for name, data in content(cache).items() if name.endswith(".tar")}
    job = submit(preset, monkeypatch, capsys, "--at-once", "2")
    alone = load_preset(str(small_preset(whole)))
    tasks = ahead.extract_tasks(alone, MODELS)
    assert work(tasks, alone.cache) == {}
    eventually(lambda: not jobs(), "an empty queue")
    logs, done = (broken / "slurm").glob(f"{job}_*.log"), f"{len(tasks)} extractions and trainings"
    paths = sorted(logs)
    assert len(paths) == 2
    eventually(lambda: all(done in path.read_text(errors="replace") for path in paths), "the logs")
    assert content(cache) == content(alone.cache) and kept.items() <= content(cache).items()
