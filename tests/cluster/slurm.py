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
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = Path("/etc/slurm")  # jobs do not inherit SLURM_CONF
PROGRAMS = ("slurmctld", "slurmd", "munged", "mungekey", "sbatch", "squeue", "scancel", "scontrol", "srun")
RULES = ("features", "detectors", "autoencoder", "scores", "notebook", "page")
QUICK = ['MACHINE="fan valve"', 'IDS="id_00 id_02"', "EXTRACTORS=squeezenet1_1", "SEEDS=0"]
QUICK_TARGETS = "results/auc.csv executed/fan/04_detectors.ipynb executed/table1.ipynb "
"""A quick run makes the results and two pages, and no book."""
LIMIT = 3 * 3600
"""Seconds after which a run that does not end has failed."""

# The node claims more memory than it has, so that the profile's own wishes fit: nothing here holds jobs to them.
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

SAME_WEIGHTS = """
import sys
from pathlib import Path
import joblib, torch
local, cluster = (Path(name) / ".cache" / "auto-encoders" for name in sys.argv[1:])
found = sorted(each.parent.name for each in local.glob("*/result.joblib"))
assert found, "none kept"
assert found == sorted(each.parent.name for each in cluster.glob("*/result.joblib")), "other keys"
for name in found:
    one, other = (joblib.load(folder / name / "result.joblib") for folder in (local, cluster))
    assert one.losses_ == other.losses_, f"{name}: other losses"
    weights, others = one.net_.state_dict(), other.net_.state_dict()
    assert list(weights) == list(others), f"{name}: other layers"
    assert all(map(torch.equal, weights.values(), others.values())), f"{name}: other weights"
print(f"the same keys, {len(found)} with the same weights and losses")
"""
"""Compares trained auto-encoders: their files hold addresses of memory beside the weights."""


class Checks:
    """What is found, told line by line."""

    def __init__(self) -> None:
        self.failed = 0

    def __call__(self, what: str, passed: bool, detail: str = "") -> bool:
        """Tell whether something is as it should be."""
        self.failed += not passed
        print(f"{'✓' if passed else '✗'} {what}{f': {detail}' if detail else ''}", flush=True)
        return passed


def said_by(*command: str) -> str:
    """Return what a command prints."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for something, or raise."""
    end = time.monotonic() + seconds
    while True:
        with suppress(subprocess.CalledProcessError):  # a daemon that does not answer yet
            if true():
                return
        if time.monotonic() > end:
            raise RuntimeError(f"{what}: not within {seconds:.0f} seconds")
        time.sleep(0.5)


# Slurm


def install() -> None:
    """Install Debian's Slurm where a part of it is missing; the packages stay."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if all(map(shutil.which, PROGRAMS)):
        return
    if not shutil.which("apt-get"):
        sys.exit("Slurm is not installed, and this is no Debian on which it could be; install slurm-wlm and munge")
    print("Installing slurm-wlm and munge", flush=True)
    quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        done = subprocess.run(["apt-get", "-q", *words], env=quiet, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"apt-get {words[0]} failed: {done.stderr.strip()[-300:]}")


def free_ports() -> list[int]:
    """Return two ports that nothing listens on."""
    with socket.socket() as first, socket.socket() as second:
        for each in (first, second):
            each.bind(("127.0.0.1", 0))
        return [first.getsockname()[1], second.getsockname()[1]]


@contextmanager
def configured(folder: Path) -> Iterator[None]:
    """Put the configuration of one node into /etc/slurm, and put back what was there."""
    there = (CONFIGURATION / "slurm.conf").exists()
    if there and subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0:
        sys.exit(f"{CONFIGURATION}: a Slurm is running on this machine; this needs a machine without one")
    kept = CONFIGURATION.with_name("slurm.kept")
    if kept.exists():
        sys.exit(f"{kept}: left by an earlier run that was killed; move it to {CONFIGURATION} if it is yours")
    if there := CONFIGURATION.exists():
        CONFIGURATION.rename(kept)
    try:
        CONFIGURATION.mkdir()
        host = socket.gethostname().split(".")[0]
        text = SLURM_CONF.format(host=host, ports=free_ports(), folder=folder, cpus=os.cpu_count())
        (CONFIGURATION / "slurm.conf").write_text(text)
        yield
    finally:
        shutil.rmtree(CONFIGURATION, ignore_errors=True)
        if there:
            kept.rename(CONFIGURATION)


@contextmanager
def daemon(log: IO[str], *command: str) -> Iterator[None]:
    """Run a daemon in the foreground of a process of ours, and end it by that process."""
    process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        time.sleep(0.5)
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended at once with code {process.returncode}; see {log.name}")
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """Run a Slurm of this one node."""
    folder.mkdir(mode=0o755)
    folder.parent.chmod(0o755)  # munge wants to see its socket's folder
    for name in ("state", "spool"):
        (folder / name).mkdir()
    subprocess.run(["mungekey", "--create", f"--keyfile={folder}/munge.key"], check=True)
    options = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    host = socket.gethostname().split(".")[0]
    with ExitStack() as stack:
        stack.enter_context(configured(folder))
        log = stack.enter_context((folder / "daemons.log").open("w"))
        stack.enter_context(
            daemon(log, "munged", "--foreground", *(f"--{k}={folder}/munge.{v}" for k, v in options.items()))
        )
        until((folder / "munge.socket").exists, "munged")
        stack.enter_context(daemon(log, "slurmctld", "-D"))
        stack.enter_context(daemon(log, "slurmd", "-D", "-N", host))
        until(lambda: said_by("sinfo", "-h", "-o", "%T").strip() in ("idle", "mixed"), "Slurm's node")
        try:
            yield
        finally:
            subprocess.run(["scancel", "--user", "root"], check=False)
            with suppress(RuntimeError, subprocess.CalledProcessError):
                until(lambda: not jobs(), "the end of Slurm's jobs", 40)


def jobs() -> list[tuple[str, str, str]]:
    """Return the jobs that are there: number, state, and what Snakemake calls it."""
    wanted = ("PENDING", "RUNNING", "COMPLETING")
    lines = said_by("squeue", "-h", "-t", ",".join(wanted), "-o", "%i|%T|%k").splitlines()
    return [(each[0], each[1], each[2]) for line in lines if len(each := line.split("|")) == 3]


def next_job() -> int:
    """Return the number that Slurm's next job will have."""
    lines = said_by("scontrol", "show", "config").splitlines()
    return int(next(line.split("=")[1] for line in lines if line.startswith("NEXT_JOB_ID")))


