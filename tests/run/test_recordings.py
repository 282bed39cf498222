"""The recordings of a run: which clips there are, which cannot be used, and which train and test."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from mimii_lib import dataset, paper
from mimii_lib.data import checks
from mimii_lib.data.files import file_digest
from mimii_lib.errors import MimiiError
from mimii_lib.pages.run_box import facts
from mimii_lib.run import Run

BROKEN = ["-6_dB_fan/fan/id_00/normal/00000003.wav", "-6_dB_fan/fan/id_00/abnormal/00000001.wav"]
LEAVE_OUT = "split.unreadable=leave_out"


@pytest.fixture
def broken(fan_id_00):
    """Return a folder in which two clips of the fan's id_00 are cut short."""
    for path in BROKEN:
        (fan_id_00 / path).write_bytes((fan_id_00 / path).read_bytes()[:1000])
    return fan_id_00


def test_a_clip_that_cannot_be_used_stops_the_run(broken, run_on, nothing_new):
    """The error names it, how many more there are and how to go on, before anything is computed."""
    nothing_new()
    with pytest.raises(MimiiError) as error:
        run_on(data=broken).auc()
    assert all(text in str(error.value) for text in (BROKEN[0], "samples", LEAVE_OUT, "with 1 more"))
    assert BROKEN[1] not in str(error.value)


def test_clips_that_are_left_out_count_as_absent(broken, run_on, tmp_path):
    """Without broken clips the AUCs are those of a folder without these files, and pages and tables say so."""
    run = run_on(data=broken, settings=LEAVE_OUT)
    assert list(run.recordings.left_out) == BROKEN
    rest = shutil.copytree(broken, tmp_path / "rest")
    for path in BROKEN:
        (rest / path).unlink()
    pd.testing.assert_frame_equal(run.auc(), run_on(data=rest).auc())
    assert "2 clips that cannot be used" in facts([run]).data
    assert set(run.results.with_provenance(run.auc()).left_out) == {2}
    whole = run_on(settings=LEAVE_OUT)
    assert whole.recordings.left_out == {}
    assert "cannot be used" not in facts([whole]).data
    assert set(whole.results.with_provenance(whole.auc()).left_out) == {0}


@pytest.mark.parametrize("fault", ["silent", "the same recording"])
def test_a_check_and_a_run_agree(fan_id_00, run_on, fault):
    """What a check says cannot be used stops a run, or is left out of it."""
    first, second = (fan_id_00 / f"-6_dB_fan/fan/id_00/{name}.wav" for name in ("abnormal/00000000", "normal/00000001"))
    if fault == "silent":
        soundfile.write(first, np.zeros(160_000), 16_000)
    else:
        shutil.copy(second, first)
    (problem,) = checks.check(fan_id_00).problems
    assert fault in problem
    with pytest.raises(MimiiError, match=re.escape(f"{problem}, by the setting {LEAVE_OUT}")):
        run_on(data=fan_id_00).auc()
    run = run_on(data=fan_id_00, settings=LEAVE_OUT)
    assert list(run.recordings.left_out.values()) == [problem]
    assert first.relative_to(fan_id_00).as_posix() not in set(run.clips.path)


def test_a_clip_that_changes_during_a_run_stops_it(fan_id_00, run_on, tmp_path):
    """Two files that are exchanged after the run looked at them, and put back afterwards, leave no result behind."""
    run, expected = run_on(data=fan_id_00, cache=tmp_path / "cache"), run_on().auc()
    first, second = (fan_id_00 / run.clips.path[row] for row in (0, len(run.clips) - 1))
    contents = first.read_bytes(), second.read_bytes()
    for file, content in zip((first, second), contents[::-1], strict=True):
        file.write_bytes(content)
    with pytest.raises(MimiiError, match=f"{first}: changed since the run looked at it"):
        run.auc()
    for file, content in zip((first, second), contents, strict=True):
        file.write_bytes(content)
    pd.testing.assert_frame_equal(run_on(data=fan_id_00, cache=tmp_path / "cache").auc(), expected)


