"""§4 Dataset: MIMII's tree, its clips and their splits."""

import itertools
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from mimii_lib import dataset, paper
from mimii_lib.errors import MimiiError
from mimii_lib.run import Run
from mimii_lib.settings import Detectors, Imaging, Settings, Split

stated = pytest.mark.paper


def clip_table(**counts):
    """Return a clip table of machine IDs with (normal, abnormal) clips, without files."""
    rows = [
        (machine_id, label, f"-6_dB_fan/fan/{machine_id}/{label}/{index:08d}.wav")
        for machine_id, numbers in counts.items()
        for label, number in zip(dataset.LABELS, numbers, strict=True)
        for index in range(number)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "path"])


def ordered(splits):
    return splits.sort_values(["seed", "path"]).reset_index(drop=True)


@pytest.fixture
def tree(tmp_path, wav):
    """Return a data folder with one machine, two IDs, two normal clips and one abnormal clip each."""
    names = ("normal/00000000.wav", "normal/00000001.wav", "abnormal/00000000.wav")
    for seed, (machine_id, name) in enumerate(itertools.product(("id_00", "id_02"), names)):
        wav(tmp_path / "data" / "-6_dB_fan" / "fan" / machine_id / name, seed=seed, samples=16_000)
    return tmp_path / "data"


def as_dcase(folder, to, test=()):
    """Copy MIMII's machine folder `folder` to DCASE's layout at `to`; the names in `test`, and anomalies, test."""
    for wav in sorted(folder.glob("id_*/*/*.wav")):
        label = "normal" if wav.parent.name == "normal" else "anomaly"
        number = wav.stem.removeprefix(f"{label}_{wav.parent.parent.name}_")
        part = to / ("test" if label == "anomaly" or number in test else "train")
        part.mkdir(parents=True, exist_ok=True)
        shutil.copy(wav, part / f"{label}_{wav.parent.parent.name}_{number}.wav")


@stated("§4", "MIMII: four machine types, four product models each", code="dataset.clips")
def test_the_clip_table_of_mimiis_tree(tree):
    """A clip's ID, label and relative path follow from its folders; machine IDs can be selected."""
    table = dataset.clips(tree, "fan", -6)
    assert list(table.columns) == ["id", "label", "path"]
    assert len(table) == 6
    for row in table.itertuples():
        assert row.path.startswith(f"-6_dB_fan/fan/{row.id}/{row.label}/")
        assert (tree / row.path).is_file()
    assert set(dataset.clips(tree, "fan", -6, ["id_02"]).id) == {"id_02"}


def test_the_tree_without_its_outer_folder(tree):
    """Below the folder that names the SNR the clips are the same, and its name still gives the SNR."""
    with_outer = dataset.clips(tree, "fan", -6)
    without = dataset.clips(tree / "-6_dB_fan", "fan", -6)
    pd.testing.assert_frame_equal(without, with_outer.assign(path=with_outer.path.str.removeprefix("-6_dB_fan/")))
    assert set(dataset.trees(tree / "-6_dB_fan")) == {(-6, "fan")}
    with pytest.raises(MimiiError, match="fan at -6 dB"):
        dataset.clips(tree / "-6_dB_fan", "fan", 6)


def test_only_wav_files_are_clips(tree):
    """Hidden files, text files and folders beside the clips are no clips, and a machine ID may lack a class."""
    before, folder = dataset.clips(tree, "fan", -6), tree / "-6_dB_fan" / "fan" / "id_00"
    (folder / "normal" / "._00000000.wav").write_bytes(b"x")
    (folder / "normal" / "notes.txt").write_text("x")
    (folder / "normal" / "more").mkdir()
    pd.testing.assert_frame_equal(dataset.clips(tree, "fan", -6), before)
    shutil.rmtree(folder / "abnormal")
    assert Counter(dataset.clips(tree, "fan", -6, ["id_00"]).label) == {"normal": 2}


@stated(
    "§4",
    "recordings at “6dB”",
    code="dataset.clips",
    setting="snr",
    remark="the text has lost its minus signs; open point 1",
)
def test_recordings_at_minus_6_db_are_the_default(tmp_path, wav):
    """Of recordings at several SNRs a run reads those at -6 dB, unless it names another."""
    paths = {snr: f"{snr}_dB_fan/fan/id_00/normal/00000000.wav" for snr in (-6, 0, 6)}
    for snr, path in paths.items():
        wav(tmp_path / path, seed=snr + 6)
    assert list(Run("fan", data=tmp_path).clips.path) == [paths[-6]]
    assert list(Run("fan", data=tmp_path, snr=6).clips.path) == [paths[6]]


