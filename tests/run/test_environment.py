"""The project's dependencies are stated once, and `make` knows its targets and parameters."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def test_environment_yml_installs_what_make_installs():
    """The pip part of environment.yml is what `make setup` hands to pip."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    words = " ".join(next(item["pip"] for item in conda["dependencies"] if isinstance(item, dict))).split()
    shown = subprocess.run(["make", "-nB", ".venv/ready"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (installs,) = (shlex.split(line) for line in shown.splitlines() if "pip install" in line)
    assert installs[-len(words) :] == words


def test_every_dependency_is_pinned():
    """constraints.txt pins each package that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = sum(project["optional-dependencies"].values(), project["dependencies"])
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.M)
    plain = [
        {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower() for name in names} for names in (named, pinned)
    ]
    assert plain[0] <= plain[1]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["help"], "book      run the experiment"),
        (["plan", "CLUSTER=moon"], "CLUSTER: moon is not known; expected one of slurm"),
        (["plan", "CORES=0"], "CORES: 0 is not known; expected a whole number from 1"),
        (["plan", "CORES=-1"], "CORES: -1 is not known"),
        (["plan", "SEED=1"], "SEED is not known; expected one of"),
        (["-n", "plan", "DATA=it's here", "CHOICES=no"], r"mimii plan 'it'\''s here' --profile='miniature'"),
        (["-n", "book", "CLUSTER=slurm"], "--workflow-profile profiles/slurm"),
    ],
)
def test_make_takes_the_parameters_of_a_run(words, expected):
    """A target gets its parameters as they were written; an unknown one is a sentence that names those known."""
    done = subprocess.run(["make", *words], cwd=ROOT, capture_output=True, text=True)
    assert expected in done.stdout + done.stderr
    assert (done.returncode == 0) == (" is not known" not in expected)
