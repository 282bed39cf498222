"""The Snakefile: which jobs a plan leads to, and with which words. Commands are stand-ins that leave files."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAVES_FILES = f"""#!{sys.executable}
import json, sys
from pathlib import Path
print(json.dumps(words := sys.argv[1:]))
files = [word for option, word in zip(words, words[1:]) if option in ("--json", "--paper-statements")]
files += ["_build/html/.buildinfo"] if words[0] == "book/render.py" else []
files += ["results/auc.parquet", "results/auc.csv", "results/splits.csv"] if "--save" in words else []
if words[0] == "run":
    sources = [word for word in words if word.startswith("notebooks/")]
    place = words[1 + len(sources)]
    files += [place] if len(sources) == 1 else [f"{{place}}/{{Path(name).name}}" for name in sources]
for file in map(Path, files):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(words))
"""
PARAMETERS = {"data": "/it's here/{a} $folder", "profile": "tiny.yaml", "seeds": "0 1", "snr": -6}
OPTIONS = [PARAMETERS["data"], "--profile=tiny.yaml", "--seeds=0 1", "--snr=-6"]
PLAN = {"parameters": PARAMETERS, "identities": {"fan": "1", "valve": "2"}, "choices": ["fan"]}
PLAN |= {"not_run": {"pump": "not part of this run", "slider": "slider: no machine ID can be evaluated"}}
PLAN |= {"detectors": {"fan": ["kde", "if"]}, "autoencoders": {"fan": ["lenet-dcae"], "valve": []}}
PLAN |= {
    "pieces": {"fan": {f"id_00/{name}": "1" for name in ("features/n", "detectors/n", "l-dcae/seed_0")}, "valve": {}}
}
SCORES, PAGE = "results/auc/fan.json", "executed/fan/01_dataset.ipynb"
PIECES, CHOICES = {"features": 1, "detectors": 1, "autoencoder": 1}, {"choices": 1}
PAGES = {"page": len(list((ROOT / "notebooks").glob("*.ipynb"))) - 6, "html": 1, "book": 1}
COMMON = PAGES | {"scores": 2, "notebook": 2, "not_run": 12, "results": 1, "conformance": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Return a copy of what the Snakefile reads, with commands that leave files."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("Snakefile", "_config.yml", "_toc.yml", "mimii_lib/settings.py", "mimii_lib/pages/tables.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "notebooks", folder / "notebooks", ignore=shutil.ignore_patterns("*.py"))
    for command in ("mimii", "pytest", "python"):
        (folder / command).write_text(LEAVES_FILES)
        (folder / command).chmod(0o755)
    (folder / "plan.json").touch()
    return folder


def jobs(project: Path, plan: dict, *words: str) -> dict[str, int]:
    """Run Snakemake on a plan; return how many jobs of each rule there were."""
    (project / "plan.json").write_text(json.dumps(plan))
    env = os.environ | {"PATH": os.pathsep.join([str(project), str(Path(sys.executable).parent), os.environ["PATH"]])}
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock", *words, "--config", "plan=plan.json"]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = (done.stdout + done.stderr).partition("Job stats:")[2].partition("\ntotal")[0].splitlines()[3:]
    return {rule: int(count) for rule, count in map(str.split, table)}


def test_a_dry_run_changes_nothing(project):
    """The Snakefile is read without making, removing or locking anything; the plan decides which rules run."""
    before = sorted(project.rglob("*"))
    assert jobs(project, PLAN | {"choices": []}, "--dry-run") == COMMON | PIECES
    assert jobs(project, PLAN | {"pieces": {"fan": {}, "valve": {}}}, "--dry-run") == COMMON | CHOICES
    assert [path for path in sorted(project.rglob("*")) if ".snakemake" not in path.parts] == before


def test_jobs_get_the_parameters_and_run_again_for_a_reason(project):
    """Quotes, blanks and braces survive the shell; a job runs again if its digest or its code changed."""
    assert jobs(project, PLAN) == COMMON | PIECES | CHOICES
    words = {name: json.loads((project / name).read_text()) for name in (SCORES, PAGE, "executed/report.ipynb")}
    assert words[SCORES] == ["auc", *OPTIONS, "--machine", "fan", "--json", SCORES]
    named = [word for name, value in PARAMETERS.items() for word in ("-p", name, json.dumps(value))]
    assert words[PAGE][-len(named) - 3 :] == ["-p", "machine", "fan", *named]
    assert words["executed/report.ipynb"][3:] == ["-p", "machine", "fan valve", *named]
    words_of_valve = json.loads((project / PAGE.replace("fan", "valve")).read_text())
    assert "--not-run" in words_of_valve  # no auto-encoder there
    assert words_of_valve[-2:] == ["--without", "once"]  # what only the first machine type's pages have
    assert json.loads((project / "_build/html/.buildinfo").read_text()) == ["book/render.py", "fan"]
    assert jobs(project, PLAN, "-n") == {}
    new_valve = PLAN | {"identities": {"fan": "1", "valve": "3"}}
    assert jobs(project, new_valve, "-n") == PAGES | {"scores": 1, "notebook": 1, "results": 1}
    (project / "mimii_lib/pages/tables.py").write_text("")
    assert not jobs(project, PLAN, "-n").keys() & {"scores", "features", "other_snr"}
    (project / "mimii_lib/settings.py").write_text("")
    assert jobs(project, PLAN, "-n")["scores"] == 2