@pytest.mark.parametrize(
    ("machine", "snr", "ids", "names"),
    [
        ("drone", -6, None, "drone.*fan, pump, slider, valve"),
        ("valve", -6, None, "valve.*fan at -6 dB"),
        ("fan", 6, None, "6 dB.*fan at -6 dB"),
        ("fan", -6, ["id_04"], "id_04.*id_00, id_02"),
    ],
)
def test_missing_recordings_are_named(tree, machine, snr, ids, names):
    """A machine type, SNR or ID without recordings is an error that says which there are."""
    with pytest.raises(MimiiError, match=rf"\A.*{names}.*\Z"):
        dataset.clips(tree, machine, snr, ids)
    with pytest.raises(MimiiError, match="nowhere: no such folder"):
        dataset.data_folder(tree / "nowhere")


@pytest.mark.parametrize("machine", paper.MACHINES)
def test_both_layouts_hold_the_same_clips(machine, real, tmp_path):
    """The same real recordings, laid out as DCASE ships them, have the same IDs, labels and waveforms."""
    as_dcase(real / f"-6_dB_{machine}" / machine, tmp_path / machine, test={"00000005"})
    mimii, dcase = (
        sorted((row.id, row.label, dataset.read(data / row.path).tobytes()) for row in table.itertuples())
        for data in (real, tmp_path)
        for table in [dataset.clips(data, machine, -6)]
    )
    assert mimii == dcase
    assert {path.split("/")[1] for path in dataset.clips(tmp_path, machine, -6).path} == {"train", "test"}


def test_dcases_layout(tmp_path, wav):
    """DCASE's layout is at -6 dB, another SNR is an error; clips of one name in train and test are two."""
    for part in ("train", "test"):
        wav(tmp_path / "fan" / part / "normal_id_00_00000000.wav", samples=16_000)
    paths = [f"fan/{part}/normal_id_00_00000000.wav" for part in ("test", "train")]
    assert list(dataset.clips(tmp_path, "fan", -6).path) == paths
    with pytest.raises(MimiiError, match="no recordings of the fan at 6 dB; found fan at -6 dB"):
        dataset.clips(tmp_path, "fan", 6)


def test_a_name_that_is_no_text_is_refused(tree):
    """A clip whose name is not UTF-8 cannot stand in a table: an error names it."""
    (tree / "-6_dB_fan/fan/id_00/normal" / os.fsdecode(b"\xff.wav")).write_bytes(b"")
    with pytest.raises(MimiiError, match=r"id_00/normal/\\xff.wav' is no name in UTF-8; rename it"):
        dataset.clips(tree, "fan", -6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open every folder")
def test_a_folder_without_rights_is_named(tree):
    """A machine type whose folder cannot be opened is not left out without a word; other folders are."""
    (tree / "lost+found").mkdir(mode=0)
    assert set(dataset.trees(tree)) == {(-6, "fan")}
    (tree / "-6_dB_pump").mkdir(mode=0)
    with pytest.raises(MimiiError, match="-6_dB_pump: cannot be opened"):
        dataset.trees(tree)


def test_two_folders_of_one_machine_are_refused(tree):
    """The same machine at the same SNR in both layouts is an error that names both folders."""
    as_dcase(tree / "-6_dB_fan" / "fan", tree / "fan")
    with pytest.raises(MimiiError, match="-6_dB_fan/fan and fan both hold the fan at -6 dB"):
        dataset.clips(tree, "fan", -6)


@stated(
    "§4", "single-channel", code="dataset.read", setting="imaging.channel", remark="the files have eight; open point 4"
)
def test_the_channel_of_a_file(tmp_path):
    """By default the first of 8 channels is read, in [-1, 1]; channel k is column k, and no two are the same.

    A mono file has the same waveform for every setting; of two channels there is no channel 3.
    """
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (160_000, 8)).astype(np.int16)
    path = tmp_path / "some.wav"
    soundfile.write(path, samples, 16_000)
    channels = np.stack([dataset.read(path, Imaging(channel=channel)) for channel in range(8)], axis=1)
    np.testing.assert_array_equal(channels * 2**15, samples)
    np.testing.assert_array_equal(dataset.read(path), channels[:, 0])
    assert len(np.unique(channels, axis=1).T) == 8
    mean = dataset.read(path, Imaging(channel="mean"))
    assert (mean.dtype, mean.shape) == (np.float32, (160_000,))
    np.testing.assert_allclose(mean, samples.mean(axis=1) / 2**15, atol=1e-7)

    soundfile.write(path, samples[:, 0], 16_000)
    for channel in (0, 5, "mean"):
        np.testing.assert_array_equal(dataset.read(path, Imaging(channel=channel)) * 2**15, samples[:, 0])
    soundfile.write(path, samples[:, :2], 16_000)
    with pytest.raises(MimiiError, match=r"some\.wav.*2 channels.*no channel 3"):
        dataset.read(path, Imaging(channel=3))


