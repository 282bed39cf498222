"""Prove the workflow on a real Slurm: one node on loopback, jobs killed on the way, results as those of a local run.

    python3 tests/cluster/slurm.py [--quick]

As root on Debian; README.md beside this file says what it does. Only the standard library is needed.
"""

import argparse
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from filecmp import cmp
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = Path("/etc/slurm/slurm.conf")  # jobs do not inherit SLURM_CONF
PROGRAMS = ("slurmctld", "slurmd", "munged", "mungekey", "sbatch", "squeue", "scancel", "scontrol", "srun")
# One thread for every job: its numbers are then the same in both runs.
THREADS = " ".join(f"{rule}=1" for rule in ("features", "detectors", "autoencoder", "scores", "notebook", "page"))
QUICK = ["MACHINE=fan valve", "IDS=id_00 id_02", "EXTRACTORS=squeezenet1_1", "SEEDS=0"]
QUICK_TARGETS = "results/auc.csv executed/fan/04_detectors.ipynb executed/table1.ipynb "  # and no book
ON_SLURM = "--slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 5"

# The node claims more memory than it has, so that the profile's resources fit: nothing here holds jobs to them.
SLURM_CONF = """
ClusterName=proof
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
SlurmdParameters=config_overrides
MinJobAge=3600
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""

failed_checks: list[str] = []


def check(what: str, passed: bool, detail: str = "") -> bool:
    failed_checks.extend([] if passed else [what])
    print(f"{'✓' if passed else '✗'} {what}{f': {detail}' if detail else ''}", flush=True)
    return passed


def output_of(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(subprocess.CalledProcessError):  # a daemon that does not answer yet
            if condition():
                return
        time.sleep(0.5)
    raise RuntimeError(f"{what}: not within {seconds:.0f} seconds")


@contextmanager
def daemon(folder: Path, *command: str) -> Iterator[None]:
    """Run a daemon in the foreground of a process of this script, and end it by that process."""
    with (folder / "daemons.log").open("a") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        time.sleep(0.5)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended at once with code {process.returncode}; see {folder}/daemons.log")
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Run a Slurm of this one node."""
    if CONFIGURATION.exists():
        sys.exit(f"{CONFIGURATION}: found a Slurm of this machine's own; remove the file if a killed proof has left it")
    for place in (folder / "state", folder / "spool", CONFIGURATION.parent):
        place.mkdir(parents=True, exist_ok=True)
    folder.parent.chmod(0o755)  # munge checks that it can read its socket's folder
    subprocess.run(["mungekey", "--create", f"--keyfile={folder}/munge.key"], check=True)
    options = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    munge = [f"--{option}={folder}/munge.{suffix}" for option, suffix in options.items()]
    host = socket.gethostname().partition(".")[0]
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        ports = [first.getsockname()[1], second.getsockname()[1]]
    with ExitStack() as stack:
        CONFIGURATION.write_text(SLURM_CONF.format(host=host, ports=ports, folder=folder, cpus=os.cpu_count()))
        stack.callback(CONFIGURATION.unlink)
        stack.enter_context(daemon(folder, "munged", "--foreground", *munge))
        wait_until((folder / "munge.socket").exists, "munged")
        stack.enter_context(daemon(folder, "slurmctld", "-D"))
        stack.enter_context(daemon(folder, "slurmd", "-D", "-N", host))
        wait_until(lambda: output_of("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed"), "Slurm's node")
        try:
            yield
        finally:
            subprocess.run(["scancel", "--user", "root"], check=False)
            with suppress(RuntimeError):
                wait_until(lambda: not jobs("PENDING,RUNNING,COMPLETING"), "the end of Slurm's jobs", 40)


def jobs(states: str) -> list[str]:
    return output_of("squeue", "-h", "-t", states, "-o", "%i").split()


def kill_two(killed: list[str]) -> None:
    """Kill a job while it computes, if two have not been killed: first by Slurm, then as a lack of memory would."""
    for job in [job for job in jobs("RUNNING") if job not in killed][: 2 - len(killed)]:
        if (process := computing_process(job)) is not None:
            time.sleep(1)
            with suppress(ProcessLookupError):  # it has just ended
                if killed:
                    os.kill(process, signal.SIGKILL)
                else:
                    subprocess.run(["scancel", job], check=False)
                killed.append(job)


