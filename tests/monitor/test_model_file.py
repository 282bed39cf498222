"""The model file: the same scores after loading, for every system; nothing that was changed is loaded."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import soundfile
from hum import RATE, sound

from mimii_lib import Monitor, paper
from mimii_lib.data import model_file
from mimii_lib.detectors import build_detector
from mimii_lib.errors import MimiiError
from mimii_lib.run import fitted_state
from mimii_lib.run.scorer import Scorer
from mimii_lib.settings import Autoencoders, Detectors, Settings
from mimii_lib.systems.catalogue import SYSTEMS

FEW = Settings(detectors=Detectors(n_components=2, n_trees=8), autoencoders=Autoencoders(epochs=1, batch_size=4))
WITHOUT_NETWORK = [name for name, system in SYSTEMS.items() if not (system.extractors or system.missing_package)]
OTHERS = [name for name in paper.DETECTORS if name != "kde"]


@pytest.fixture(scope="module")
def new():
    """Return windows that no monitor was fitted on: normal ones and a fault."""
    return np.stack([sound(600), sound(601), sound(602, fault=True)])


@pytest.fixture(scope="module")
def described(normal):
    """Return a monitor whose network describes patches."""
    return Monitor.fit(sorted(normal.iterdir())[:12], system="squeezenet1_1/kde", settings=FEW, folds=2)


@pytest.fixture(scope="module")
def ensemble(normal):
    """Return a monitor of the default system."""
    return Monitor.fit(sorted(normal.iterdir())[:12], folds=2)


def assert_same_after_loading(fitted, new, file):
    fitted.save(file)
    loaded = Monitor.load(file)
    np.testing.assert_array_equal(loaded.window_scores(new), fitted.window_scores(new))
    np.testing.assert_array_equal(loaded.calibration.recordings, fitted.calibration.recordings)
    assert loaded.score(new[2]) == fitted.score(new[2])
    assert loaded.about == fitted.about
    assert file.stat().st_size < 30e6


@pytest.mark.parametrize("system", [*WITHOUT_NETWORK, "speech_embedding/kde", "small-dcae"])
def test_scores_after_loading_are_those_of_training(system, normal, new, tmp_path):
    """For every kind of system the loaded scorer gives the same scores, bit for bit, and a file of under 30 MB."""
    fitted = Monitor.fit(sorted(normal.iterdir())[:12], system=system, settings=FEW, folds=2)
    assert_same_after_loading(fitted, new, tmp_path / "x.mimii")


def test_scores_of_the_default_system_after_loading(ensemble, new, tmp_path):
    """The same for the ensemble, which is the default."""
    assert ensemble.about["system"] == "ensemble"
    assert_same_after_loading(ensemble, new, tmp_path / "x.mimii")


@pytest.mark.parametrize("detector", ["kde", *OTHERS])
def test_scores_of_the_papers_detectors_after_loading(detector, described, normal, new, tmp_path):
    """The same for each detector of the paper, on the features of one network, which is converted once for them."""
    fitted = described
    if detector != "kde":
        scorer = Scorer(f"squeezenet1_1/{detector}", described.scorer.settings)
        scorer.network = described.scorer.network
        scorer.fit([sound(seed) for seed in range(12)])
        fitted = Monitor(scorer, described.calibration, described.spectra, described.about)
    assert_same_after_loading(fitted, new, tmp_path / "x.mimii")


def test_another_engine_gives_nearly_the_same_scores(ensemble, new, tmp_path, monkeypatch):
    """Where OpenVINO is not installed, torch runs the same weights; scores differ by less than 1e-4."""
    ensemble.save(file := tmp_path / "x.mimii")
    expected = ensemble.window_scores(new)
    monkeypatch.setitem(sys.modules, "openvino", None)  # an import now says that it is not installed
    assert Monitor.load(file).window_scores(new) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def refused(content, tmp_path):
    """Return the sentence by which a file of this content is refused."""
    (file := tmp_path / "x.mimii").write_bytes(content)
    with pytest.raises(MimiiError) as caught:
        Monitor.load(file)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.startswith(str(file))
    return sentence


def test_no_byte_may_change(model, tmp_path):
    """A changed byte in any member, in its header or anywhere else, and a file cut anywhere, are refused."""
    content, random = model.read_bytes(), np.random.default_rng(0)
    with zipfile.ZipFile(model) as archive:
        members = [(entry.header_offset, entry.filename) for entry in archive.infolist()]
    places = [offset + shift for offset, name in members for shift in (0, 10, 30, 30 + len(name) + 1)]
    for place in [*places, *random.integers(0, len(content), 200), *range(-100, 0)]:
        changed = bytearray(content)
        changed[place] ^= int(random.integers(1, 256))
        assert "expected a whole file" in (text := refused(bytes(changed), tmp_path)) or "edited" in text
    for end in (0, 1, 3, 100, len(content) // 2, len(content) - 65, len(content) - 1):
        refused(content[:end], tmp_path)
    refused(content + b"\n", tmp_path)
    refused(b"\n" + content, tmp_path)


def signed(claims=None, **members):
    """Return a zip of these members that ends as a model file does; the first may claim to have so many bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
        archive.filelist[0].file_size = claims or archive.filelist[0].file_size
        archive.comment = b"mimii monitor, sha256 " + bytes(64)
    before = buffer.getvalue()[:-64]
    return before + hashlib.sha256(before).hexdigest().encode()


