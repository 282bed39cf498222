"""The command line: what it prints, what it writes, and how it refuses."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile

from mimii_lib import dataset
from mimii_lib.cli import main
from mimii_lib.data.weights import OFFLINE

KEYS = {"machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"}


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path_factory):
    """Leave torchvision's cache on this machine out, and the network too."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setenv(OFFLINE, "1")


@pytest.fixture
def mimii(capsys):
    """Return a function that calls the command line and returns its exit code, output and errors."""

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def one_id(tiny, tmp_path):
    """Return a copy of one machine ID of the miniature that may be spoilt."""
    target = tmp_path / "data" / "-6_dB_fan" / "fan" / "id_00"
    shutil.copytree(tiny / "-6_dB_fan" / "fan" / "id_00", target)
    return target


def one_sentence(errors):
    """Return whether errors are one line of mimii's, without a traceback."""
    return errors.startswith("mimii: ") and errors.count("\n") == 1 and "Traceback" not in errors


# mimii auc


def test_auc_writes_rows(mimii, tiny, quick, tmp_path):
    """The rows that are written have one AUC each, exactly the promised keys, and say what they rest on."""
    file = tmp_path / "rows.json"
    code, out, _ = mimii(
        *(
            "auc",
            tiny,
            "--machine",
            "fan",
            "--ids",
            "id_00",
            "id_02",
            "--profile",
            quick,
            "--seeds",
            "0",
            "1",
        ),
        *("--detectors", "kde", "small-dcae", "--json", file),
    )
    assert code == 0
    rows = json.loads(file.read_text())
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        assert set(row) == KEYS
        assert 0 <= row["auc"] <= 1
        assert (row["n_train"], row["n_normal"], row["n_abnormal"]) == (6, 6, 3)
        assert row["extractor"] == (None if row["detector"] == "small-dcae" else "squeezenet1_1")
        assert type(row["seed"]) is int
    assert {row["id"] for row in rows} == {"id_00", "id_02"}
    assert "id_00" in out
    assert "kde" in out


def test_the_printed_aucs_are_those_that_are_written(mimii, tiny, quick, tmp_path):
    """What is printed in percent is what is written."""
    file = tmp_path / "rows.json"
    said = (
        "auc",
        tiny,
        "--machine",
        "fan",
        "--ids",
        "id_00",
        "--profile",
        quick,
        "--seeds",
        "0",
        "--json",
        file,
    )
    _, out, _ = mimii(*said)
    (row,) = json.loads(file.read_text())
    line = next(line for line in out.splitlines() if "kde" in line)
    assert f"{100 * row['auc']:.1f}" in line.split()


@pytest.mark.parametrize(
    "ids",
    [
        ["--ids", "id_00", "id_02"],
        ["--ids", "id_00,id_02"],
        ["--ids", "id_00, id_02"],
        ["--ids", "id_00", "--ids", "id_02"],
        ["--ids=id_00", "--ids=id_02"],
    ],
)
def test_lists_may_be_written_as_it_comes(mimii, tiny, quick, tmp_path, ids):
    """Several IDs may stand apart, between commas, or in options of their own."""
    file = tmp_path / "rows.json"
    code, _, _ = mimii("auc", tiny, "--machine", "fan", *ids, "--profile", quick, "--json", file)
    assert code == 0
    assert [row["id"] for row in json.loads(file.read_text())] == ["id_00", "id_02"]


def test_all_machines_that_are_there(mimii, tiny, quick, tmp_path):
    """Without a machine type every one in the folder is run, and saved with its provenance and splits."""
    code, _, _ = mimii("auc", tiny, "--ids", "id_00", "--profile", quick, "--save", tmp_path)
    assert code == 0
    saved = pd.read_parquet(tmp_path / "auc.parquet")
    assert saved.machine.to_list() == ["fan", "valve"]
    assert set(saved.data) == {"miniature"}
    splits = pd.read_csv(tmp_path / "splits.csv")
    assert len(splits) == 2 * 15
    assert {path.split("/")[1] for path in splits.path} == {"fan", "valve"}


