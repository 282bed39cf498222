"""The workflow: what runs again, and what does not. The heavy commands are replaced by ones that leave files."""

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from filelock import FileLock

ROOT = Path(__file__).parents[2]
# What takes a new process seconds to import is imported once; a fork of that process starts at once.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["mimii_lib.run", "scipy.signal", "snakemake.cli"])

LEAVES_FILES = """#!{python}
import sys
from pathlib import Path
words = sys.argv[1:]
made = []
if "auc" in words[:1] and "--save" in words:
    folder = Path(words[words.index("--save") + 1])
    made = [folder / name for name in ("auc.parquet", "auc.csv", "splits.csv")]
elif "auc" in words[:1]:
    made = [Path(words[words.index("--json") + 1])]
elif "choices" in words[:1]:
    made = []  # what it prints is what it leaves
elif "run" in words[:1]:
    ends = [number for number, word in enumerate(words) if word.startswith("-")] or [len(words)]
    *notebooks, output = map(Path, words[1 : ends[0]])
    made = [output] if len(notebooks) == 1 else [output / notebook.name for notebook in notebooks]
elif "build" in words[:1]:
    made = [Path(words[words.index("--path-output") + 1]) / "_build" / "html" / ".buildinfo"]
for path in made:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(words))
"""


class Project:
    """A copy of the project's sources whose commands only leave files."""

    def __init__(self, folder: Path, data: Path):
        self.folder, self.data = folder, data
        for name in ("Snakefile", "_config.yml", "_toc.yml"):
            shutil.copy(ROOT / name, folder)
        for name in ("book", "notebooks", "mimii_lib", "profiles"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "benchmarks").mkdir()
        (folder / "benchmarks" / "faults.py").write_text(
            "import sys; from pathlib import Path; Path(sys.argv[2]).write_text('[]')"
        )
        commands = folder / "commands"
        commands.mkdir()
        for name in ("mimii", "jupyter-book"):
            (commands / name).write_text(LEAVES_FILES.format(python=sys.executable))
            (commands / name).chmod(0o755)
        self.profile("")

    def profile(self, more: str) -> None:
        """Write the profile, with `more` than the data and the machines."""
        said = f"data: {self.data}\nmachines: [fan, valve]\nids: [id_00, id_02]\nseeds: [0]\n"
        (self.folder / "tiny.yaml").write_text(f"{said}weight_sources: [package]\n{more}")

    def _asked(self, words: tuple[str, ...], config: str | None) -> tuple[list[str], dict[str, str]]:
        """Return the arguments of Snakemake and the environment that has the project's commands."""
        path = os.pathsep.join([str(self.folder / "commands"), str(Path(sys.executable).parent), os.environ["PATH"]])
        settings = config.split() if config else ["profile=tiny.yaml"]
        env = os.environ | {"PATH": path, "PYTHONPATH": str(self.folder)}
        return ["--cores", "2", "--nolock", *words, "--config", *settings], env

    def start(self, *words: str) -> subprocess.Popen:
        """Start the workflow as a user does."""
        arguments, env = self._asked(words, None)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-m", "snakemake", *arguments], cwd=self.folder, env=env, **pipes)

    def snakemake(self, *words: str, config: str | None = None) -> subprocess.CompletedProcess:
        """Run the workflow in a fork."""
        arguments, env = self._asked(words, config)
        said = [self.folder / name for name in ("stdout", "stderr")]
        process = FORKS.Process(target=forked, args=(arguments, self.folder, env, said))
        process.start()
        process.join()
        return subprocess.CompletedProcess(arguments, process.exitcode, *(file.read_text() for file in said))

    def to_do(self) -> set[str]:
        """Return the files that the workflow would make anew."""
        done = self.snakemake("--summary")
        assert done.returncode == 0, done.stdout + done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
        plan = {row[0]: row[-1] for row in rows[1:]}
        assert "_build/html/.buildinfo" in plan
        return {file for file, step in plan.items() if step != "no update"}


def forked(arguments: list[str], folder: Path, env: dict[str, str], said: list[Path]) -> None:
    """Be Snakemake, in the process that calls this."""
    from snakemake import cli  # there already, where this runs

    os.chdir(folder)
    os.environ.update(env)
    for number, file in enumerate(said, start=1):
        with file.open("w") as stream:
            os.dup2(stream.fileno(), number)
    cli.main(arguments)