def manifest(content, **others):
    hashes = {name: hashlib.sha256(member).hexdigest() for name, member in others.items()}
    return json.dumps({"format": model_file.FORMAT, "content": content, "sha256": hashes})


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_foreign_and_newer_files_are_refused(tmp_path):
    """A file that is no model, a zip of somebody else, a newer format, and one that holds what was not listed."""
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no model file" in refused(b"%PDF-1.7", tmp_path)
    assert "no model file" in refused(other.getvalue(), tmp_path)
    newer = json.dumps({"format": 99, "new": []})
    assert "has format 99, this version of mimii reads format 1; update" in refused(
        signed(**{"manifest.json": newer}), tmp_path
    )
    assert "not those of its manifest" in refused(signed(**{"manifest.json": manifest({}), "x": b""}), tmp_path)
    for text in ("{", "[]", "[" * 100_000, "{}", manifest({}), manifest({"about": 1, "calibration": 2})):
        refused(signed(**{"manifest.json": text}), tmp_path)
    with pytest.raises(MimiiError, match="is a folder|Is a directory"):
        Monitor.load(tmp_path)
    with pytest.raises(MimiiError, match=r"nowhere: no such file; expected a model file that `mimii fit` wrote"):
        Monitor.load(tmp_path / "nowhere")


def test_what_is_signed_and_malicious_is_refused(tmp_path):
    """Objects that would be unpickled, arrays that claim another size, and zip bombs are refused, and nothing runs."""

    class Runs:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    pickled = npy(np.array([Runs()], dtype=object))
    lying = npy(np.zeros(20)).replace(b"(20,), }            ", b"(20000000000,), }  ")
    for array in (pickled, lying, b"", b"\x93NUMPY\x09\x00"):
        members = {"a.npy": array}
        text = manifest({"calibration": {"array": "a.npy"}}, **members)
        refused(signed(**{"manifest.json": text}, **members), tmp_path)
    assert not (tmp_path / "ran").exists()
    bomb = signed(**{"manifest.json": manifest({})}, claims=2**40)
    assert "MB, expected at most" in refused(bomb, tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        {"class": "Popen", "attributes": {}},
        {"class": "Standardiser", "attributes": {"transform": 1}},
        {"class": "Pipeline", "attributes": {"__class__": "x"}},
        {"reduce": ["os.system", "true"]},
        {"tuple": [{"eval": "1"}]},
        {},
    ],
)
def test_only_known_estimators_are_made(state):
    """A class that is not on the list, a method in the place of an attribute, and unknown kinds are refused."""
    with pytest.raises(ValueError):
        fitted_state.restored(state)


def test_a_tree_with_a_loop_is_refused():
    """A tree of an isolation forest that leads back to itself, or out of its nodes, would never end, or read beyond."""
    fitted = build_detector("if", FEW.detectors, 0).fit(np.random.default_rng(0).standard_normal((20, 3)))
    for child in (0, 10_000):
        forest = fitted_state.state(fitted)
        tree = forest["attributes"]["estimators_"][0]["attributes"]["tree_"]["Tree"]
        tree["nodes"] = tree["nodes"].copy()
        tree["nodes"]["left_child"][0] = child
        with pytest.raises(ValueError, match="leads nowhere"):
            fitted_state.restored(forest)


def test_scoring_imports_no_torch(model, tmp_path):
    """A recording is scored without torch, librosa and numba, whose imports take seconds."""
    code = (
        "import sys; from mimii_lib.cli import main; code = main(sys.argv[1:]); "
        "print([name for name in ('torch', 'librosa.core', 'numba') if name in sys.modules])"
    )
    soundfile.write(tmp_path / "x.wav", sound(700), RATE)
    words = [sys.executable, "-c", code, "score", str(model), str(tmp_path / "x.wav")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
