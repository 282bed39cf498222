"""The record on real MIMII: what it holds, and that the tables and the recordings give it again."""

import json
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pytest
import real_mimii
import soundfile

from mimii_lib import paper
from mimii_lib.dataset import split

KEYS = ["source", "snr", "machine", "id", "system"]


@pytest.fixture(scope="module")
def record() -> pd.DataFrame:
    return pd.DataFrame(json.loads(Path(real_mimii.__file__).with_suffix(".json").read_text())).set_index(KEYS)


@pytest.fixture(scope="module")
def features(shared: Path) -> Path:
    """Return the folder of the public tables."""
    if not (shared / "real_features").is_dir():
        pytest.skip("needs the tables of real MIMII")
    return shared / "real_features"


def test_the_record_is_whole(record):
    """It has every machine ID, SNR and system once, each AUC within its interval, and the paper's test clips."""
    assert list(record) == ["auc", "low", "high", "n_train", "n_normal", "n_abnormal"]
    assert not record.index.has_duplicates
    n_ids = record.groupby(level=["source", "snr", "system"]).size()
    assert n_ids.groupby(level="source").agg(["size", "min", "max"]).loc["iaia"].tolist() == [21, 12, 12]
    assert n_ids.groupby(level="source").agg(["size", "min", "max"]).loc["egemaps"].tolist() == [7, 16, 16]
    assert ((record.low <= record.auc) & (record.auc <= record.high)).all()
    assert record[["low", "high"]].stack().between(0, 1).all()
    for (_, _, machine, machine_id, _), row in record.iterrows():
        published = paper.MIMII[machine][machine_id]
        expected = (published.normal - 150, 150, min(150, published.abnormal))
        assert (row.n_train, row.n_normal, row.n_abnormal) == expected


@pytest.mark.parametrize("source", ["iaia", "egemaps"])
def test_a_machine_id_is_computed_again(features, record, source):
    """The tables give the record again: AUCs to 0.2 points, the numbers of clips exactly."""
    if source == "iaia":
        unit = real_mimii.read_spectra(features, -6, "slider", "id_06")
    else:
        unit = real_mimii.read_functionals(features, "valve", "id_02")
    rows = pd.DataFrame(real_mimii.rows(unit, split(unit.clips, real_mimii.SEEDS))).set_index(KEYS)
    pd.testing.assert_frame_equal(rows, record.loc[rows.index], atol=0.002, rtol=0)


def test_spectra_are_those_of_the_recordings(real, features):
    """Row k of a table is clip k: the mean over time of the log-mel spectrum of the mean of eight channels."""
    for machine in real_mimii.SPECTRUM_MACHINES:
        unit = real_mimii.read_spectra(features, 0, machine, "id_00")
        for label in ("normal", "abnormal"):
            path = f"0_dB_{machine}/{machine}/id_00/{label}/00000000.wav"
            waveform = soundfile.read(real / path, dtype="float32")[0].mean(axis=1)
            front_end = {"n_fft": 512, "win_length": 400, "hop_length": 160, "n_mels": real_mimii.BANDS}
            mel = librosa.feature.melspectrogram(y=waveform, sr=16_000, **front_end)
            row = unit.features[(unit.clips.path == path).to_numpy()][0]
            np.testing.assert_allclose(row, np.log(mel + 1e-8).mean(axis=1), atol=1e-5)


def test_functionals_are_those_of_the_same_clips_at_6_db(features):
    """Both tables have the same splits; the level follows the spectra's best at +6 dB, in every file."""
    spectra = real_mimii.read_spectra(features, 6, "fan", "id_02")
    functionals = real_mimii.read_functionals(features, "fan", "id_02")
    pd.testing.assert_frame_equal(split(spectra.clips, [0, 1]), split(functionals.clips, [0, 1]))
    correlations = real_mimii.level_correlations(features)
    assert len(correlations) == 24
    assert (correlations.idxmax(axis=1) == real_mimii.FUNCTIONALS_SNR).all()


def test_a_missing_table_is_named(tmp_path, capsys):
    """Without a table nothing is written, and the sentence names its file."""
    assert real_mimii.main([str(tmp_path), "--out", str(tmp_path / "record.json")]) == 2
    assert "snr_6_id_00_normal.npy: no such file" in capsys.readouterr().err
    assert not (tmp_path / "record.json").exists()