def computing(job: str) -> int | None:
    """Return the process of a job that computes: not Snakemake's or Slurm's around it."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if mine and any(Path(os.fsdecode(word)).name == "mimii" for word in words[:2]):
                return int(folder.name)
    return None


# The two runs


def copy_of_the_project(folder: Path) -> Path:
    """Copy what the project keeps under version control; the environment is the project's own."""
    for name in said_by("git", "-C", str(ROOT), "ls-files", "-z").split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)  # with its time, by which make knows that the environment is up to date
    (folder / ".venv").symlink_to(ROOT / ".venv")
    (folder / "results").mkdir()
    (folder / "results" / "faults.json").write_text("[]")  # or each book would break things on purpose first
    return folder


def start(project: Path, target: str, *words: str, arguments: str = "") -> subprocess.Popen[str]:
    """Start a target of the project's Makefile with one thread for a job, which makes the same numbers everywhere."""
    threads = " ".join(f"{rule}=1" for rule in RULES)
    variables = [word.replace('"', "") for word in words]
    command = ["make", target, f"SNAKEMAKE_ARGS={arguments} --set-threads {threads}", "CHOICES=no", *variables]
    env = os.environ | {"PYTHONPATH": str(project), "MIMII_CACHE": str(project / ".cache"), "PYTHON": sys.executable}
    with (project / f"{target}.log").open("w") as log:
        return subprocess.Popen(
            command, cwd=project, env=env, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )


def ended(process: subprocess.Popen[str], meanwhile: Callable[[], None] = lambda: None) -> int:
    """Wait for a run, and return its exit code; end it if it takes too long or this script is interrupted."""
    end = time.monotonic() + LIMIT
    try:
        while process.poll() is None and time.monotonic() < end:
            meanwhile()
            time.sleep(1)
        return process.returncode if process.poll() is not None else -1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


class Killer:
    """Kills two jobs that compute: one by Slurm's own command, one as a node's lack of memory would."""

    def __init__(self) -> None:
        self.killed: dict[str, str] = {}
        self.ways = {"scancel": self._cancel, "SIGKILL": self._kill}
        self.most = 0

    def __call__(self) -> None:
        """Explanation at the queue, and kill if there is something to kill."""
        running = [job for job in jobs() if job[1] == "RUNNING"]
        self.most = max(self.most, len(running))
        for job, _, name in running:
            if job not in self.killed and len(self.killed) < len(self.ways):
                process = computing(job)
                if process is not None:
                    way = list(self.ways)[len(self.killed)]
                    time.sleep(1)
                    with suppress(subprocess.CalledProcessError, ProcessLookupError):  # it has just ended
                        self.ways[way](job, process)
                        self.killed[job] = way
                        print(f"  killed by {way}: job {job}, {name}", flush=True)

    def _cancel(self, job: str, process: int) -> None:
        subprocess.run(["scancel", job], check=True)

    def _kill(self, job: str, process: int) -> None:
        os.kill(process, signal.SIGKILL)


def kept(project: Path, stage: str) -> dict[str, bytes]:
    """Return the results that were kept, by their digest."""
    return {file.parent.name: file.read_bytes() for file in (project / ".cache" / stage).glob("*/result.joblib")}


