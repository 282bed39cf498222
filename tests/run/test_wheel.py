"""The wheel: the package runs from it alone, with the project's profiles and tables."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[2]
AUC = "auc --machine fan --ids id_00 --seeds 0 --detectors kde --profile"
CLI = "import sys; sys.modules.update(dict.fromkeys(['papermill', 'nbformat', 'jupyter_client', 'snakemake']));"
CLI += "from mimii_lib.cli import main; sys.exit(main(sys.argv[1:]))"  # without the extra packages of the book
SMALL = "{data: miniature, miniature: {normal: 12, abnormal: 3}, weight_sources: [package]}"


def test_the_wheel_holds_what_a_run_needs(tmp_path):
    """From an empty folder a run makes its miniature and ends; profiles and tables come with the package."""
    source, site, empty = (tmp_path / name for name in ("source", "site", "empty"))
    for folder in (source, empty):
        folder.mkdir()
    subprocess.run(f"git ls-files -z | xargs -0 cp -a --parents -t '{source}'", shell=True, cwd=ROOT, check=True)
    build = [sys.executable, "-m", "pip", "wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path]
    subprocess.run(build, capture_output=True, check=True)
    ZipFile(next(tmp_path.glob("*.whl"))).extractall(site)
    (tmp_path / "small.yaml").write_text(SMALL)
    variables = {"PYTHONPATH": str(site), "HOME": str(tmp_path), "MIMII_CACHE": str(tmp_path / "cache")}

    def mimii(profile: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", CLI, *AUC.split(), profile]
        return subprocess.run(words, cwd=empty, env=os.environ | variables, capture_output=True, text=True)

    assert "fan id_00: 6 clips train; 6 normal and 3 abnormal clips test" in mimii("../small.yaml").stdout
    assert (empty / "miniature" / "-6_dB_fan").is_dir()
    assert "expected one of full, mimii, miniature, sample" in mimii("nothing").stderr
    assert {path.name for path in ROOT.glob("mimii_lib/**/*.csv")} == {path.name for path in site.rglob("*.csv")}
    assert next(site.rglob("open_points.yaml"))
