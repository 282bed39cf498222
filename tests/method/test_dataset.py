"""§4 Dataset: MIMII's tree, its clips and their splits."""

import itertools
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from mimii_lib import dataset, paper
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Detectors, Imaging, Settings, Split

SHORT = Imaging(seconds=1)


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


# The tree


@pytest.fixture
def tree(tmp_path, wav):
    """Return a data folder with one machine, two IDs, two normal clips and one abnormal clip each."""
    names = ("normal/00000000.wav", "normal/00000001.wav", "abnormal/00000000.wav")
    for seed, (machine_id, name) in enumerate(itertools.product(("id_00", "id_02"), names)):
        wav(tmp_path / "data" / "-6_dB_fan" / "fan" / machine_id / name, seed=seed, samples=16_000)
    return tmp_path / "data"


def test_reads_the_tree_of_mimii(tree):
    """A clip's ID, label and relative path follow from where it lies."""
    table = dataset.clips(tree, "fan", -6)
    assert list(table.columns) == ["id", "label", "path"]
    assert len(table) == 6
    for row in table.itertuples():
        assert row.path.startswith(f"-6_dB_fan/fan/{row.id}/{row.label}/")
        assert (tree / row.path).is_file()


def test_reads_the_tree_without_its_outer_folder(tree):
    """The folder that names the SNR may be missing: the clips are the same."""
    with_outer = dataset.clips(tree, "fan", -6)
    without = dataset.clips(tree / "-6_dB_fan", "fan", -6)
    pd.testing.assert_frame_equal(without, with_outer.assign(path=with_outer.path.str.removeprefix("-6_dB_fan/")))


def test_reads_chosen_ids_only(tree):
    """Only the machine IDs that were asked for are in the clip table."""
    assert set(dataset.clips(tree, "fan", -6, ["id_02"]).id) == {"id_02"}


def test_hidden_files_are_no_clips(tree):
    """What an operating system leaves beside the clips is not taken for sound."""
    before = dataset.clips(tree, "fan", -6)
    folder = tree / "-6_dB_fan" / "fan" / "id_00"
    (folder / "normal" / "._00000000.wav").write_bytes(b"x")
    (folder / "normal" / "notes.txt").write_text("x")
    (folder / ".DS_Store").write_bytes(b"x")
    pd.testing.assert_frame_equal(dataset.clips(tree, "fan", -6), before)


def test_an_id_may_lack_a_class(tree):
    """A machine ID without abnormal clips has normal ones all the same."""
    shutil.rmtree(tree / "-6_dB_fan" / "fan" / "id_00" / "abnormal")
    table = dataset.clips(tree, "fan", -6)
    assert Counter(table.label[table.id == "id_00"]) == {"normal": 2}


@pytest.mark.parametrize(
    ("machine", "snr", "ids", "names"),
    [
        ("drone", -6, None, "drone.*fan, pump, slider, valve"),
        ("valve", -6, None, "valve.*fan at -6 dB"),
        ("fan", 6, None, "6 dB.*fan at -6 dB"),
        ("fan", -6, ["id_04"], "id_04.*id_00, id_02"),
    ],
)
def test_what_is_not_there_is_named(tree, machine, snr, ids, names):
    """A machine type, SNR or ID that is not there is an error that says what is."""
    with pytest.raises(MimiiError, match=names) as error:
        dataset.clips(tree, machine, snr, ids)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """A data folder that does not exist is an error, and so is none."""
    with pytest.raises(MimiiError, match="nowhere: no such folder"):
        dataset.clips(tmp_path / "nowhere", "fan", -6)
    with pytest.raises(MimiiError, match="no folder named"):
        dataset.data_folder(None)


def test_real_recordings_have_mimiis_names_and_dcases(real):
    """Both MIMII's own names and those of DCASE 2020 are clips."""
    assert set(dataset.clips(real, "fan", 0).path.map(lambda path: Path(path).name)) == {"00000000.wav"}
    dcase = dataset.clips(real, "fan", -6)
    assert (dcase.path.str.contains("/anomaly_id_") == (dcase.label == "abnormal")).all()


# One clip


