"""The command line: what it prints, what it writes, and how it refuses."""

import hashlib
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
from rocrate.rocrate import ROCrate

from mimii_lib import dataset
from mimii_lib.cli import main
from mimii_lib.pages.metadata import OUTPUTS

COLUMNS = {"machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"}


@pytest.fixture
def mimii(capsys):
    """Return a function that calls the command line and returns its exit code, output and errors."""

    def call(*words):
        code = main([str(word) for word in words])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def auc(mimii, tiny, quick, tmp_path):
    """Return a function that runs the fan's id_00 of the small miniature, with more options, and returns the rows."""

    def call(*options, ids=("--ids", "id_00")):
        file = tmp_path / "rows.json"
        words = ("auc", tiny, "--machine", "fan", *ids, "--profile", quick, *options, "--json", file)
        code, out, errors = mimii(*words)
        assert code == 0, errors
        return json.loads(file.read_text()), out

    return call


@pytest.fixture
def one_id(fan_id_00):
    """Return the folder of one machine ID, below a data folder that a test may damage."""
    return fan_id_00 / "-6_dB_fan" / "fan" / "id_00"


def is_one_sentence(errors):
    return errors.startswith("mimii: ") and errors.count("\n") == 1 and "Traceback" not in errors


def test_rows_have_one_auc_each_and_name_their_clips(auc):
    """A row per machine ID, system and seed has exactly the promised columns; the printed AUCs are the written ones."""
    rows, out = auc("--seeds", "0", "1", "--detectors", "kde", "small-dcae", ids=("--ids", "id_00", "id_02"))
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        assert set(row) == COLUMNS
        assert 0 <= row["auc"] <= 1
        assert (row["n_train"], row["n_normal"], row["n_abnormal"]) == (6, 6, 3)
        assert row["extractor"] == (None if row["detector"] == "small-dcae" else "squeezenet1_1")
    line = next(line.split() for line in out.splitlines() if "id_02" in line and "kde" in line)
    of_line = [row["auc"] for row in rows if (row["id"], row["detector"]) == ("id_02", "kde")]
    assert line[-3:] == [f"{100 * value:.1f}" for value in (sum(of_line) / 2, *of_line)]
    assert "fan id_02: 6 clips train; 6 normal and 3 abnormal clips test" in out


@pytest.mark.parametrize(
    "ids", ["--ids id_00 id_02", "--ids id_00,id_02", "--ids=id_00 --ids=id_02", "--ids;id_00, id_02"]
)
def test_several_values_may_stand_apart_between_commas_or_in_options_of_their_own(auc, ids):
    """All of these name the same two machine IDs."""
    assert [row["id"] for row in auc(ids=ids.split(";" if ";" in ids else None))[0]] == ["id_00", "id_02"]


@pytest.mark.parametrize(
    "options", [["split.balanced=true", "imaging.origin=upper"], ["split.balanced=true,imaging.origin=upper"]]
)
def test_settings_change_the_run_and_are_saved_with_its_results(auc, tmp_path, options):
    """Settings go by name, in one option or several; the other settings keep their values."""
    auc("--settings", *options, "--save", tmp_path)
    (row,) = pd.read_parquet(tmp_path / "auc.parquet").itertuples()
    split, imaging = (json.loads(row.settings)[group] for group in ("split", "imaging"))
    assert (row.n_normal, row.n_abnormal, split["balanced"]) == (3, 3, True)
    assert (imaging["origin"], imaging["patch_offset"]) == ("upper", 281)


def test_every_machine_type_in_the_folder_is_run_and_saved_splits_give_the_same_aucs(mimii, tiny, quick, tmp_path):
    """Without --machine all machine types run; --save writes results with provenance, and splits for --splits."""
    words = ("auc", tiny, "--ids", "id_00", "--profile", quick, "--seeds", "0", "1")
    assert mimii(*words, "--save", tmp_path, "--json", tmp_path / "drawn.json")[0] == 0
    saved = pd.read_parquet(tmp_path / "auc.parquet")
    assert saved.machine.unique().tolist() == ["fan", "valve"]
    assert set(saved.data) == {"miniature"}
    pd.testing.assert_series_equal(pd.read_csv(tmp_path / "auc.csv").auc, saved.auc)
    assert json.loads((tmp_path / "report.json").read_text())["seeds"] == {"fan": [0, 1], "valve": [0, 1]}
    run = ROCrate(tmp_path).get("#run")
    assert {file.id: file["sha256"] for file in run["result"]} == {
        name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in OUTPUTS
    }
    assert mimii(*words, "--splits", tmp_path / "splits.csv", "--json", tmp_path / "given.json")[0] == 0
    assert (tmp_path / "drawn.json").read_text() == (tmp_path / "given.json").read_text()