@pytest.fixture(scope="module")
def project(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    data = folder / "recordings"
    shutil.copytree(tiny, data)
    made = Project(folder, data)
    first = made.start()
    said = first.communicate()
    assert first.returncode == 0, said
    return made


def machines_of(files: set[str]) -> set[str]:
    return {machine for machine in ("fan", "pump", "slider", "valve") for name in files if machine in name}


def test_nothing_changed_nothing_to_do(project):
    """A second run has no job at all, though the first one made a page of every notebook and machine."""
    assert project.to_do() == set()
    for machine in ("fan", "pump", "slider", "valve"):
        assert len(list((project.folder / "executed" / machine).glob("*.ipynb"))) == 6


def test_changed_data_run_that_machine_alone(project):
    """One other clip of the valve leaves the fan's pages as they are."""
    wav = next((project.data / "-6_dB_valve" / "valve" / "id_00" / "normal").glob("*.wav"))
    kept, sound = wav.read_bytes(), soundfile.read(wav, dtype="int16")[0]
    state = wav.stat()
    soundfile.write(wav, sound[::-1], 16_000, subtype="PCM_16")
    try:
        files = project.to_do()
    finally:
        wav.write_bytes(kept)
        os.utime(wav, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert machines_of(files) == {"valve"}
    assert {"executed/table1.ipynb", "results/auc.parquet", "_build/html/.buildinfo"} <= files


def test_an_interrupted_run_still_remakes_the_pages(project):
    """A page shows its clips: another clip makes it anew, though a run stopped after the same scores."""
    wav = next((project.data / "-6_dB_valve" / "valve" / "id_02" / "abnormal").glob("*.wav"))
    sound = soundfile.read(wav, dtype="int16")[0]
    soundfile.write(wav, sound[::-1], 16_000, subtype="PCM_16")
    assert project.snakemake("--until", "scores").returncode == 0
    files = project.to_do()
    assert machines_of(files) == {"valve"}
    assert "executed/valve/01_dataset.ipynb" in files
    assert project.snakemake().returncode == 0
    assert project.to_do() == set()


def test_changed_settings_run_that_machine_alone(project):
    """Another setting for the fan leaves the valve's pages as they are."""
    project.profile("per_machine: {fan: {settings: {detectors: {n_trees: 64}}}}\n")
    try:
        files = project.to_do()
    finally:
        project.profile("")
    assert machines_of(files) == {"fan"}


def test_a_second_run_waits_for_the_first(project):
    """Two runs in one folder do not spoil each other: the second says that it waits, then goes on; a plan need not."""
    with FileLock(project.folder / ".snakemake" / "book.lock"):
        assert project.snakemake("--dry-run").returncode == 0
        second = project.start("--summary")
        first_line = second.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            second.wait(2)
    rest, _ = second.communicate()
    assert "this one waits" in first_line
    assert second.returncode == 0
    assert ".buildinfo" in rest


def test_a_long_run_is_forecast_first(project):
    """What is not made on the spot is forecast before any job, with the same parameters."""
    (project.folder / "commands" / "mimii").rename(project.folder / "commands" / "kept")
    said = project.folder / "commands" / "mimii"
    said.write_text("#!/bin/sh\necho called $@ >&2\nexit 2\n")
    said.chmod(0o755)
    try:
        done = project.snakemake("--forceall", config="profile=tiny.yaml")
    finally:
        (project.folder / "commands" / "kept").rename(said)
    assert done.returncode != 0
    assert "called forecast --machine fan valve --profile tiny.yaml" in done.stderr
    assert "Job stats" not in done.stdout + done.stderr


def test_the_choices_can_be_left_out(project):
    """Without the page on the choices no job of it is planned."""

    def rules(config):
        done = project.snakemake("--dry-run", "--forceall", config=f"profile=tiny.yaml {config}")
        assert done.returncode == 0, done.stderr
        return {line.split()[0] for line in (done.stdout + done.stderr).splitlines() if line.strip()}

    assert "choices" in rules("")
    assert "choices" not in rules("choices=no")


def jobs_of(done: subprocess.CompletedProcess) -> dict[str, int]:
    """Return how many jobs of each rule were planned, from the table that Snakemake prints."""
    assert done.returncode == 0, done.stdout + done.stderr
    table = (done.stdout + done.stderr).partition("Job stats:")[2].partition("\ntotal")[0]
    rows = [line.split() for line in table.splitlines()[3:]]
    return {rule: int(count) for rule, count in rows}


def test_pieces_on_a_cluster(tiny, tmp_path):
    """On a cluster each piece is a job; another detector and seed ask for no features and no training again."""
    project = Project(tmp_path, tiny)
    both = "detectors: [kde, lenet-dcae]\nextractors: [squeezenet1_1, efficientnet_lite0]\n"
    project.profile(both)
    done = project.snakemake("--until", "scores", config="profile=tiny.yaml jobs=piece")
    two_machines_and_ids = 4
    assert jobs_of(done) == {
        "features": 2 * two_machines_and_ids,
        "detectors": 2 * two_machines_and_ids,
        "autoencoder": two_machines_and_ids,
        "scores": 2,
    }
    pieces = tmp_path / "results" / "pieces" / "fan" / "id_02"
    asked = (pieces / "detectors" / "efficientnet_lite0.json").read_text()
    assert "--ids id_02 --extractors efficientnet_lite0 --detectors kde --profile tiny.yaml" in asked
    asked = (pieces / "lenet-dcae" / "seed_0.json").read_text()
    assert "--ids id_02 --detectors lenet-dcae --seeds 0 --profile tiny.yaml" in asked
    # The profile of the cluster switches the pieces on, beside what is said.
    cluster = ("--until", "scores", "--dry-run", "--workflow-profile", "profiles/slurm")
    project.profile(both + "per_machine: {fan: {detectors: [kde, if, lenet-dcae]}, valve: {seeds: [0, 1]}}\n")
    planned = jobs_of(project.snakemake(*cluster))
    assert planned == {"detectors": 2 * two_machines_and_ids, "autoencoder": two_machines_and_ids // 2, "scores": 2}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("jobs=each", ["jobs", "each", "machine", "piece"]),
        ("profile=nowhere", ["profile", "nowhere", "miniature"]),
        ("profil=miniature", ["profil", "profile"]),
        ("machine=submarine", ["submarine", "fan"]),
        ("seeds=first", ["seeds", "first"]),
        ("data=not/here", ["not/here"]),
    ],
)
def test_bad_configuration_is_one_sentence(project, config, words):
    """The workflow says what is wrong with what it was told, before any job."""
    done = project.snakemake("--dry-run", config=config)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert all(word in said for word in words)
    assert "Traceback" not in said