def test_only_machines_at_the_snr_count_as_there(mimii, tmp_path, quick, wav):
    """Recordings at another SNR do not stand in the way of those at the SNR that is run."""
    wav(tmp_path / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav")
    wav(tmp_path / "0_dB_valve" / "valve" / "id_00" / "normal" / "00000000.wav")
    _, _, errors = mimii("auc", tmp_path, "--profile", quick)
    assert "fan id_00" in errors
    assert "valve" not in errors


def test_saved_splits_give_the_saved_results(mimii, tiny, quick, tmp_path):
    """What --save wrote, --splits takes, and the AUCs are the same."""
    said = ("auc", tiny, "--ids", "id_00", "--profile", quick, "--seeds", "0", "1")
    mimii(*said, "--save", tmp_path, "--json", tmp_path / "first.json")
    code, _, _ = mimii(*said, "--splits", tmp_path / "splits.csv", "--json", tmp_path / "second.json")
    assert code == 0
    assert json.loads((tmp_path / "first.json").read_text()) == json.loads((tmp_path / "second.json").read_text())


def test_real_recordings_of_a_slider(mimii, real, quick, tmp_path):
    """A real training set of 77 clips runs; the IDs that are too small are skipped, each with the reason."""
    file = tmp_path / "rows.json"
    code, out, errors = mimii(
        *("auc", real, "--machine", "slider", "--seeds", "0", "--detectors", "kde", "--profile", quick),
        *("--json", file),
    )
    assert code == 0
    (row,) = json.loads(file.read_text())
    assert (row["machine"], row["id"], row["n_train"], row["n_normal"]) == ("slider", "id_00", 39, 38)
    assert row["n_abnormal"] == 2
    for name in ("id_02", "id_04", "id_06"):
        line = next(line for line in errors.splitlines() if f"slider {name}" in line)
        assert "skipped" in line
        assert "left to train on" in line
    assert "39 clips train" in out


@pytest.mark.parametrize(
    "said",
    [
        ["--settings", "split.balanced=true", "imaging.origin=upper"],
        ["--settings", "split.balanced=true,imaging.origin=upper"],
        ["--settings", "split.balanced=true", "--settings", "imaging.origin=upper"],
        ["--settings=split.balanced=true imaging.origin=upper"],
    ],
)
def test_settings_may_be_written_as_it_comes(mimii, tiny, quick, tmp_path, said):
    """Settings go by name, apart or together, change what is run, and are saved with the results."""
    given = ("auc", tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick)
    code, _, _ = mimii(*given, *said, "--save", tmp_path)
    assert code == 0
    (row,) = pd.read_parquet(tmp_path / "auc.parquet").itertuples()
    assert (row.n_normal, row.n_abnormal) == (3, 3)
    found = json.loads(row.settings)
    assert (found["split"]["balanced"], found["imaging"]["origin"]) == (True, "upper")
    assert found["imaging"]["patch_offset"] == 281


def test_features_alone_are_what_the_detectors_ask_for(mimii, tiny, quick, monkeypatch, tmp_path):
    """Features are computed ahead, a line each, for each seed where it matters; detectors compute none again."""
    monkeypatch.setenv("MIMII_CACHE", str(tmp_path))
    given = (tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick, "--seeds", "0", "1")
    code, out, _ = mimii("features", *given)
    assert code == 0
    assert out == "fan id_00 squeezenet1_1: 15 clips, 3 patches each, 2048 features\n"
    made = sorted((tmp_path / "features").iterdir())
    assert len(made) == 1
    assert mimii("auc", *given, "--detectors", "kde")[0] == 0
    assert sorted((tmp_path / "features").iterdir()) == made
    code, out, _ = mimii("features", *given, "--settings", "imaging.scaling=training")
    assert [line.partition(":")[0] for line in out.splitlines()] == [
        f"fan id_00 squeezenet1_1 seed {n}" for n in (0, 1)
    ]
    assert len(list((tmp_path / "features").iterdir())) == 3


# What is refused

REFUSED = {
    "setting": (["--machine", "fan", "--settings", "imaging.hops=512"], "hops"),
    "setting's group": (["--machine", "fan", "--settings", "image.hop=512"], "image"),
    "setting's value": (["--machine", "fan", "--settings", "evaluation.pooling=median"], "median"),
    "setting without a value": (["--machine", "fan", "--settings", "imaging.hop"], "imaging.hop=512"),
    "machine": (["--machine", "drone"], "drone"),
    "ID": (["--machine", "fan", "--ids", "id_99"], "id_99"),
    "extractor": (["--machine", "fan", "--extractors", "vgg"], "vgg"),
    "detector": (["--machine", "fan", "--detectors", "lof"], "lof"),
    "seed": (["--machine", "fan", "--seeds", "first"], "first"),
    "SNR": (["--machine", "fan", "--snr", "6"], "6 dB"),
    "SNR that is no number": (["--snr", "low"], "low"),
    "profile": (["--profile", "nothing"], "nothing"),
    "splits": (["--machine", "fan", "--splits", "nowhere.csv"], "nowhere.csv"),
    "weights": (["--machine", "fan", "--weights", "nowhere"], "nowhere"),
    "option": (["--frobnicate"], "frobnicate"),
    "machine that is not in the folder": (["--machine", "pump"], "pump"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_known_is_one_sentence(mimii, tiny, what):
    """An unknown name ends with exit code 2 and one sentence that repeats it, not with a traceback."""
    arguments, names = REFUSED[what]
    code, out, errors = mimii("auc", tiny, *arguments)
    assert (code, out) == (2, "")
    assert one_sentence(errors)
    assert names in errors


@pytest.mark.parametrize("command", ["auc", "check"])
def test_a_folder_that_is_not_there_is_one_sentence(mimii, tmp_path, command):
    """A folder that does not exist is named in one sentence."""
    code, out, errors = mimii(command, tmp_path / "nowhere")
    assert (code, out) == (2, "")
    assert one_sentence(errors)
    assert "nowhere: no such folder" in errors


@pytest.mark.parametrize("command", ["auc", "check"])
def test_a_folder_without_machines_is_one_sentence(mimii, tmp_path, command):
    """A folder without recordings is told what it should hold."""
    code, _, errors = mimii(command, tmp_path)
    assert code == 2
    assert one_sentence(errors)
    assert "-6_dB_fan" in errors


def test_no_data_at_all_is_one_sentence(mimii):
    """Without a folder and without a profile that names one there is nothing to run."""
    code, _, errors = mimii("auc", "--machine", "fan")
    assert code == 2
    assert one_sentence(errors)
    assert "data" in errors


def test_no_abnormal_clips(mimii, one_id, quick):
    """Where no ID has abnormal clips nothing is run: exit code 2, with the reason and no traceback."""
    shutil.rmtree(one_id / "abnormal")
    code, out, errors = mimii("auc", one_id.parents[2], "--profile", quick)
    assert (code, out) == (2, "")
    assert "fan id_00: skipped, no abnormal clip" in errors
    assert errors.splitlines()[-1].startswith("mimii: ")
    assert "Traceback" not in errors


@pytest.mark.parametrize("fault", ["another rate", "truncated", "no sound"])
def test_a_clip_that_cannot_be_used_is_one_sentence(mimii, one_id, quick, fault):
    """A clip of another rate, a truncated one and one that is no sound are named in one sentence."""
    path = one_id / "normal" / "00000004.wav"
    if fault == "another rate":
        sound, _ = soundfile.read(path, dtype="int16")
        soundfile.write(path, sound, 44_100)
    elif fault == "truncated":
        path.write_bytes(path.read_bytes()[:60_000])
    else:
        path.write_text("no sound")
    code, out, errors = mimii("auc", one_id.parents[2], "--profile", quick)
    assert (code, out) == (2, "")
    assert one_sentence(errors)
    assert "00000004.wav" in errors


@pytest.mark.parametrize("option", ["--json", "--save"])
def test_a_place_that_cannot_be_written(mimii, tiny, quick, tmp_path, option):
    """A result that cannot be written where it was asked for is one sentence that names the place."""
    (tmp_path / "file").write_text("")
    said = ("auc", tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick)
    code, _, errors = mimii(*said, option, tmp_path / "file" / "below")
    assert code == 2
    assert one_sentence(errors)
    assert "below" in errors


def test_no_command_is_one_sentence(mimii):
    """Without a command the help is pointed to."""
    code, _, errors = mimii()
    assert code == 2
    assert one_sentence(errors)
    assert "--help" in errors


def test_help_names_the_commands(capsys):
    """The help names every command and ends well."""
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for name in ("miniature", "check", "auc", "run"):
        assert name in said


# mimii check, mimii miniature


def test_check_of_real_recordings(mimii, real):
    """Real recordings are counted and found usable; what is missing for an evaluation is told."""
    code, out, _ = mimii("check", real)
    assert code == 0
    assert "172 clips; 0 cannot be used" in out
    assert "no abnormal clip" in out


def test_check_tells_what_is_wrong(mimii, one_id):
    """A silent clip makes the check end with exit code 1 and is named."""
    assert mimii("check", one_id.parents[2])[0] == 0
    soundfile.write(one_id / "normal" / "00000002.wav", np.zeros(160_000), 16_000)
    code, out, _ = mimii("check", one_id.parents[2])
    assert code == 1
    assert "15 clips; 1 cannot be used" in out
    assert "id_00/normal/00000002.wav: silent" in out


def test_miniature_makes_what_was_asked(mimii, tmp_path):
    """The miniature has the machine types, SNR, clips and channels that were asked for, and passes the check."""
    folder = tmp_path / "data"
    said = ("miniature", folder, "--machines", "pump", "--snr", "0", "--normal", "2", "--abnormal", "1")
    code, _, _ = mimii(*said, "--channels", "2")
    assert code == 0
    table = dataset.clips(folder, "pump", 0)
    assert table.groupby(["id", "label"]).size().unstack().to_numpy().tolist() == [[1, 2]] * 4
    assert soundfile.info(folder / table.path[0]).channels == 2
    assert mimii("check", folder)[0] == 0


def test_a_share_of_full_size_has_no_other_size(mimii, tmp_path):
    """A number of clips beside a share of MIMII's is refused before anything is made."""
    code, _, errors = mimii("miniature", tmp_path / "data", "--share", "0.1", "--normal", "5")
    assert code == 2
    assert errors == "mimii: --share: found --normal 5 beside it; name one of the two\n"
    assert not (tmp_path / "data").exists()


def test_miniature_overwrites_nothing(mimii, one_id):
    """A folder that holds recordings is left as it is."""
    before = sorted(one_id.parents[2].rglob("*"))
    code, _, errors = mimii("miniature", one_id.parents[2])
    assert code == 2
    assert one_sentence(errors)
    assert sorted(one_id.parents[2].rglob("*")) == before
