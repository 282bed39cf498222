"""The project's dependencies are stated once, and `make` knows its targets and parameters."""

import shlex
import subprocess
import tomllib
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from mimii_lib.pages.project import lock, plain_name

ROOT = Path(__file__).parents[2]


def test_environment_yml_installs_what_make_installs():
    """The pip part of environment.yml is what `make setup` hands to pip."""
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())
    words = " ".join(next(item["pip"] for item in conda["dependencies"] if isinstance(item, dict))).split()
    shown = subprocess.run(["make", "-nB", ".venv/ready"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (installs,) = (shlex.split(line) for line in shown.splitlines() if "pip install" in line)
    assert installs[-len(words) :] == words


def test_every_package_that_is_installed_is_pinned():
    """constraints.txt pins what pyproject.toml names and all that it draws in, in the version that is installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {plain_name(package): pin for package, pin, _ in lock().itertuples(index=False)}
    wanted = [*map(Requirement, sum(project["optional-dependencies"].values(), project["dependencies"]))]
    reached: dict[tuple[str, frozenset[str]], str] = {}
    while wanted:
        one = wanted.pop()
        key = plain_name(one.name), frozenset(one.extras)
        if key in reached or not (one.marker is None or one.marker.evaluate()):
            continue
        try:
            reached[key] = version(one.name)
        except PackageNotFoundError:  # not needed here, or taken out by somebody; its pin is not compared
            assert plain_name(one.name) in pinned
            continue
        for drawn in map(Requirement, requires(one.name) or []):
            if drawn.marker is None or any(drawn.marker.evaluate({"extra": extra}) for extra in ("", *one.extras)):
                drawn.marker = None
                wanted.append(drawn)
    installed = {name: found for (name, _), found in reached.items()}
    assert len(installed) > 150
    assert {name: pinned.get(name) for name in installed} == installed


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