def test_recordings_at_another_snr_are_not_run(mimii, tmp_path, quick, wav):
    """Of a folder with several SNRs only the machine types at the SNR of the run are run."""
    wav(tmp_path / "-6_dB_fan" / "fan" / "id_00" / "normal" / "00000000.wav")
    wav(tmp_path / "0_dB_valve" / "valve" / "id_00" / "normal" / "00000000.wav")
    errors = mimii("auc", tmp_path, "--profile", quick)[2]
    assert ("fan id_00" in errors, "valve" in errors) == (True, False)


def test_real_recordings_of_a_slider(mimii, real, quick, tmp_path):
    """A real training set of 77 clips runs; IDs with too few clips are skipped, each with the reason."""
    file = tmp_path / "rows.json"
    words = ("auc", real, "--machine", "slider", "--seeds", "0", "--detectors", "kde", "--profile", quick)
    code, _, errors = mimii(*words, "--json", file)
    assert code == 0
    (row,) = json.loads(file.read_text())
    assert (row["id"], row["n_train"], row["n_normal"], row["n_abnormal"]) == ("id_00", 39, 38, 2)
    skipped = [line for line in errors.splitlines() if "skipped" in line and "left to train on" in line]
    assert [line.split()[1].rstrip(":") for line in skipped] == ["id_02", "id_04", "id_06"]


def test_features_are_those_that_the_detectors_need(mimii, tiny, quick, monkeypatch, tmp_path):
    """Features are computed ahead, for each seed where the training clips scale the patches; detectors reuse them."""
    monkeypatch.setenv("MIMII_CACHE", str(tmp_path))
    words = (tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick, "--seeds", "0", "1")
    code, out, _ = mimii("features", *words)
    assert (code, out) == (0, "fan id_00 squeezenet1_1: 15 clips, 3 patches each, 2048 features\n")
    kept = sorted((tmp_path / "features").iterdir())
    assert len(kept) == 1
    assert mimii("auc", *words, "--detectors", "kde")[0] == 0
    assert sorted((tmp_path / "features").iterdir()) == kept
    out = mimii("features", *words, "--settings", "imaging.scaling=training")[1]
    assert [line.split(":")[0][-6:] for line in out.splitlines()] == ["seed 0", "seed 1"]


