"""Odd input at the front doors: whatever it is, it is used, or refused in one sentence."""

import io
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import yaml

pytest.importorskip("hypothesis", reason="comes with the extra 'test'")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from mimii_lib import dataset, evaluation, paper
from mimii_lib.data import sources
from mimii_lib.errors import MimiiError
from mimii_lib.run.profiles import Profile, load_profile, with_parameters
from mimii_lib.settings import DETECTORS, Settings
from mimii_lib.uncertainty import weighted_aucs

FIXTURES = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("small", derandomize=True, deadline=None, database=None, suppress_health_check=FIXTURES)
settings.load_profile("small")
few, many = settings(max_examples=25), settings(max_examples=50)

GROUPS = Settings().model_dump()
NAMES = [f"{group}.{name}" for group, values in GROUPS.items() for name in values]
NUMBERS = st.sampled_from([0, 1, -1, 2**32, 2**64, 10**400, 1e-300, 1e300, float("nan"), float("inf")])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | NUMBERS | st.text(max_size=8) | st.dates()
WORDS = st.sampled_from([*Profile.model_fields, *GROUPS, *NAMES, *paper.MACHINES, *DETECTORS, "per_machine", "id_00"])
VALUES = st.recursive(
    SCALARS | WORDS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(WORDS | st.integers(), some, max_size=3),
    max_leaves=8,
)


def refused(function, *arguments):
    """Return the error of a call, which is one short sentence; None: the call succeeded."""
    try:
        function(*arguments)
    except MimiiError as error:
        assert "\n" not in str(error)
        assert 0 < len(str(error)) < 1500
        return str(error)
    return None


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Return a file that every example may write."""
    return tmp_path_factory.mktemp("odd") / "odd.yaml"


@many
@given(st.dictionaries(WORDS, VALUES, max_size=4), st.sampled_from([None, *paper.MACHINES]))
def test_profiles_of_known_words(file, values, machine):
    """Known names with odd values: a profile that can be read, or a sentence."""
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    refused(load_profile, file, machine)


@few
@given(st.binary(max_size=60) | st.text(alphabet="{}[]&*!|>-:, 'ab\n1.e%@#", max_size=60).map(str.encode))
def test_profiles_of_any_bytes(file, content):
    """Bytes that are no YAML, or other YAML than a profile's."""
    file.write_bytes(content)
    refused(load_profile, file, "fan")


@many
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES.map(str) | SCALARS.map(str) | st.text(max_size=6)), max_size=2)
)
def test_settings(pairs):
    """Names of settings with any text: settings that keep their types, or a sentence."""
    text = " ".join(f"{name}={value}" for name, value in pairs)
    if refused(with_parameters_of, text) is None:
        profile = with_parameters_of(text)
        assert Settings.model_validate(profile.settings.model_dump()) == profile.settings
        assert profile.settings.imaging.patches > 0


def with_parameters_of(text):
    return with_parameters(Profile(), settings=text)


TABLE = pd.DataFrame(
    [
        ("id_00", label, f"-6_dB_fan/fan/id_00/{label}/0000000{number}.wav")
        for label in dataset.LABELS
        for number in range(4)
    ],
    columns=["id", "label", "path"],
)
PATHS = st.sampled_from(
    [*TABLE.path, *TABLE.path.str.replace("fan", "pump"), *TABLE.path.str.replace("id_00", "id_02")]
)
SPELLED = st.tuples(st.sampled_from(["", "./", " ", "/", "x/", "..", "\\"]), PATHS).map("".join) | st.text(max_size=5)
ROWS = st.tuples(
    st.sampled_from([0, 0, 0, 1, -1, "", "x", 2**70]), PATHS | SPELLED, st.sampled_from(["train", "test", ""])
)


@many
@given(st.lists(ROWS, max_size=6) | st.binary(max_size=40))
def test_splits(file, rows):
    """A split that is taken has every row of its seed that names a clip, and trains on normal clips alone."""
    if isinstance(rows, bytes):
        file.write_bytes(rows)
    else:
        pd.DataFrame(rows, columns=["seed", "path", "role"]).to_csv(file, index=False)
    if refused(dataset.load_split, file, TABLE, [0]) is None:
        loaded = dataset.load_split(file, TABLE, [0])
        given_rows = {path.strip().removeprefix("./") for seed, path, _ in rows if seed == 0}
        assert set(loaded.path) == given_rows & set(TABLE.path)
        assert not loaded[loaded.role == "train"].path.str.contains("/abnormal/").any()


CELLS = st.sampled_from(["-6_dB_fan.zip", "dev_data_fan.zip", "12", "", "0" * 32, "g" * 32, '"', "x"]) | st.text(
    max_size=4
)


@few
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4).map(",".join), max_size=3) | st.binary(max_size=40))
def test_registries(file, rows):
    """A registry of archives that can be read, or a sentence."""
    content = rows if isinstance(rows, bytes) else "\n".join(["name,bytes,md5", *rows]).encode("utf-8", "replace")
    file.write_bytes(content)
    refused(sources.read_registry, file)


@pytest.fixture(scope="module")
def clip():
    """Return the bytes of a whole clip."""
    content = io.BytesIO()
    soundfile.write(content, np.zeros(160_000), 16_000, subtype="PCM_16", format="WAV")
    return content.getvalue()


FIELDS = st.sampled_from([0, 1, 2, 16, 8000, 65535, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1)


@few
@given(st.integers(0, 44), FIELDS | st.binary(max_size=8), st.integers(0, 320_044) | st.just(320_044))
def test_headers_of_clips(clip, at, value, length):
    """A header with other numbers, or a file that ends early: 10 s of finite sound, or a sentence."""
    piece = value if isinstance(value, bytes) else struct.pack("<I", value)
    content = (clip[:at] + piece + clip[at + len(piece) :])[:length]
    if refused(dataset.read, Path("odd.wav"), None, content) is None:
        sound = dataset.read(Path("odd.wav"), None, content)
        assert sound.shape == (160_000,)
        assert np.isfinite(sound).all()


@few
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 1.0, -1.0, 5e-324, 1e300, -1e300, 0.1])), max_size=12))
def test_aucs_of_ties_and_extremes(clips):
    """An AUC is the share of pairs in which the anomalous clip has the larger score, ties half, or there is none."""
    anomalous, scores = np.array([one for one, _ in clips], bool), np.array([score for _, score in clips], float)
    if refused(evaluation.auc, anomalous, scores) is None:
        larger, equal = (compare.outer(scores[anomalous], scores[~anomalous]) for compare in (np.greater, np.equal))
        expected = (larger + equal / 2).mean()
        assert evaluation.auc(anomalous, scores) == pytest.approx(expected, abs=1e-12)
        assert roc_auc_score(anomalous, scores) == pytest.approx(expected, abs=1e-12)
        counts = np.ones((len(scores), 1))
        assert weighted_aucs(anomalous, scores, counts)[0] == pytest.approx(expected, abs=1e-12)
    else:
        assert anomalous.all() or not anomalous.any()
