"""What the project needs is said in one place, and conda's file says the same."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_environment_yml_installs_what_make_installs():
    """The pip part of environment.yml can be installed, and asks for nothing that is not in this environment."""
    said = yaml.safe_load((ROOT / "environment.yml").read_text())
    lines = next(item["pip"] for item in said["dependencies"] if isinstance(item, dict))
    words = [word for line in lines for word in line.split()]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-build-isolation", "--no-index", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    new = [line for line in done.stdout.splitlines() if line.startswith("Would install")]
    assert all(line.split()[2:] in ([], ["mimii-image-transfer-0.1.0"]) for line in new), new


def test_every_dependency_is_pinned():
    """constraints.txt pins each package that pyproject.toml names, and holds no address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(item for group in project["optional-dependencies"].values() for item in group)]
    text = (ROOT / "constraints.txt").read_text()
    pinned = {re.sub(r"[-_.]+", "-", name).lower() for name in re.findall(r"^([\w.-]+)==", text, flags=re.M)}
    wanted = {re.sub(r"[-_.]+", "-", re.match(r"[\w.-]+", name)[0]).lower() for name in named}
    assert wanted <= pinned
    assert "://" not in text
    assert "@" not in text


def test_make_help_lists_the_targets():
    """A newcomer finds the two commands."""
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(re.search(rf"^{name}\b", done.stdout, flags=re.M) for name in ("book", "test", "check"))


def test_make_knows_the_clusters():
    """A cluster without a profile is one sentence that names those with one, before anything runs."""
    done = subprocess.run(["make", "plan", "CLUSTER=moon"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode != 0
    assert "CLUSTER: moon is not known; expected one of slurm" in done.stderr
    # The cores of the node that asks would limit the threads of the cluster's jobs.
    said = [
        subprocess.run(["make", "-n", "plan", *words], cwd=ROOT, capture_output=True, text=True).stdout
        for words in ([], ["CLUSTER=slurm"])
    ]
    assert ["--cores" in each for each in said] == [True, False]
    assert "--workflow-profile profiles/slurm" in said[1]
