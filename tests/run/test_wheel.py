"""The wheel: the package runs from it alone, with the project's profiles and tables."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
BUILD = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
AUC = "auc --machine fan --ids id_00 --seeds 0 --detectors kde --profile ../small.yaml"
CLI = "import sys; sys.modules.update(dict.fromkeys(['papermill', 'nbformat', 'jupyter_client', 'snakemake']));"
CLI += "from mimii_lib.cli import main; main(sys.argv[1:]); print(sys.modules['openvino_telemetry'])"
SMALL = "{data: miniature, miniature: {normal: 6, abnormal: 1}, weight_sources: [package],"
SMALL += " settings: {split: {test_clips: 1}, detectors: {n_components: 2}}}"


def test_the_wheel_holds_what_a_run_needs(tmp_path):
    """From an empty folder, without the book's packages, a run makes its miniature and ends, and reports to nobody."""
    source, site, empty = (tmp_path / name for name in ("source", "site", "empty"))
    for folder in (source, empty):
        folder.mkdir()
    subprocess.run(f"git ls-files -z | xargs -0 cp -a --parents -t '{source}'", shell=True, cwd=ROOT, check=True)
    subprocess.run([sys.executable, "-c", BUILD, tmp_path], cwd=source, capture_output=True, check=True)
    ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    (tmp_path / "small.yaml").write_text(SMALL)
    variables = {"PYTHONPATH": str(site), "HOME": str(tmp_path), "MIMII_CACHE": str(tmp_path / "cache")}
    words = [sys.executable, "-c", CLI, *AUC.split()]
    done = subprocess.run(words, cwd=empty, env=os.environ | variables, capture_output=True, text=True)
    assert "fan id_00: 5 clips train; 1 normal and 1 abnormal clips test" in done.stdout, done.stderr
    assert done.stdout.endswith("\nNone\n")  # OpenVINO's package that would report its use is not imported
    assert (empty / "miniature" / "-6_dB_fan").is_dir()
    for pattern in ("profiles/*.yaml", "**/*.csv", "pages/*.yaml"):
        ours, shipped = (
            {path.name: path.read_text() for path in (folder / "mimii_lib").glob(pattern)} for folder in (ROOT, site)
        )
        assert ours == shipped != {}
