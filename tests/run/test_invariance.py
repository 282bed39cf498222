"""What must not matter does not: the same scores, bit for bit, wherever and however a run is computed."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

OTHERWISE = {
    **{"PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    **{"OMP_NUM_THREADS": "3", "OPENBLAS_NUM_THREADS": "3"},
}
SCRIPT = """
import hashlib, json, sys
from mimii_lib.cli import main
from mimii_lib.run import Run

data, profile, saved, detectors = sys.argv[1:]
words = [data, "--machine", "fan", "--ids", "id_00", "--profile", profile, "--detectors", detectors]
assert main(["auc", *words, "--save", saved]) == 0
run = Run("fan", data=data, profile=profile, ids="id_00", detectors=detectors)
table = run.auc()
scores = [hashlib.sha256(run.scores(*trial)).hexdigest() for trial in run.results.trials()]
print(json.dumps([table.auc.to_list(), scores]))
"""
DETECTORS = "gmm kde oc-svm small-dcae mahalanobis"


@pytest.fixture
def elsewhere(fan_id_00, tmp_path):
    """Return a folder of another name with the same clips, written in another order and with other dates."""
    for number, wav in enumerate(sorted(fan_id_00.rglob("*.wav"), reverse=True)):
        copy = tmp_path / "Maschinen, größere" / wav.relative_to(fan_id_00)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(wav.read_bytes())
        os.utime(copy, (10**9 + number, 10**9 - number))
    return tmp_path / "Maschinen, größere"


def test_where_and_how_a_run_is_computed_does_not_matter(run_on, quick, elsewhere, tmp_path):
    """Another hash seed, time zone, locale, number of threads, folder and order of files change no bit of a score."""
    run = run_on(detectors=DETECTORS)
    aucs = run.auc().auc.to_list()
    scores = [hashlib.sha256(run.scores(*trial)).hexdigest() for trial in run.results.trials()]
    words = [str(word) for word in (elsewhere, quick, tmp_path / "saved", DETECTORS)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        env=os.environ | OTHERWISE | {"MIMII_CACHE": str(tmp_path / "cache")},
        cwd=tmp_path,
        capture_output=True,
        encoding="ascii",
    )
    assert done.returncode == 0, done.stderr
    assert "\\u2013" in done.stdout  # the dash of a row without a network, where the terminal has no UTF-8
    assert "“" in (tmp_path / "saved" / "report.json").read_text(encoding="utf-8")
    assert json.loads(done.stdout.splitlines()[-1]) == [aucs, scores]
    assert len(scores) == 5
