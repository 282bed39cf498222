"""Checks read every clip, and compare what is there with what MIMII has."""

import csv
import os
import shutil
from collections import Counter

import numpy as np
import pytest
import soundfile
from archives import DCASE, ENTRIES, MONO, NAME, clip, packed, register

from mimii_lib import dataset, paper
from mimii_lib.data import checks, download
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

SHORT = Imaging(seconds=1)


@pytest.fixture
def second(wav):
    """Return a function that writes clips of one second, numbered from 0, and returns their folder."""

    def write(folder, count=1, seed=0):
        for k in range(count):
            wav(folder / f"{k:08d}.wav", seed=seed + k, samples=16_000)
        return folder

    return write


def test_check_counts_real_recordings(real):
    """The table has the clips and channels of every SNR, machine type and ID as the manifest lists them."""
    with (real / "MANIFEST.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    counts, channels = Counter(), {}
    for row in rows:
        outer, machine, machine_id, label, _ = row["path"].split("/")
        key = (int(outer.split("_dB_")[0]), machine, machine_id)
        counts[key, label] += 1
        channels[key] = row["channels"]
    report = checks.check(real)
    assert report.problems == []
    table = report.table.set_index(["snr", "machine", "id"])
    assert table.channels.to_dict() == channels
    assert {(key, label): n for label in ("normal", "abnormal") for key, n in table[label].items() if n} == counts
    assert "skipped" not in table.remarks[-6, "slider", "id_00"]
    assert "skipped: no abnormal clip" in table.remarks[-6, "pump", "id_02"]
    assert table.remarks.str.contains("MIMII has").all()


def test_check_finds_planted_faults(tmp_path, second, wav):
    """Every silent, repeated, truncated, foreign, empty or lost file is named with the fault, and no other file."""
    folder = second(tmp_path / "0_dB_pump" / "pump" / "id_00" / "normal", 12)
    abnormal = second(folder.with_name("abnormal"), seed=50)
    soundfile.write(folder / "00000003.wav", np.zeros(16_000), 16_000)
    shutil.copy(folder / "00000001.wav", abnormal / "00000005.wav")
    again = soundfile.read(folder / "00000002.wav", dtype="int16")[0]
    soundfile.write(abnormal / "00000007.wav", np.stack([again, again], axis=1), 16_000, format="WAVEX")
    (abnormal / "00000008.wav").mkdir()
    os.mkfifo(abnormal / "00000009.wav")
    soundfile.write(abnormal / "00000006.wav", np.append(np.zeros(15_999), 1e25), 16_000, subtype="FLOAT")
    content = (folder / "00000007.wav").read_bytes()
    (folder / "00000007.wav").write_bytes(content[: len(content) // 2])
    wav(folder / "00000008.wav", rate=8_000, samples=16_000)
    (folder / "00000009.wav").write_bytes(b"")
    (folder / "00000012.wav").symlink_to(tmp_path / "nowhere")
    other_id = folder.parents[1] / "id_02" / "normal"
    other_id.mkdir(parents=True)
    shutil.copy(folder / "00000000.wav", other_id)
    report = checks.check(tmp_path, SHORT)
    faults = dict(problem.removeprefix("0_dB_pump/pump/").split(": ", 1) for problem in report.problems)
    expected = {
        "id_00/normal/00000003.wav": "silent",
        "id_00/abnormal/00000005.wav": "same recording as 0_dB_pump/pump/id_00/normal/00000001.wav",
        "id_00/abnormal/00000007.wav": "same recording as 0_dB_pump/pump/id_00/normal/00000002.wav",
        "id_00/abnormal/00000008.wav": "no regular file",
        "id_00/abnormal/00000009.wav": "no regular file",
        "id_00/normal/00000007.wav": "samples",
        "id_00/normal/00000008.wav": "8000 Hz",
        "id_00/normal/00000009.wav": "cannot be read",
        "id_00/normal/00000012.wav": "cannot be read",
        "id_00/abnormal/00000006.wav": "a sample of 1e+25",
    }
    assert faults.keys() == expected.keys()
    assert all(expected[path] in fault for path, fault in faults.items())
    assert "id_02/normal/00000000.wav: is also among the clips of 0_dB_pump/pump id_00" in "\n".join(report.differences)
    assert report.table[["normal", "abnormal"]].to_numpy().tolist() == [[13, 6], [1, 0]]


def test_check_without_recordings(tmp_path, second):
    """A folder without machines is an error that names what is expected; an empty folder among others a problem."""
    with pytest.raises(MimiiError, match="no machine found; expected folders like -6_dB_fan"):
        checks.check(tmp_path)
    second(tmp_path / "mimii" / "-6_dB_fan" / "fan" / "id_00" / "normal")
    with pytest.raises(MimiiError, match="no machine found, only mimii; expected"):
        checks.check(tmp_path)
    (tmp_path / "mimii" / "-6_dB_slider" / "SLIDER").mkdir(parents=True)
    (problem,) = checks.check(tmp_path / "mimii", SHORT).problems
    assert problem.startswith("-6_dB_slider: holds no recordings; expected -6_dB_slider/slider/id_00/normal")


def test_check_names_what_is_missing_and_what_to_do(monkeypatch, tmp_path, second):
    """Clips and IDs that MIMII has and the folder has not, or the other way round, are named with a remedy."""
    monkeypatch.setitem(paper.MIMII["pump"], "id_02", paper.ClipCount(3, 0))
    second(tmp_path / "-6_dB_fan" / "fan" / "id_00" / "normal", 2)
    for label, seed in (("normal", 2), ("abnormal", 3)):
        second(tmp_path / "-6_dB_pump" / "pump" / "id_02" / label, seed=seed)
    report = checks.check(tmp_path, SHORT)
    assert report.problems == []
    for difference in (
        "fan: id_00 has 2 normal clips, MIMII 1011; take the folder away and unpack its archive again",
        "fan: id_00 has 0 abnormal clips, MIMII 407; take the folder away",
        "fan: id_02 is missing; take the folder away",
        "pump: id_02 has 1 normal clips, MIMII 3; take the folder away",
        "pump: id_02 has 1 abnormal clips, MIMII 0; take out what is not MIMII's",
    ):
        assert difference in "\n".join(report.differences)


def test_check_finds_files_that_no_layout_has(tmp_path, wav):
    """A wav file whose place and name tell no machine ID and label is named, and so are odd channels."""
    wav(tmp_path / "fan" / "train" / "normal_id_00_00000000.wav", seed=0, samples=16_000)
    wav(tmp_path / "fan" / "train" / "recording.wav", seed=1, samples=16_000)
    (tmp_path / "fan" / "test").mkdir()
    stereo = np.random.default_rng(0).standard_normal((16_000, 2)) / 10
    soundfile.write(tmp_path / "fan" / "test" / "anomaly_id_00_00000000.wav", stereo, 16_000)
    report = checks.check(tmp_path, SHORT)
    assert [problem.split(":")[0] for problem in report.problems] == ["fan/train/recording.wav"]
    assert any("id_00 has files of 2 channels" in difference for difference in report.differences)


def test_check_leaves_the_recordings_as_they_are(tiny):
    """No file is made and no date is touched."""
    before = [(path, path.stat().st_ctime_ns) for path in sorted(tiny.rglob("*"))]
    assert checks.check(tiny).problems == []
    assert [(path, path.stat().st_ctime_ns) for path in sorted(tiny.rglob("*"))] == before


@pytest.mark.parametrize(("name", "entries"), [(DCASE, MONO), (NAME, ENTRIES)])
def test_check_tells_what_a_sample_lacks_and_fetches_the_rest(name, entries, tmp_path):
    """A sample, and a tree of either source, name what is missing and the command that fetches it."""
    archive = packed((path, clip(n, channels=1, samples=16_000)) for n, (path, _) in enumerate(entries))
    (tmp_path / name).write_bytes(archive)
    registry, folder = register({name: archive}, tmp_path / "registry.csv"), tmp_path / "some data"
    download.fetch(folder, snr=-6, machines=["fan"], clips=1, mirror=str(tmp_path), registry=registry)
    report = checks.check(folder, SHORT)
    source, tree = ("dcase2020", "fan") if name == DCASE else ("mimii", "-6_dB_fan/fan")
    fan, command = paper.MIMII["fan"].values(), f"`mimii download '{folder}' --snr -6 --machines"
    assert report.problems == []
    assert report.differences == [
        f"{tree}: a sample from {source} (checked by CRC-32 and size of each clip), 2 of {sum(i.normal for i in fan)} "
        f"normal and 2 of {sum(i.abnormal for i in fan)} abnormal clips; {command} fan --source {source}` fetches the "
        "whole",
        f"no pump, slider, valve at -6 dB; {command} pump slider valve` fetches what is missing",
    ]
    assert report.table.remarks.str.contains("a sample, MIMII has").all()
    (folder / dataset.DOWNLOADED).unlink()  # recordings that no record calls a sample
    first = checks.check(folder, SHORT).differences[0]
    assert first.startswith(
        f"{tree}: id_00 has 1 normal clips, MIMII 1011; take the folder away and unpack its archive"
    )
    assert f"{command} fan{' --source dcase2020' if name == DCASE else ''}` does" in first
