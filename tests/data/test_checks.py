"""Every clip is looked at, and what is there is held against what should be."""

import csv
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile

from mimii_lib import paper
from mimii_lib.data import checks
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

SHORT = Imaging(seconds=1)


def test_check_counts_real_recordings(real):
    """check tells the number of clips and channels of every SNR, machine type and ID as the manifest lists them."""
    with (real / "MANIFEST.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    counts, channels = Counter(), {}
    for row in rows:
        outer, machine, machine_id, label, _ = row["path"].split("/")
        cell = (int(outer.split("_dB_")[0]), machine, machine_id)
        counts[cell, label] += 1
        channels[cell] = row["channels"]
    report = checks.check(real)
    assert report.problems == []
    assert report.table[["normal", "abnormal"]].to_numpy().sum() == len(rows) == 172
    assert len(report.table) == len(channels)
    for row in report.table.itertuples():
        cell = (row.snr, row.machine, row.id)
        assert (row.normal, row.abnormal) == (counts[cell, "normal"], counts[cell, "abnormal"])
        assert row.channels == channels[cell]
    slider = report.table.query("snr == -6 and machine == 'slider' and id == 'id_00'").iloc[0]
    assert "skipped" not in slider.remarks
    pump = report.table.query("snr == -6 and machine == 'pump' and id == 'id_02'").iloc[0]
    assert "skipped: no abnormal clip" in pump.remarks
    assert report.table.remarks.str.contains("MIMII has").all()


def test_check_finds_planted_faults(tmp_path, wav):
    """check names every silent, duplicate, truncated and foreign file, and no other."""
    folder = tmp_path / "0_dB_pump" / "pump" / "id_00"
    for k in range(12):
        wav(folder / "normal" / f"{k:08d}.wav", seed=k, samples=16_000)
    wav(folder / "abnormal" / "00000000.wav", seed=50, samples=16_000)
    soundfile.write(folder / "normal" / "00000003.wav", np.zeros(16_000), 16_000)
    shutil.copy(folder / "normal" / "00000001.wav", folder / "abnormal" / "00000005.wav")
    whole = (folder / "normal" / "00000007.wav").read_bytes()
    (folder / "normal" / "00000007.wav").write_bytes(whole[: len(whole) // 2])
    wav(folder / "normal" / "00000008.wav", rate=8_000, samples=16_000)
    report = checks.check(tmp_path, SHORT)
    found = {problem.split(":")[0].split("/", 3)[3]: problem for problem in report.problems}
    assert set(found) == {
        "normal/00000003.wav",
        "abnormal/00000005.wav",
        "normal/00000007.wav",
        "normal/00000008.wav",
    }
    assert len(report.problems) == 4
    assert "silent" in found["normal/00000003.wav"]
    assert "same recording as 0_dB_pump/pump/id_00/normal/00000001.wav" in found["abnormal/00000005.wav"]
    assert "samples" in found["normal/00000007.wav"]
    assert "8000 Hz" in found["normal/00000008.wav"]
    assert report.table.iloc[0][["normal", "abnormal"]].to_list() == [12, 2]


def test_check_finds_a_recording_that_is_in_two_ids(tmp_path, wav):
    """The same recording under two machine IDs, which no machine can have made, is named."""
    for k, machine_id in enumerate(("id_00", "id_02")):
        wav(tmp_path / "0_dB_fan" / "fan" / machine_id / "normal" / "00000000.wav", seed=k, samples=16_000)
    first = tmp_path / "0_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav"
    shutil.copy(first, tmp_path / "0_dB_fan" / "fan" / "id_02" / "normal" / "00000001.wav")
    problems = checks.check(tmp_path, SHORT).problems
    assert len(problems) == 1
    assert "id_02/normal/00000001.wav: the same recording as" in problems[0]


def test_check_without_recordings(tmp_path):
    """A folder without machines is an error that says what is expected."""
    with pytest.raises(MimiiError, match="no machine found; expected folders like -6_dB_fan"):
        checks.check(tmp_path)
    (tmp_path / "mimii" / "-6_dB_fan" / "fan" / "id_00").mkdir(parents=True)
    with pytest.raises(MimiiError, match="no machine found, only mimii; expected"):
        checks.check(tmp_path)


def test_check_says_what_is_missing_and_what_to_do(tmp_path, wav):
    """Clips and IDs that MIMII has and the folder has not, or the other way round, are named with a remedy."""
    for k in range(2):
        wav(tmp_path / "-6_dB_fan" / "fan" / "id_00" / "normal" / f"{k:08d}.wav", seed=k, samples=16_000)
    report = checks.check(tmp_path, SHORT)
    assert report.problems == []
    said = "\n".join(report.differences)
    assert (
        "-6_dB_fan/fan: id_00 has 2 normal clips, MIMII 1011; take the folder away and unpack its archive again" in said
    )
    assert "-6_dB_fan/fan: id_00 has 0 abnormal clips, MIMII 407; take" in said
    for machine_id in ("id_02", "id_04", "id_06"):
        assert f"{machine_id} is missing" in said


def test_check_does_not_fear_the_numbers_that_are_uncertain(monkeypatch, tmp_path, wav):
    """Where the published number of clips is not certain, a difference is told as such."""
    monkeypatch.setitem(paper.MIMII["pump"], "id_02", paper.ClipCount(3, 1))
    folder = tmp_path / "-6_dB_pump" / "pump" / "id_02"
    for k in range(2):
        wav(folder / "normal" / f"{k:08d}.wav", seed=k, samples=16_000)
    wav(folder / "abnormal" / "00000000.wav", seed=9, samples=16_000)
    first = checks.check(tmp_path, SHORT).differences[0]
    assert "id_02 has 2 normal clips, MIMII 3 (a number that is not certain: if the four have" in first


def test_check_finds_files_that_no_layout_has(tmp_path, wav):
    """A wav file in a place, or by a name, that tells no machine ID and label is named, and so are odd channels."""
    wav(tmp_path / "fan" / "train" / "normal_id_00_00000000.wav", seed=0, samples=16_000)
    wav(tmp_path / "fan" / "train" / "recording.wav", seed=1, samples=16_000)
    stereo = np.random.default_rng(0).standard_normal((16_000, 2)) / 10
    (tmp_path / "fan" / "test").mkdir()
    soundfile.write(tmp_path / "fan" / "test" / "anomaly_id_00_00000000.wav", stereo, 16_000)
    report = checks.check(tmp_path, SHORT)
    assert [problem.split(":")[0] for problem in report.problems] == ["fan/train/recording.wav"]
    assert any("id_00 has files of 2 channels" in each for each in report.differences)


def test_check_leaves_the_recordings_as_they_are(tiny):
    """Looking changes nothing: no file is made, no date is touched."""

    def seen():
        states = [(path, path.stat()) for path in sorted(tiny.rglob("*"))]
        return [(path, state.st_size, state.st_mtime_ns, state.st_ctime_ns) for path, state in states]

    before = seen()
    checks.check(tiny)
    assert seen() == before


@pytest.mark.parametrize("link", ["nowhere", "empty"])
def test_a_file_that_cannot_be_opened_is_seen(link, tmp_path, wav):
    """A link to nowhere and an empty file are faults of their own, not the end of the look."""
    folder = tmp_path / "fan" / "id_00" / "normal"
    wav(folder / "00000000.wav", samples=16_000)
    odd = folder / "00000001.wav"
    odd.symlink_to(tmp_path / "nowhere") if link == "nowhere" else odd.touch()
    good, bad = checks.inspect(tmp_path, ["fan/id_00/normal/00000000.wav", "fan/id_00/normal/00000001.wav"], SHORT)
    assert (good.fault, good.channels) == ("", 1)
    assert len(good.sha256) == 64
    assert bad.fault.startswith("fan/id_00/normal/00000001.wav: cannot be read")


def test_check_names_a_folder_without_recordings(tmp_path, wav):
    """A folder whose name promises recordings and holds none is a problem, not nothing."""
    wav(tmp_path / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav", samples=16_000)
    (tmp_path / "-6_dB_slider" / "SLIDER").mkdir(parents=True)
    (problem,) = checks.check(tmp_path, SHORT).problems
    assert problem.startswith("-6_dB_slider: holds no recordings; expected -6_dB_slider/slider/id_00/normal")