def test_files_that_are_asked_for_twice_and_pipes(mimii, tiny, quick, tmp_path):
    """A file of --save is refused for --json; a link stays a link; a pipe is written to, and not replaced."""
    words = ("auc", tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick, "--detectors", "level")
    code, _, errors = mimii(*words, "--save", tmp_path / "sd", "--json", tmp_path / "x" / ".." / "sd" / "auc.csv")
    assert (code, is_one_sentence(errors), "a file of --save, too" in errors) == (2, True, True)
    (tmp_path / "link.json").symlink_to("target.json")
    assert mimii(*words, "--json", tmp_path / "link.json")[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    reading, writing = os.pipe()
    assert mimii(*words, "--json", f"/dev/fd/{writing}")[0] == 0
    os.close(writing)
    with os.fdopen(reading) as pipe:
        assert json.loads(pipe.read()) == json.loads((tmp_path / "target.json").read_text())


@pytest.mark.parametrize("name", ["/dev/stdout", "printed.txt"])
def test_a_file_that_is_printed_to_is_not_replaced(name, tmp_path):
    """Where what is printed goes to a file, what is written to the same file stands between the lines."""
    script = f"print(1)\nwith atomic_write(Path('{name}')) as file: file.write_text('2\\n')\nprint(3)"
    script = f"from pathlib import Path\nfrom mimii_lib.data.files import atomic_write\n{script}"
    with (tmp_path / "printed.txt").open("w") as printed:
        subprocess.run([sys.executable, "-c", script], stdout=printed, cwd=tmp_path, check=True)
    assert (tmp_path / "printed.txt").read_text() == "1\n2\n3\n"
    assert len([*tmp_path.iterdir()]) == 1


def test_a_run_without_any_system_says_so(mimii, tiny, quick, monkeypatch):
    """Where no network can be had, the forecast does not say that all is done, and features say what is missing."""
    monkeypatch.setenv("MIMII_OFFLINE", "1")
    words = (tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick, "--extractors", "resnet34")
    for command, options in (("forecast", ["--count", "--no-choices"]), ("features", [])):
        code, out, errors = mimii(command, *words, *options)
        assert "nothing is left" not in out.lower()
        assert "resnet34: weights not reachable" in out + errors
        assert code == 2


REFUSED = {  # what the error names, and the words of the command
    "hops": "auc {tiny} --machine fan --settings imaging.hops=512",
    "drone": "auc {tiny} --machine drone",
    "id_99": "auc {tiny} --machine fan --ids id_99",
    "6 dB": "auc {tiny} --machine fan --snr 6",
    "low": "auc {tiny} --snr low",
    "nothing": "auc {tiny} --profile nothing",
    "nowhere.csv": "auc {tiny} --machine fan --splits nowhere.csv",
    "nowhere": "auc {tiny} --machine fan --weights nowhere",
    "--frobnicate": "auc {tiny} --frobnicate",
    "--machine": "auc {tiny} --machine",
    "pump": "auc {tiny} --machine pump",
    "--help": "",
    "frobnicate": "frobnicate",
    "data": "auc --machine fan",
    "DEST": "download --machines fan pump",
    "toaster": "download --machines toaster pump",
    "channels is 2000": "miniature {tmp_path}/m --channels 2000",
    "snr is -99999": "miniature {tmp_path}/m --snr -99999",
    "o.ipynb": "run {tmp_path}/o.ipynb {tmp_path}/o.ipynb",
    "'['": "run notebooks/01_dataset.ipynb {tmp_path}/o.ipynb -p machine [",
    "missing: no such folder": "auc {tmp_path}/missing",
    "~no-such-user/x: no such folder": "auc ~no-such-user/x --machine fan",
    "-6_dB_fan/fan": "auc {tmp_path}",
    "-6_dB_fan": "check {tmp_path}",
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_input_is_one_sentence_that_names_it(mimii, tiny, tmp_path, name):
    """An unknown name and a missing folder or option end with exit code 2, without output or a traceback."""
    code, out, errors = mimii(*REFUSED[name].format(tiny=tiny, tmp_path=tmp_path).split())
    assert (code, out, is_one_sentence(errors)) == (2, "", True)
    assert name in errors


@pytest.mark.parametrize("fault", ["another rate", "no sound", "no abnormal clips"])
def test_recordings_that_cannot_be_used_are_named(mimii, one_id, quick, fault):
    """A clip that cannot be read, or an ID that cannot be evaluated, ends with exit code 2 and its name."""
    path = one_id / "normal" / "00000004.wav"
    if fault == "another rate":
        soundfile.write(path, soundfile.read(path)[0], 44_100)
    elif fault == "no sound":
        path.write_text("no sound")
    else:
        shutil.rmtree(one_id / "abnormal")
    code, out, errors = mimii("auc", one_id.parents[2], "--profile", quick)
    assert (code, out, is_one_sentence(errors.splitlines(keepends=True)[-1])) == (2, "", True)
    assert ("fan id_00: skipped, no abnormal clip" if fault == "no abnormal clips" else path.name) in errors


@pytest.mark.parametrize("option", ["--json", "--save"])
def test_a_file_that_cannot_be_written_is_named(mimii, tiny, quick, tmp_path, option):
    """Results below a file instead of a folder: exit code 2 and one sentence."""
    (tmp_path / "file").write_text("")
    words = ("auc", tiny, "--machine", "fan", "--ids", "id_00", "--profile", quick)
    code, _, errors = mimii(*words, option, tmp_path / "file" / "below")
    assert (code, is_one_sentence(errors), "below" in errors) == (2, True, True)


def test_the_help_names_every_command_and_needs_no_torch():
    """The help is there before any heavy library is imported."""
    code = "import runpy, sys; sys.argv = ['mimii', '--help']; sys.modules['torch'] = None; "
    words = [sys.executable, "-c", code + "runpy.run_module('mimii_lib.cli', run_name='__main__')"]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    for command in ("miniature", "download", "check", "auc", "features", "forecast", "choices", "plan", "run"):
        assert f"    {command}" in shown


def test_a_closed_pipe_is_no_error(tiny, monkeypatch, capsys):
    """A program that has stopped reading the output ends the command with exit code 141 and no error, then or later."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", pipe)
        assert main(["check", str(tiny)]) == 141
    assert capsys.readouterr().err == ""


def test_check_names_a_silent_clip(mimii, one_id):
    """A silent clip makes the check end with exit code 1."""
    soundfile.write(one_id / "normal" / "00000002.wav", np.zeros(160_000), 16_000)
    code, out, _ = mimii("check", one_id.parents[2])
    assert (code, "15 clips; 1 cannot be used" in out, "normal/00000002.wav: silent" in out) == (1, True, True)


def test_a_miniature_has_the_size_that_was_asked_for_and_overwrites_nothing(mimii, one_id, tmp_path):
    """Machine types, SNR, clips and channels are those of the options; a folder with recordings stays as it is."""
    folder, size = tmp_path / "miniature", "--machines pump --snr 0 --normal 2 --abnormal 1 --channels 2"
    assert mimii("miniature", folder, *size.split())[0] == 0
    table = dataset.clips(folder, "pump", 0)
    assert table.groupby(["id", "label"]).size().unstack().to_numpy().tolist() == [[1, 2]] * 4
    assert soundfile.info(folder / table.path[0]).channels == 2
    assert mimii("check", folder)[0] == 0
    before = sorted(one_id.parents[2].rglob("*"))
    code, _, errors = mimii("miniature", one_id.parents[2])
    assert (code, is_one_sentence(errors), sorted(one_id.parents[2].rglob("*"))) == (2, True, before)