def _cut(size):
    return lambda path, wav: path.write_bytes(wav(path).read_bytes()[:size])


def _float(path, sample):
    soundfile.write(path, np.append(np.full(159_999, 0.1), sample), 16_000, subtype="FLOAT")


FAULTS = {
    "another rate": (lambda path, wav: wav(path, rate=44_100), "44100 Hz.*expected 16000"),
    "too short": (lambda path, wav: wav(path, samples=159_999), "159999 samples.*expected 160000"),
    "empty file": (_cut(0), "cannot be read as a wav file.*0 bytes"),
    "no wav": (lambda path, wav: path.write_text("this is no sound"), "cannot be read as a wav file"),
    "truncated": (_cut(100_000), "samples.*expected 160000|cannot be read"),
    "half a header": (_cut(20), "cannot be read as a wav file"),
    "not finite": (lambda path, wav: _float(path, np.nan), "not finite"),
    "far above full scale": (lambda path, wav: _float(path, 1e25), r"a sample of 1e\+25, expected ±1"),
    "missing": (lambda path, wav: None, "no such file"),
    "a folder": (lambda path, wav: path.mkdir(), r"cannot be read as a wav file \(no regular file\)"),
    "a pipe": (lambda path, wav: os.mkfifo(path), r"cannot be read as a wav file \(no regular file\)"),
}


@stated("§4", "10 s long", code="dataset.read", setting="imaging.seconds")
@stated("§4", "16 kHz", code="dataset.read", setting="imaging.sample_rate")
@pytest.mark.parametrize("fault", FAULTS)
def test_a_clip_that_cannot_be_used_is_named(fault, tmp_path, wav):
    """A file that is not 10 s of sound at 16 kHz is an error of one sentence that names the file and its fault."""
    spoil, names = FAULTS[fault]
    path = tmp_path / "00000007.wav"
    spoil(path, wav)
    with pytest.raises(MimiiError, match=rf"\A{path}.*({names}).*\Z"):
        dataset.read(path)


SIZES = [(20, 4), (21, 0), (10, 300), (299, 149), (300, 150), (301, 151), (1068, 356), (1, 1)]