def test_the_channel_of_an_8_channel_file(tmp_path):
    """Channel 0 is read of 8 channels, another one where it is asked for, and the only one of a mono file."""
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, (16_000, 8)).astype(np.int16)
    soundfile.write(tmp_path / "8.wav", sound, 16_000)
    soundfile.write(tmp_path / "1.wav", sound[:, 0], 16_000)
    first = sound[:, 0] / np.float32(2**15)
    np.testing.assert_array_equal(dataset.read(tmp_path / "8.wav", SHORT), first)
    np.testing.assert_array_equal(dataset.read(tmp_path / "1.wav", SHORT), first)
    fifth = dataset.read(tmp_path / "8.wav", Imaging(seconds=1, channel=5))
    np.testing.assert_array_equal(fifth, sound[:, 5] / np.float32(2**15))
    np.testing.assert_array_equal(dataset.read(tmp_path / "1.wav", Imaging(seconds=1, channel=5)), first)


def test_real_8_channel_recordings(real):
    """Of a real recording with 8 channels the first one is read, in [-1, 1]."""
    path = real / "0_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav"
    sound, _ = soundfile.read(path, dtype="int16")
    assert sound.shape == (160_000, 8)
    found = dataset.read(path)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found * 2**15, sound[:, 0])


def eight_channels(folder):
    """Return a file of 8 channels that differ: a real one where there is one, else a made one."""
    real = sorted((Path(__file__).resolve().parents[3] / "shared" / "real_mimii").glob("0_dB_*/*/id_*/normal/*.wav"))
    if real:
        return real[0]
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, (160_000, 8)).astype(np.int16)
    soundfile.write(folder / "8.wav", sound, 16_000)
    return folder / "8.wav"


@pytest.mark.parametrize("channel", range(8))
def test_each_channel_can_be_read(channel, tmp_path):
    """Channel k of a recording with 8 is its column k, and no two are the same."""
    path = eight_channels(tmp_path)
    sound, _ = soundfile.read(path, dtype="int16")
    found = dataset.read(path, Imaging(channel=channel))
    np.testing.assert_array_equal(found * 2**15, sound[:, channel])
    assert not np.array_equal(found * 2**15, sound[:, (channel + 1) % 8])


def test_the_mean_of_all_channels(tmp_path):
    """The mean of 8 channels is their mean at every sample; of a file of one channel it is that channel."""
    path = eight_channels(tmp_path)
    sound, _ = soundfile.read(path, dtype="int16")
    found = dataset.read(path, Imaging(channel="mean"))
    assert (found.dtype, found.shape) == (np.float32, (160_000,))
    np.testing.assert_allclose(found, sound.mean(axis=1) / 2**15, atol=1e-7)
    soundfile.write(tmp_path / "1.wav", sound[:, 0], 16_000)
    np.testing.assert_array_equal(dataset.read(tmp_path / "1.wav", Imaging(channel="mean")) * 2**15, sound[:, 0])


def test_a_channel_that_is_not_there(tmp_path, wav):
    """A file of two channels has no channel 3, and the error names the file."""
    soundfile.write(tmp_path / "two.wav", np.zeros((16_000, 2)) + 0.1, 16_000)
    with pytest.raises(MimiiError, match=r"two\.wav.*2 channels.*no channel 3"):
        dataset.read(tmp_path / "two.wav", Imaging(seconds=1, channel=3))


def _empty(path, wav):
    path.write_bytes(b"")


def _text(path, wav):
    path.write_text("this is no sound")


def _truncated(path, wav):
    wav(path)
    path.write_bytes(path.read_bytes()[:100_000])


def _header_only(path, wav):
    wav(path)
    path.write_bytes(path.read_bytes()[:20])


def _not_finite(path, wav):
    sound = np.zeros(160_000, np.float32)
    sound[1000] = np.nan
    soundfile.write(path, sound, 16_000, subtype="FLOAT")