def test_many_links_to_few_clips_are_not_mimii(fan_id_00, run_on, monkeypatch):
    """The numbers of clips that MIMII has make nobody's recordings MIMII's where one clip stands for two."""
    monkeypatch.setitem(paper.MIMII["fan"], "id_00", paper.ClipCount(12, 3))
    assert run_on(data=fan_id_00).recordings.kind == "MIMII"
    (fan_id_00 / "-6_dB_fan/fan/id_00/normal/00000004.wav").unlink()
    (fan_id_00 / "-6_dB_fan/fan/id_00/normal/00000004.wav").symlink_to("00000005.wav")
    assert run_on(data=fan_id_00, settings=LEAVE_OUT).recordings.kind == "other recordings"


def test_a_machine_id_without_usable_clips_is_skipped(tiny, run_on, tmp_path):
    """A machine ID whose clips were all left out has a reason, alone and among others."""
    folder = tmp_path / "data"
    shutil.copytree(tiny / "-6_dB_fan", folder / "-6_dB_fan")
    for wav in folder.glob("*/*/id_00/*/*.wav"):
        wav.write_bytes(b"")
    parameters = {"data": folder, "settings": LEAVE_OUT}
    assert run_on(ids="id_00 id_02", **parameters).recordings.skipped == {"id_00": "every clip was left out"}
    with pytest.raises(MimiiError, match="id_00: every clip was left out"):
        _ = run_on(**parameters).ids


def test_a_machine_id_without_abnormal_clips_is_skipped(run_on, fan_id_00):
    """A machine ID that cannot be tested has a reason instead of AUCs."""
    shutil.copytree(fan_id_00 / "-6_dB_fan/fan/id_00", fan_id_00 / "-6_dB_fan/fan/id_02")
    shutil.rmtree(fan_id_00 / "-6_dB_fan/fan/id_02/abnormal")
    run = run_on(data=fan_id_00, ids=None)
    assert run.ids == ["id_00"]
    assert "no abnormal clip" in run.recordings.skipped["id_02"]
    assert set(run.auc().id) == {"id_00"}


def test_both_layouts_give_the_same_features(run_on, real, tmp_path):
    """A real clip has the same features in MIMII's layout and in DCASE's, in 8 channels and in the first of them."""
    folders = {name: tmp_path / name for name in ("eight", "mono", "dcase")}
    for label, prefix in zip(dataset.LABELS, ("normal", "anomaly"), strict=True):
        (wav,) = (real / "0_dB_fan" / "fan" / "id_00" / label).glob("*.wav")
        sound, rate = soundfile.read(wav, dtype="int16")
        assert sound.shape[1] == 8
        for file, samples in (
            (folders["eight"] / f"0_dB_fan/fan/id_00/{label}/{wav.name}", sound),
            (folders["mono"] / f"fan/id_00/{label}/{wav.name}", sound[:, 0]),
            (folders["dcase"] / f"fan/test/{prefix}_id_00_00000000.wav", sound[:, 0]),
        ):
            file.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(file, samples, rate, subtype="PCM_16")
    features = []
    for name, snr in (("eight", 0), ("mono", 0), ("dcase", -6)):
        run = run_on(data=folders[name], snr=snr)
        order = np.argsort(run.recordings.clips_of("id_00").label)
        features.append(run.features("id_00", "squeezenet1_1")[order])
    np.testing.assert_array_equal(features[0], features[1])
    np.testing.assert_array_equal(features[0], features[2])