def compare(check: Checks, local: Path, cluster: Path) -> None:
    """Compare what two runs leave, byte by byte."""
    for name in ("auc.csv", "splits.csv"):
        texts = [(project / "results" / name).read_bytes() for project in (local, cluster)]
        check(f"results/{name}", texts[0] == texts[1], f"{len(texts[0].splitlines()) - 1} rows, byte by byte")
    for stage in ("spectrograms", "features", "scores"):
        first, second = kept(local, stage), kept(cluster, stage)
        same = sum(first[digest] == second.get(digest) for digest in first)
        keys = "the same keys" if set(first) == set(second) else f"{len(set(first) ^ set(second))} keys differ"
        passed = bool(first) and first.keys() == second.keys() and same == len(first)
        check(f"kept {stage}", passed, f"{keys}, {same} of {len(first)} the same byte by byte")
    command = [ROOT / ".venv" / "bin" / "python", "-c", SAME_WEIGHTS, local, cluster]
    done = subprocess.run(command, capture_output=True, text=True)
    check("kept auto-encoders", done.returncode == 0, (done.stdout or done.stderr[-500:]).strip())
    pages = sorted(each.relative_to(local) for each in (local / "executed").rglob("*.ipynb"))
    if pages:
        differ = [str(name) for name in pages if not same_file(local / name, cluster / name)]
        check("executed pages", not differ, f"{len(pages) - len(differ)} of {len(pages)} the same {' '.join(differ)}")


def same_file(one: Path, other: Path) -> bool:
    """Tell whether two files are the same, byte by byte."""
    return other.is_file() and one.read_bytes() == other.read_bytes()


def planned(project: Path, *words: str, arguments: str) -> set[str]:
    """Return the rules of the jobs that a run would have."""
    if ended(start(project, "plan", *words, arguments=arguments)):
        return {"a plan"}
    _, there, table = (project / "plan.log").read_text().rpartition("Job stats:")
    return set(re.findall(r"^(\w+) +[1-9]\d*$", table, flags=re.M)) - {"total"} if there else set()


def prove(folder: Path, quick: bool) -> int:
    """Run both, and compare; return the exit code."""
    check, began = Checks(), time.monotonic()
    words = QUICK if quick else []
    targets = QUICK_TARGETS if quick else ""
    local, cluster = (copy_of_the_project(folder / name) for name in ("local", "cluster"))

    def took(since: float) -> str:
        return f"{(time.monotonic() - since) / 60:.1f} minutes"

    def tail(project: Path, target: str) -> str:
        return "\n  ".join(["", *(project / f"{target}.log").read_text().splitlines()[-25:]])

    print("Locally", flush=True)
    since = time.monotonic()
    code = ended(start(local, "book", *words, arguments=targets))
    if not check("the local run", code == 0, took(since) if code == 0 else tail(local, "book")):
        return 1
    with slurm(folder / "slurm"):
        print(f"On Slurm: {said_by('sinfo', '--version').strip()}, one node of {os.cpu_count()} processors", flush=True)
        since, first, killer = time.monotonic(), next_job(), Killer()
        on_cluster = ["CLUSTER=slurm", *words]
        arguments = (
            f"{targets}--slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 5"
        )
        code = ended(start(cluster, "book", *on_cluster, arguments=arguments), killer)
        log = (cluster / "book.log").read_text()
        ran = f"{next_job() - first} jobs, up to {killer.most} at once, {took(since)}"
        check("the run on Slurm", code == 0, ran if code == 0 else tail(cluster, "book"))
        restarted = log.count("Trying to restart")
        check("killed jobs were tried again", len(killer.killed) == 2 and restarted >= 2, f"{restarted} tried again")
        told = [file.read_text() for file in (cluster / ".snakemake" / "slurm_logs").rglob("*.log")]
        check("no job made the miniature", bool(told) and not any("Making the miniature" in text for text in told))
        if code == 0:
            compare(check, local, cluster)
            again = planned(cluster, *on_cluster, arguments=arguments)
            check("called again, nothing is left to do", not again, " ".join(sorted(again)))
            more = planned(cluster, *on_cluster, "SEEDS=0 1 2 3 4 5", arguments=arguments)
            check("another seed needs no features", "detectors" in more and "features" not in more)
    answers = subprocess.run(["scontrol", "ping"], capture_output=True).returncode == 0
    check("Slurm is taken down", not answers and not CONFIGURATION.with_name("slurm.kept").exists())
    print(f"{took(began)} in all", flush=True)
    return 1 if check.failed else 0


def main() -> int:
    """Prove it, and remove what was made for it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two machine types, two IDs, one network, one seed")
    parser.add_argument("--keep", action="store_true", help="leave the two copies and the logs where they are")
    said = parser.parse_args()
    if os.geteuid():
        sys.exit("only root can start a Slurm of this machine's own; call it as root, on a machine made for it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    install()
    subprocess.run(["make", "-s", "setup", f"PYTHON={sys.executable}"], cwd=ROOT, check=True)
    folder = Path(tempfile.mkdtemp(prefix="mimii-slurm-"))
    try:
        return prove(folder, said.quick)
    finally:
        if said.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