FAULTS = {
    "another rate": (lambda path, wav: wav(path, rate=44_100), "44100 Hz.*expected 16000"),
    "too short": (lambda path, wav: wav(path, samples=159_999), "159999 samples.*expected 160000"),
    "too long": (lambda path, wav: wav(path, samples=160_001), "160001 samples.*expected 160000"),
    "no samples": (lambda path, wav: wav(path, samples=0), "0 samples|cannot be read"),
    "empty file": (_empty, "cannot be read as a wav file.*0 bytes"),
    "no wav": (_text, "cannot be read as a wav file"),
    "truncated": (_truncated, "samples.*expected 160000|cannot be read"),
    "half a header": (_header_only, "cannot be read as a wav file"),
    "not finite": (_not_finite, "not finite"),
    "no such file": (lambda path, wav: None, "no such file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_clip_that_cannot_be_used_is_named(fault, tmp_path, wav):
    """A file that is not 10 s of sound at 16 kHz is an error of one sentence that names the file and what was found."""
    spoil, names = FAULTS[fault]
    path = tmp_path / "00000007.wav"
    spoil(path, wav)
    with pytest.raises(MimiiError, match=names) as error:
        dataset.read(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


# Splits

SIZES = [(20, 4), (21, 0), (10, 300), (299, 149), (300, 150), (301, 151), (1068, 356), (1, 1)]


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_a_split_never_leaks(normal, abnormal, seed):
    """No clip both trains and tests, no clip is taken twice, and an abnormal clip never trains."""
    table = clip_table(id_00=(normal, abnormal), id_02=(normal + 3, abnormal))
    splits = dataset.split(table, [seed]).merge(table, on="path")
    assert splits.path.is_unique
    train = splits[splits.role == "train"]
    assert (train.label == "normal").all()
    assert set(train.path).isdisjoint(splits.path[splits.role == "test"])


@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_the_sizes_of_a_split(normal, abnormal):
    """min(150, half) of the normals and min(150, all) abnormals test, and every other normal clip trains."""
    table = clip_table(id_00=(normal, abnormal))
    sizes = Counter(
        dataset.split(table, [3]).merge(table, on="path")[["role", "label"]].itertuples(index=False, name=None)
    )
    tested = min(150, normal // 2)
    assert sizes["test", "normal"] == tested
    assert sizes["test", "abnormal"] == min(150, abnormal)
    assert sizes["train", "normal"] == normal - tested


def test_the_size_of_the_test_set_is_a_setting():
    """A smaller test set leaves more to train on."""
    table = clip_table(id_00=(20, 20))
    sizes = Counter(dataset.split(table, [0], Split(test_clips=4)).role)
    assert sizes == {"train": 16, "test": 8}


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize(("normal", "abnormal"), SIZES)
def test_a_balanced_test_set(normal, abnormal, seed):
    """Balanced, as many normal clips test as abnormal ones; they are of those that test anyway, and training stays."""
    table = clip_table(id_00=(normal, abnormal), id_02=(normal + 3, abnormal))
    full = dataset.split(table, [seed]).merge(table, on="path")
    balanced = dataset.split(table, [seed], Split(balanced=True)).merge(table, on="path")
    pd.testing.assert_frame_equal(*(ordered(each[each.role == "train"]) for each in (full, balanced)))
    test = balanced[balanced.role == "test"]
    assert set(test.path) <= set(full.path[full.role == "test"])
    for machine_id, most in [("id_00", normal // 2), ("id_02", (normal + 3) // 2)]:
        sizes = Counter(test.label[test.id == machine_id])
        assert sizes["normal"] == sizes["abnormal"] == min(150, most, abnormal)


def test_each_seed_is_another_split():
    """Five seeds give five different sets of training clips, and of abnormal test clips where there is a choice."""
    table = clip_table(id_00=(400, 200))
    splits = dataset.split(table, range(5)).merge(table, on="path")
    for role, label in [("train", "normal"), ("test", "abnormal")]:
        here = splits[(splits.role == role) & (splits.label == label)]
        assert len({frozenset(one.path) for _, one in here.groupby("seed")}) == 5


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
    splits = dataset.split(table, [0, 1])

    def save(changed):
        changed.to_csv(tmp_path / "splits.csv", index=False)
        return tmp_path / "splits.csv"

    return table, splits, save


def test_splits_come_back_as_they_were_saved(saved):
    """A saved split is read back row by row."""
    table, splits, save = saved
    pd.testing.assert_frame_equal(dataset.load_split(save(splits), table, [0, 1]), splits)


def test_a_file_of_splits_may_hold_more(saved):
    """Other seeds, other machines' clips and other columns of a file are passed over."""
    table, splits, save = saved
    other = pd.DataFrame({"seed": [0], "path": ["-6_dB_pump/pump/id_00/normal/00000000.wav"], "role": ["train"]})
    file = save(pd.concat([splits.assign(note="x"), other]))
    expected = splits[splits.seed == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(dataset.load_split(file, table, [1]), expected)


def _trains_on_abnormal(splits):
    abnormal = splits.path.str.contains("/abnormal/")
    return splits.assign(role=splits.role.where(~abnormal, "train"))


REFUSED = {
    "a missing column": (lambda splits: splits.drop(columns="role"), "lacks the column role"),
    "an abnormal clip in training": (_trains_on_abnormal, "trains on the abnormal clip .*/abnormal/"),
    "a clip twice": (lambda splits: pd.concat([splits, splits.iloc[[3]]]), "more than once"),
    "a clip that trains and tests": (
        lambda splits: pd.concat([splits, splits[splits.role == "test"].iloc[[0]].assign(role="train")]),
        "more than once",
    ),
    "a missing seed": (lambda splits: splits[splits.seed == 0], "seed 1"),
    "a role that is none": (lambda splits: splits.replace({"role": {"test": "validation"}}), "validation"),
    "an empty role": (
        lambda splits: splits.assign(role=[None, *splits.role[1:]]),
        "column role: found (?!True)",
    ),
    "seeds that are no numbers": (lambda splits: splits.assign(seed="first"), "column seed"),
    "other machines only": (lambda splits: splits.assign(path="x/" + splits.path), "names none of the clips"),
    "nothing": (lambda splits: pd.DataFrame(), "not a CSV"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_splits_that_mislead_are_refused(why, saved):
    """A file of splits that lacks something, or would leak, is an error that names the file and the reason."""
    table, splits, save = saved
    change, names = REFUSED[why]
    with pytest.raises(MimiiError, match=f"splits.csv.*{names}") as error:
        dataset.load_split(save(change(splits)), table, [0, 1])
    assert "\n" not in str(error.value)


def test_splits_that_are_not_there(saved, tmp_path):
    """A file of splits that does not exist is an error."""
    with pytest.raises(MimiiError, match=r"nowhere\.csv: no such file"):
        dataset.load_split(tmp_path / "nowhere.csv", saved[0], [0])


def test_ids_that_cannot_be_evaluated_are_named_with_the_reason():
    """No abnormal clip, or fewer than 5 training clips: the ID is skipped and the reason is told; 5 are enough."""
    table = clip_table(id_00=(9, 3), id_02=(50, 0), id_04=(8, 3), id_06=(0, 3))
    reasons = dataset.not_evaluable(table, dataset.split(table, [0, 1]))
    assert set(reasons) == {"id_02", "id_04", "id_06"}
    assert "no abnormal clip" in reasons["id_02"]
    assert "4 left to train on" in reasons["id_04"]
    assert "0 left to train on" in reasons["id_06"]


def test_fewer_components_need_fewer_clips():
    """The clips that an ID needs follow from the mixture components and the patches of a clip, above a least number."""
    table = clip_table(id_00=(12, 3), id_02=(24, 3))
    splits = dataset.split(table, [0])

    def left_out(**groups):
        return set(dataset.not_evaluable(table, splits, Settings(**groups)))

    assert left_out() == set()
    assert left_out(detectors=Detectors(n_components=109)) == {"id_00"}  # 7 clips of 18 patches
    assert left_out(imaging=Imaging(hop=512)) == {"id_00"}  # 10 clips of 8 patches
    assert left_out(split=Split(min_train_clips=13)) == {"id_00", "id_02"}


# What recordings are


def test_the_miniature_is_known_as_such(tiny):
    """The miniature is never mistaken for MIMII."""
    assert dataset.kind(tiny, dataset.clips(tiny, "fan", -6), "fan") == "miniature"


def test_part_of_mimii_is_not_mimii(real):
    """A few recordings of MIMII are other recordings: no number of theirs is MIMII's."""
    assert dataset.kind(real, dataset.clips(real, "slider", -6), "slider") == "other recordings"


@pytest.mark.parametrize("machine", paper.MACHINES)
def test_whole_machine_ids_are_mimii(machine, tmp_path):
    """The published number of clips makes a machine ID MIMII's; one clip less does not."""
    whole = {name: (count.normal, count.abnormal) for name, count in paper.MIMII[machine].items()}
    table = clip_table(**whole)
    assert dataset.kind(tmp_path, table, machine) == "MIMII"
    assert dataset.kind(tmp_path, table[table.id == "id_04"], machine) == "MIMII"
    assert dataset.kind(tmp_path, table.iloc[1:], machine) == "other recordings"


def test_mimii_is_told_by_its_clips():
    """Whole machine IDs in MIMII's numbers are MIMII; a lost clip makes them others, unless the number is uncertain."""

    def kind(machine, machine_id, normal, abnormal):
        return dataset.kind(Path("nowhere"), clip_table(**{machine_id: (normal, abnormal)}), machine)

    assert kind("fan", "id_00", 1011, 407) == "MIMII"
    assert kind("fan", "id_00", 1010, 407) == "other recordings"
    assert kind("fan", "id_00", 1011, 406) == "other recordings"
    assert kind("pump", "id_02", 1004, 111) == "MIMII"
    assert kind("fan", "id_01", 1011, 407) == "other recordings"


def test_a_split_that_names_a_lost_clip_is_refused(tmp_path):
    """A clip of an ID at hand that the splits name and the folder lacks is an error, not a smaller test set."""
    table = clip_table(id_00=(12, 3))
    saved = dataset.split(table, [0])
    saved.to_csv(tmp_path / "splits.csv", index=False)
    lost = saved.path[0]
    with pytest.raises(MimiiError, match=lost.replace(".", "[.]")):
        dataset.load_split(tmp_path / "splits.csv", table[table.path != lost], [0])


# The layout of DCASE 2020 Task 2


def as_dcase(folder, to, test=()):
    """Copy MIMII's machine folder `folder` to DCASE's layout at `to`; names of `test`, and anomalies, test."""
    for wav in sorted(folder.glob("id_*/*/*.wav")):
        label = "normal" if wav.parent.name == "normal" else "anomaly"
        number = wav.stem.removeprefix(f"{label}_{wav.parent.parent.name}_")
        name = f"{label}_{wav.parent.parent.name}_{number}.wav"
        part = "test" if label == "anomaly" or number in test else "train"
        (to / part).mkdir(parents=True, exist_ok=True)
        shutil.copy(wav, to / part / name)


def test_both_layouts_hold_the_same_clips(real, tmp_path):
    """The same real recordings, laid out as DCASE ships them, give the same clips with the same IDs and labels."""
    for machine in paper.MACHINES:
        as_dcase(real / f"-6_dB_{machine}" / machine, tmp_path / "dev_data" / machine, test={"00000005"})
    for machine in paper.MACHINES:
        one, other = (dataset.clips(folder, machine, -6) for folder in (real, tmp_path / "dev_data"))

        def told(data, table):
            return sorted((row.id, row.label, dataset.read(data / row.path).tobytes()) for row in table.itertuples())

        assert told(real, one) == told(tmp_path / "dev_data", other)
        assert {path.split("/")[1] for path in other.path} == {"train", "test"}


def test_dcase_is_at_minus_6_db(tree, tmp_path):
    """The second layout has one SNR: asked for another, it is not there."""
    as_dcase(tree / "-6_dB_fan" / "fan", tmp_path / "dev_data" / "fan")
    data = tmp_path / "dev_data"
    assert set(dataset.trees(data)) == {(-6, "fan")}
    assert len(dataset.clips(data, "fan", -6, ["id_02"])) == 3
    with pytest.raises(MimiiError, match="no recordings of the fan at 6 dB; found fan at -6 dB"):
        dataset.clips(data, "fan", 6)
    with pytest.raises(MimiiError, match="id_04"):
        dataset.clips(data, "fan", -6, ["id_04"])


def test_clips_of_one_name_in_train_and_test_are_two(tmp_path, wav):
    """DCASE numbers the clips of both folders from 0: no one is lost."""
    for seed, part in enumerate(("train", "test")):
        wav(tmp_path / "fan" / part / "normal_id_00_00000000.wav", seed=seed, samples=16_000)
    assert list(dataset.clips(tmp_path, "fan", -6).path) == [
        "fan/test/normal_id_00_00000000.wav",
        "fan/train/normal_id_00_00000000.wav",
    ]


def test_two_folders_of_one_machine_are_refused(tree, tmp_path):
    """The same machine at the same SNR in both layouts: none is silently taken for the other."""
    as_dcase(tree / "-6_dB_fan" / "fan", tree / "fan")
    with pytest.raises(MimiiError, match="-6_dB_fan/fan and fan both hold the fan at -6 dB"):
        dataset.clips(tree, "fan", -6)


def test_a_folder_that_is_called_a_wav_is_no_clip(tree):
    """Only files are clips."""
    before = dataset.clips(tree, "fan", -6)
    (tree / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000009.wav").mkdir()
    pd.testing.assert_frame_equal(dataset.clips(tree, "fan", -6), before)


def test_the_outer_folder_tells_its_snr_when_it_is_named_itself(tree):
    """One level too low, the folder's own name still says which SNR it holds."""
    assert set(dataset.trees(tree / "-6_dB_fan")) == {(-6, "fan")}
    with pytest.raises(MimiiError, match="fan at -6 dB"):
        dataset.clips(tree / "-6_dB_fan", "fan", 6)