@pytest.mark.parametrize("change", ["training and test normals exchanged", "one training clip less"])
def test_other_splits_are_another_fit(run_on, tmp_path, change):
    """A file of splits is used: other training clips give other scores."""
    drawn = run_on()
    splits = drawn.recordings.splits
    if change == "one training clip less":
        assert splits.role[0] == "train"
        splits = splits[1:]
    else:
        normal = splits.path.str.contains("/normal/")
        splits = splits.assign(role=splits.role.map({"train": "test", "test": "train"}).where(normal, splits.role))
    splits.to_csv(tmp_path / "splits.csv", index=False)
    given = run_on(splits=tmp_path / "splits.csv")
    origins = [side.results.with_provenance(side.auc()).splits.item() for side in (drawn, given)]
    assert origins[0] == "drawn by the seeds"
    assert origins[1] == f"file splits.csv, sha256 {file_digest(tmp_path / 'splits.csv')}"
    assert set(given.recordings.split_clips("id_00", 0, "train").path) == set(splits.path[splits.role == "train"])
    trial = ("id_00", "squeezenet1_1", "kde", 0)
    assert not np.allclose(given.scores(*trial), drawn.scores(*trial))


def test_saved_splits_go_on_without_clips_that_were_left_out(broken, run_on, tmp_path):
    """Where a clip is broken, the others keep the roles that saved splits give them."""
    whole = run_on().recordings.splits
    whole.to_csv(tmp_path / "splits.csv", index=False)
    run = run_on(data=broken, splits=tmp_path / "splits.csv", settings=LEAVE_OUT)
    pd.testing.assert_frame_equal(run.recordings.splits, whole[~whole.path.isin(BROKEN)].reset_index(drop=True))
    assert len(run.auc()) == 1


def test_a_balanced_test_set(run_on):
    """Balanced, as many normal as abnormal clips test, on detectors that were trained as before."""
    run = run_on()
    balanced = run.with_overrides(settings="split.balanced=true")
    sizes = [side.auc()[["n_train", "n_normal", "n_abnormal"]].iloc[0].tolist() for side in (run, balanced)]
    assert sizes == [[6, 6, 3], [6, 3, 3]]
    trains = [side.recordings.split_clips("id_00", 0, "train") for side in (run, balanced)]
    pd.testing.assert_frame_equal(*trains)
    whole, part = (side.clip_scores("id_00", "squeezenet1_1", "kde", 0) for side in (run, balanced))
    scores = dict(zip(whole.clips, whole.scores, strict=True))
    np.testing.assert_allclose(part.scores, [scores[name] for name in part.clips])


def test_a_profile_makes_its_miniature_once(profile, tmp_path):
    """A profile that names the size of a miniature makes one where its data folder is, and again only once."""
    file = profile(f"data: {tmp_path / 'data'}\nminiature: {{normal: 1, abnormal: 1}}\nids: [id_06]\n")
    run = Run("pump", profile=file)
    assert run.clips.label.to_list() == ["normal", "abnormal"]
    assert run.recordings.kind == "miniature"
    dates = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.wav")}
    Run("pump", profile=file)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.wav")} == dates


def test_what_a_run_does_not_hold_is_named(run_on):
    """A machine ID, a seed or an extractor that is not of this run is an error that names those that are."""
    run = run_on()
    with pytest.raises(MimiiError, match=r"id_99.*id_00"):
        run.features("id_99", "squeezenet1_1")
    with pytest.raises(MimiiError, match="seed: '7'.*expected one of 0"):
        run.recordings.split_clips("id_00", 7, "test")
    with pytest.raises(MimiiError, match="alexnet"):
        run.features("id_00", "alexnet")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"machine": "drone"}, "machine: 'drone' is not known; expected one of fan"),
        ({"ids": "id_00 id_99"}, "id_99.*expected one of id_00"),
        ({"snr": 6}, "fan at 6 dB.*fan at -6 dB"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"weights": "nowhere"}, "nowhere: no such folder"),
        ({"splits": "nowhere.csv"}, "nowhere.csv: no such file"),
    ],
)
def test_parameters_that_name_nothing_are_refused(run_on, parameters, message):
    """A parameter that names what is not there is an error of one sentence that names the parameter or the file."""
    with pytest.raises(MimiiError, match=message) as error:
        run_on(**parameters).auc()
    assert "\n" not in str(error.value)