def computing_process(job: str) -> int | None:
    """Return the process of a job that computes, not those of Snakemake or Slurm around it."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            of_job = f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if of_job and any(Path(os.fsdecode(word)).name == "mimii" for word in words[:2]):
                return int(folder.name)
    return None


def copied(folder: Path) -> Path:
    """Copy what the project keeps under version control; the environment is the project's own."""
    folder.mkdir()
    copy = f"git ls-files -z | xargs -0 cp -a --parents -t {folder} && ln -s {ROOT}/.venv {folder}"
    subprocess.run(copy, shell=True, cwd=ROOT, check=True)  # with times, which make compares
    return folder


def make(target: str, project: Path, *words: str, meanwhile: Callable[[], None] = lambda: None) -> tuple[bool, str]:
    """Run a target of the project's Makefile for up to three hours; return whether it succeeded, and its output."""
    env = os.environ | {"PYTHONPATH": str(project), "MIMII_CACHE": str(project / ".cache"), "PYTHON": sys.executable}
    command = ["timeout", "3h", "make", target, "CHOICES=no", *words]
    with (log := project / f"{target}.log").open("w") as file:
        process = subprocess.Popen(command, cwd=project, env=env, stdout=file, stderr=file, start_new_session=True)
    try:
        while process.poll() is None:
            meanwhile()
            time.sleep(1)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
    return process.wait() == 0, log.read_text()


def compare(local: Path, cluster: Path) -> None:
    """Compare what two runs leave, byte by byte; trained weights by their keys, since the scores follow from them."""
    for pattern in ("results/*.csv", ".cache/*/*/result.npy", ".cache/auto-encoders/*/", "executed/**/*.ipynb"):
        names, others = ({file.relative_to(run) for file in run.glob(pattern)} for run in (local, cluster))
        both = names & others
        same = [name for name in both if (local / name).is_dir() or cmp(local / name, cluster / name, shallow=False)]
        detail = f"{len(same)} of {len(names)} the same, {len(others - names)} more on the cluster"
        check(pattern, bool(names) and len(same) == len(names | others), detail)


def planned_rules(project: Path, *words: str) -> set[str]:
    """Return the rules of the jobs that a run would have."""
    succeeded, text = make("plan", project, *words)
    table = text.partition("Job stats:")[2]
    return set(re.findall(r"^(\w+) +[1-9]\d*$", table, flags=re.M)) - {"total"} if succeeded else {"no plan"}


def prove(folder: Path, quick: bool) -> None:
    words, targets = (QUICK, QUICK_TARGETS) if quick else ([], "")
    local, cluster = copied(folder / "local"), copied(folder / "cluster")
    succeeded, text = make("book", local, *words, f"SNAKEMAKE_ARGS={targets}--set-threads {THREADS}")
    if not check("the local run", succeeded, "" if succeeded else text[-2000:]):
        return
    words = [*words, "CLUSTER=slurm", f"SNAKEMAKE_ARGS={targets}{ON_SLURM} --set-threads {THREADS}"]
    with slurm(folder / "slurm"):
        killed: list[str] = []
        succeeded, text = make("book", cluster, *words, meanwhile=lambda: kill_two(killed))
        check("the run on Slurm", succeeded, "" if succeeded else text[-2000:])
        check("killed jobs were tried again", len(killed) == 2 <= text.count("Trying to restart"))
        if succeeded:
            compare(local, cluster)
            check("called again, nothing is left to do", not planned_rules(cluster, *words))
            more = planned_rules(cluster, *words, "SEEDS=0 1 2 3 4 5")
            check("another seed needs no features", "detectors" in more and "features" not in more)
    check("Slurm is taken down", subprocess.run(["scontrol", "ping"], capture_output=True).returncode != 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two machine types, two IDs, one network, one seed")
    parser.add_argument("--keep", action="store_true", help="leave the two copies and the logs where they are")
    options = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if os.geteuid() or not all(map(shutil.which, PROGRAMS)):
        sys.exit("call it as root, on a machine made for it, after 'apt-get install slurm-wlm munge'")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run(["make", "-s", "setup", f"PYTHON={sys.executable}"], cwd=ROOT, check=True)
    folder = Path(tempfile.mkdtemp(prefix="mimii-slurm-"))
    try:
        prove(folder, options.quick)
    finally:
        print(f"kept: {folder}") if options.keep else shutil.rmtree(folder, ignore_errors=True)
    return bool(failed_checks)


if __name__ == "__main__":
    sys.exit(main())