@stated("§3", "no anomalous recording is seen in training", code="dataset.split")
@stated("§5", "150 normal clips are taken out for testing", code="dataset.split", setting="split.test_clips")
@stated(
    "§5",
    "as many abnormal clips are added",
    code="dataset.split",
    setting="split.balanced",
    remark="most IDs have fewer; open point 2",
)
@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_the_sizes_of_a_split(normal, abnormal, seed):
    """min(150, half) of the normals and min(150, all) abnormals test, other normal clips train, none is taken twice."""
    table = clip_table(id_00=(normal, abnormal), id_02=(normal + 3, abnormal))
    splits = dataset.split(table, [seed]).merge(table, on="path")
    assert splits.path.is_unique
    sizes = Counter(splits[splits.id == "id_00"][["role", "label"]].itertuples(index=False, name=None))
    tested = min(150, normal // 2)
    expected = {
        ("test", "normal"): tested,
        ("test", "abnormal"): min(150, abnormal),
        ("train", "normal"): normal - tested,
    }
    assert sizes == Counter(expected)
    assert set(Counter(dataset.split(clip_table(id_00=(20, 20)), [0], Split(test_clips=4)).role).values()) == {16, 8}


@pytest.mark.parametrize("seed", [0, 7])
@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_a_balanced_test_set(normal, abnormal, seed):
    """Balanced, as many normal clips test as abnormal ones; they are part of the full test set, and training stays."""
    table = clip_table(id_00=(normal, abnormal), id_02=(normal + 3, abnormal))
    full, balanced = (dataset.split(table, [seed], Split(balanced=value)).merge(table) for value in (False, True))
    pd.testing.assert_frame_equal(*(ordered(splits[splits.role == "train"]) for splits in (full, balanced)))
    test = balanced[balanced.role == "test"]
    assert set(test.path) <= set(full.path[full.role == "test"])
    for machine_id, most in [("id_00", normal // 2), ("id_02", (normal + 3) // 2)]:
        sizes = Counter(test.label[test.id == machine_id])
        assert sizes["normal"] == sizes["abnormal"] == min(150, most, abnormal)


@stated("§5", "five seeds, each with its own split", code="dataset.split", setting="seeds")
def test_each_seed_is_another_split():
    """Five seeds give five different sets of training clips, and of abnormal test clips where there is a choice."""
    table = clip_table(id_00=(400, 200))
    splits = dataset.split(table, range(5)).merge(table, on="path")
    for role, label in [("train", "normal"), ("test", "abnormal")]:
        of_role = splits[(splits.role == role) & (splits.label == label)]
        assert len({frozenset(paths) for _, paths in of_role.groupby("seed").path}) == 5


@pytest.mark.parametrize("seed", [0, 4])
def test_a_split_depends_on_the_seed_and_the_clips_only(seed):
    """The same seed gives the same split, whatever the order of the table, the other seeds and the other IDs."""
    table = clip_table(id_00=(30, 8), id_02=(25, 5), id_04=(40, 4))
    drawn = ordered(dataset.split(table, [seed]))
    shuffled = table.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(ordered(dataset.split(shuffled, [seed])), drawn)
    among_others = dataset.split(table, [2, seed, 9])
    pd.testing.assert_frame_equal(ordered(among_others[among_others.seed == seed]), drawn)
    alone = dataset.split(table[table.id == "id_02"], [seed])
    pd.testing.assert_frame_equal(ordered(alone), ordered(drawn[drawn.path.str.contains("id_02")]))


@pytest.fixture
def saved(tmp_path):
    """Return a clip table, splits of it, and a function that saves splits and returns the file."""
    table = clip_table(id_00=(20, 5), id_02=(15, 4))

    def save(splits):
        splits.to_csv(tmp_path / "splits.csv", index=False)
        return tmp_path / "splits.csv"

    return table, dataset.split(table, [0, 1]), save


def test_splits_come_back_as_they_were_saved(saved):
    """Saved splits are read back row by row; other seeds, other machines' clips and other columns are ignored."""
    table, splits, save = saved
    pd.testing.assert_frame_equal(dataset.load_split(save(splits), table, [0, 1]), splits)
    other = pd.DataFrame({"seed": [0], "path": ["-6_dB_pump/pump/id_00/normal/00000000.wav"], "role": ["train"]})
    file = save(pd.concat([splits.assign(note="x"), other]))
    expected = splits[splits.seed == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(dataset.load_split(file, table, [1]), expected)
    with pytest.raises(MimiiError, match=r"nowhere\.csv: no such file"):
        dataset.load_split(file.with_name("nowhere.csv"), table, [0])


@pytest.mark.parametrize("spelled", [r"./\g<0>", r"  \g<0> ", r"-6_dB_fan/../\g<0>"])
def test_rows_that_are_spelled_otherwise_count(saved, spelled):
    """A leading dot, blanks, and the backslashes of Windows change nothing: no row is left out without a word."""
    table, splits, save = saved
    other = splits.path.str.replace("^.*$", spelled, regex=True).str.replace("/", "\\")
    pd.testing.assert_frame_equal(dataset.load_split(save(splits.assign(path=other)), table, [0, 1]), splits)


def test_saved_splits_fit_a_part_of_dcases_layout(saved):
    """In DCASE's layout, where the clips of all machine IDs share a folder, splits of all IDs serve one of them."""
    _, splits, save = saved
    parts = splits.path.str.extract(r"(id_\d\d)/(\w+)/(\d+)")
    paths = "fan/train/" + parts[1].replace("abnormal", "anomaly") + "_" + parts[0] + "_" + parts[2] + ".wav"
    table = pd.DataFrame({"id": parts[0], "label": parts[1], "path": paths}).drop_duplicates()
    file = save(splits.assign(path=paths))
    loaded = dataset.load_split(file, table[table.id == "id_02"], [0, 1])
    assert len(loaded) == (parts[0] == "id_02").sum()
    with pytest.raises(MimiiError, match=f"{table.path[0]} is missing"):
        dataset.load_split(file, table[1:], [0, 1])
    with pytest.raises(MimiiError, match=r"cannot be read \(Is a directory\)"):
        dataset.load_split(file.parent, table, [0])


REFUSED = {
    "a missing column": (lambda splits: splits.drop(columns="role"), "not a CSV with the columns.*role"),
    "an abnormal clip in training": (
        lambda splits: splits.assign(role=splits.role.where(~splits.path.str.contains("/abnormal/"), "train")),
        "/abnormal/.* is abnormal and trains",
    ),
    "a clip that trains and tests": (
        lambda splits: pd.concat([splits, splits[splits.role == "test"].iloc[[0]].assign(role="train")]),
        "more than once",
    ),
    "a missing seed": (lambda splits: splits[splits.seed == 0], "seed 1: names no clip"),
    "another role": (lambda splits: splits.replace({"role": {"test": "odd"}}), "another role than train or test"),
    "an empty role": (lambda splits: splits.assign(role=[None, *splits.role[1:]]), "another role than train or test"),
    "seeds that are no numbers": (lambda splits: splits.assign(seed="first"), r"seed \(whole numbers\)"),
    "other machines only": (lambda splits: splits.replace("fan/fan", "pump/pump", regex=True), "names no clip"),
    "an unknown machine": (lambda splits: splits.replace("fan/fan", "van/van", regex=True), "is no path of a clip"),
    "absolute paths": (lambda splits: splits.assign(path="/data/" + splits.path), "is no path of a clip; expected"),
    "a path that is empty": (lambda splits: splits.assign(path=[None, *splits.path[1:]]), "is no path of a clip"),
    "another folder": (lambda splits: splits.replace("^-6_dB_fan/", "", regex=True), "is missing from the folder"),
    "nothing": (lambda splits: pd.DataFrame(), "not a CSV"),
    "a clip that is lost": (
        lambda splits: pd.concat([splits, splits.iloc[[0]].replace({r"\d{8}": "99999999"}, regex=True)]),
        "99999999.wav is missing from the folder",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_splits_that_mislead_are_refused(fault, saved):
    """A file of splits that lacks something, or would leak, is an error that names the file and the reason."""
    table, splits, save = saved
    change, names = REFUSED[fault]
    with pytest.raises(MimiiError, match=rf"splits.csv.*{names}.*\Z"):
        dataset.load_split(save(change(splits)), table, [0, 1])


def test_ids_that_cannot_be_evaluated_have_a_reason():
    """An ID without abnormal clips, with too few training clips or without a split is named.

    5 clips of 18 patches are enough for 80 mixture components; more components need more.
    """
    table = clip_table(id_00=(9, 3), id_02=(50, 0), id_04=(8, 3), id_06=(0, 3))
    splits = dataset.split(table, [0, 1])
    reasons = dataset.not_evaluable(table, splits)
    assert set(reasons) == {"id_02", "id_04", "id_06"}
    more = Settings(detectors=Detectors(n_components=91))
    assert "at least 6 needed" in dataset.not_evaluable(table, splits, more)["id_00"]
    for machine_id, reason in [("id_02", "no abnormal"), ("id_04", "4 left to train"), ("id_06", "0 left to train")]:
        assert reason in reasons[machine_id]
    other = splits[~splits.path.str.contains("id_00")]
    assert dataset.not_evaluable(table, other)["id_00"] == "not named in the splits"


def test_the_miniature_and_part_of_mimii_are_not_mimii(tiny, real):
    """The miniature is known as such, and a few recordings of MIMII are other recordings."""
    assert dataset.kind(tiny, dataset.clips(tiny, "fan", -6), "fan") == "miniature"
    assert dataset.kind(real, dataset.clips(real, "slider", -6), "slider") == "other recordings"


@pytest.mark.parametrize(
    ("machine", "machine_id", "normal", "abnormal", "kind"),
    [
        ("fan", "id_00", 1011, 407, "MIMII"),
        ("fan", "id_00", 1010, 407, "other recordings"),
        ("fan", "id_00", 1011, 406, "other recordings"),
        ("fan", "id_01", 1011, 407, "other recordings"),
        ("pump", "id_02", 1004, 111, "other recordings"),
    ],
)
def test_mimii_is_known_by_its_counts(machine, machine_id, normal, abnormal, kind):
    """A lost clip makes a machine ID no longer MIMII's."""
    table = clip_table(**{machine_id: (normal, abnormal)})
    assert dataset.kind(Path("nowhere"), table, machine) == kind
    whole = clip_table(**{name: (count.normal, count.abnormal) for name, count in paper.MIMII[machine].items()})
    assert dataset.kind(Path("nowhere"), whole, machine) == "MIMII"
