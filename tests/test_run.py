"""A run: every stage computed once, under a key of what it depends on, and every number with its origin."""

import json
import os
import re
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import torchvision
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from mimii_lib import Run, autoencoders, dataset, detectors, extractors, imaging, settings, store, weights
from mimii_lib.errors import MimiiError

DIGEST = store.source_digest
COLUMNS = ["machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"]


@pytest.fixture
def made(tiny, quick):
    """Return a function that makes a run on one ID of the small miniature; what it computes is kept."""

    def make(machine="fan", **said):
        return Run(machine, **({"data": tiny, "profile": quick, "ids": "id_00"} | said))

    return make


@pytest.fixture
def nothing_new(monkeypatch):
    """Return a function after whose call a spectrogram, features or a fit can be read back but not computed."""

    def forbid(*what):
        def fail(*args, **kwargs):
            raise AssertionError("this was computed before")

        places = {"log-mel": (imaging, "log_mel"), "features": (extractors, "extract"), "fit": (Run, "_fit")}
        for name in what or places:
            monkeypatch.setattr(*places[name], fail)

    return forbid


# Computed once


def test_asking_again_reads_back(made, nothing_new):
    """A second run of the same settings has the first one's numbers without computing anything."""
    asked = {"detectors": "kde gmm small-dcae", "seeds": "0 1"}
    first = made(**asked).auc()
    nothing_new()
    pd.testing.assert_frame_equal(made(**asked).auc(), first)


def test_another_folder_with_the_same_clips(made, nothing_new, tiny, tmp_path):
    """What was computed is known by the clips' names and contents, not by the folder they lie in."""
    first = made().auc()
    shutil.copytree(tiny / "-6_dB_fan" / "fan" / "id_00", tmp_path / "-6_dB_fan" / "fan" / "id_00")
    nothing_new()
    pd.testing.assert_frame_equal(made(data=tmp_path).auc(), first)


@pytest.mark.parametrize("role", ["train", "test"])
def test_a_changed_clip_is_computed_anew(made, tiny, tmp_path, role):
    """A clip with another content changes the results, even where its size and its date stayed the same."""
    shutil.copytree(tiny / "-6_dB_fan" / "fan" / "id_00", tmp_path / "-6_dB_fan" / "fan" / "id_00")
    before = made(data=tmp_path)
    features, table = before.features("id_00", "squeezenet1_1"), before.with_provenance(before.auc())
    scores = before.scores("id_00", "squeezenet1_1", "kde", 0)
    changed = before.members("id_00", 0, role).iloc[0]
    path, row = tmp_path / changed.path, changed.name
    seen = path.stat()
    sound, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, np.random.default_rng(0).permutation(sound), rate)
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (seen.st_size, seen.st_mtime_ns)
    after = made(data=tmp_path)
    again = after.features("id_00", "squeezenet1_1")
    others = np.arange(len(features)) != row
    np.testing.assert_allclose(again[others], features[others], rtol=1e-3, atol=1e-3)
    assert not np.allclose(again[row], features[row], atol=0.1)
    assert not np.array_equal(after.scores("id_00", "squeezenet1_1", "kde", 0), scores)
    assert after.with_provenance(after.auc()).data_sha256[0] != table.data_sha256[0]


def test_a_detectors_setting_leaves_the_features(made, nothing_new, profile, quick):
    """Another number of mixture components fits anew on the features that are there."""
    two = made(detectors="gmm").scores("id_00", "squeezenet1_1", "gmm", 0)
    other = profile(quick.read_text().replace("n_components: 2", "n_components: 3"))
    nothing_new("log-mel", "features")
    three = made(detectors="gmm", profile=other).scores("id_00", "squeezenet1_1", "gmm", 0)
    assert two.shape == three.shape
    assert not np.allclose(two, three)


def test_a_seed_leaves_the_features(made, nothing_new):
    """Another seed splits and fits anew on the features that are there."""
    made(seeds=0).auc()
    nothing_new("log-mel", "features")
    assert made(seeds=2).auc().seed.to_list() == [2]


def test_an_imaging_setting_makes_new_features(made, nothing_new, profile, quick):
    """Another dynamic range makes other pictures, so nothing that was made from the old ones is used."""
    made().auc()
    other = profile(quick.read_text().replace("imaging:", "imaging:\n    top_db: 40"))
    nothing_new("features")
    with pytest.raises(AssertionError, match="computed before"):
        made(profile=other).auc()


@pytest.mark.parametrize("module", [dataset, imaging, extractors, weights])
def test_changed_code_makes_new_features(made, nothing_new, monkeypatch, module):
    """Features are made anew when the code that reads, draws, loads the weights or extracts has changed."""
    made().features("id_00", "squeezenet1_1")
    nothing_new("features")
    made().features("id_00", "squeezenet1_1")
    monkeypatch.setattr(store, "source_digest", lambda other: "new" if other is module else DIGEST(other))
    with pytest.raises(AssertionError, match="computed before"):
        made().features("id_00", "squeezenet1_1")


@pytest.mark.parametrize(("detector", "module"), [("kde", detectors), ("small-dcae", autoencoders)])
def test_changed_code_makes_new_scores(made, nothing_new, monkeypatch, detector, module):
    """Scores are made anew when the code of their detector has changed, the features are not."""
    extractor = None if detector == "small-dcae" else "squeezenet1_1"
    made().scores("id_00", extractor, detector, 0)
    nothing_new()
    made().scores("id_00", extractor, detector, 0)
    monkeypatch.setattr(store, "source_digest", lambda other: "new" if other is module else DIGEST(other))
    with pytest.raises(AssertionError, match="computed before"):
        made().scores("id_00", extractor, detector, 0)


def test_other_weights_make_other_features(made, tmp_path):
    """The same network with a user's weights has features of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / "squeezenet1_1.pt")
    package, user = (made(weights=folder).features("id_00", "squeezenet1_1") for folder in (None, tmp_path))
    assert package.shape == user.shape
    assert not np.allclose(package, user, rtol=0.1)


def test_a_cache_that_cannot_be_written(made, tmp_path):
    """Where results cannot be kept the error names the folder and the way out."""
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(MimiiError, match="cannot be kept here.*MIMII_CACHE"):
            made(cache=folder)


# What is computed


def test_shapes_of_the_stages(made):
    """Each stage has one row per clip: spectrograms, patches and features."""
    run = made()
    assert len(run.of("id_00")) == 15
    assert run.spectrograms("id_00").shape == (15, 64, 626)
    assert run.patches("id_00").shape == (15, 3, 64, 64)
    assert run.features("id_00", "squeezenet1_1").shape == (15, 3, 2048)


def test_only_test_clips_are_scored(made):
    """Scores belong to the test clips alone, half of the normals and all abnormals, one per patch."""
    run = made()
    train, test = (run.members("id_00", 0, role) for role in ("train", "test"))
    assert run.scores("id_00", "squeezenet1_1", "kde", 0).shape == (len(test), 3)
    assert test.label.value_counts().to_dict() == {"normal": 6, "abnormal": 3}
    assert train.label.value_counts().to_dict() == {"normal": 6}
    assert set(train.path).isdisjoint(test.path)
    assert sorted([*train.index, *test.index]) == list(range(15))


def test_the_auc_by_hand(made):
    """The AUC is what standardised features, a kernel density and the mean over patches give step by step."""
    run = made(seeds="0 3")
    features = run.features("id_00", "squeezenet1_1").astype(float)
    for seed in (0, 3):
        train, test = (run.members("id_00", seed, role) for role in ("train", "test"))
        known = features[train.index].reshape(-1, 2048)
        mean, std = known.mean(axis=0), known.std(axis=0)
        std[std == 0] = 1
        found = (features[test.index].reshape(-1, 2048) - mean) / std
        densities = logsumexp(-cdist(found, (known - mean) / std, "sqeuclidean") / (2 * 0.1**2), axis=1)
        clip_scores = -densities.reshape(len(test), -1).mean(axis=1)
        expected = roc_auc_score(test.label == "abnormal", clip_scores)
        table = run.auc()
        assert table.auc[table.seed == seed].item() == pytest.approx(expected)


def test_the_columns_of_the_aucs(made):
    """An AUC table has one row per ID, system and seed, with the number of clips it rests on."""
    run = made(ids="id_00 id_04", detectors="kde if small-dcae", seeds="0 1")
    table = run.auc()
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 3 * 2
    assert not table.duplicated(["machine", "id", "extractor", "detector", "seed"]).any()
    assert set(table.machine) == {"fan"}
    assert table.auc.between(0, 1).all()
    assert table[["n_train", "n_normal", "n_abnormal"]].drop_duplicates().to_numpy().tolist() == [[6, 6, 3]]
    assert table.extractor[table.detector == "small-dcae"].isna().all()
    assert set(table.extractor[table.detector != "small-dcae"]) == {"squeezenet1_1"}


def test_a_number_does_not_depend_on_what_else_was_asked(made):
    """An ID's AUC at a seed is the same alone and among other IDs, seeds and detectors, in whatever order."""
    alone = made(seeds=1, detectors="if").auc()
    among = made(ids="id_04 id_00", seeds="3 1 0", detectors="kde if").auc()
    same = among[(among.id == "id_00") & (among.seed == 1) & (among.detector == "if")]
    pd.testing.assert_frame_equal(same.reset_index(drop=True), alone)


def test_the_autoencoders_may_train_for_fewer_seeds(made, profile, quick):
    """The auto-encoders may be given fewer seeds than the detectors, and never none."""
    fewer = profile(quick.read_text() + "    seeds: [1]\n")
    run = made(profile=fewer, seeds="0 1")
    assert (run.seeds("kde"), run.seeds("small-dcae")) == ((0, 1), (1,))
    assert made(profile=fewer, seeds="0 2").seeds("small-dcae") == (0,)


def test_a_mixture_needs_as_many_patches_as_components(made, profile, quick):
    """Eighteen patches for 80 components is an error that says so."""
    other = profile(quick.read_text().replace("n_components: 2", "n_components: 80"))
    with pytest.raises(MimiiError, match="fan id_00: 18 training patches for 80"):
        made(profile=other, detectors="gmm").auc()


def test_ids_that_cannot_be_evaluated_are_left_out_with_the_reason(made, tiny, tmp_path):
    """An ID without abnormal clips has a reason instead of a row."""
    for name in ("id_00", "id_02"):
        shutil.copytree(tiny / "-6_dB_fan" / "fan" / name, tmp_path / "-6_dB_fan" / "fan" / name)
    shutil.rmtree(tmp_path / "-6_dB_fan" / "fan" / "id_02" / "abnormal")
    run = made(data=tmp_path, ids=None)
    assert run.ids == ["id_00"]
    assert "no abnormal clip" in run.skipped["id_02"]
    assert set(run.auc().id) == {"id_00"}


def test_extractors_without_weights_are_left_out_with_the_reason(made, monkeypatch):
    """A network whose weights cannot be reached has a reason instead of rows, and the others are run."""

    def fail(self, *args, **kwargs):
        raise URLError("no network")

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fail)
    run = made(extractors="resnet34 squeezenet1_1")
    assert set(run.not_run) == {"resnet34"}
    assert "weights not reachable" in run.not_run["resnet34"]
    assert set(run.auc().extractor) == {"squeezenet1_1"}
    with pytest.raises(weights.WeightsNotFound, match="resnet34"):
        run.features("id_00", "resnet34")


def test_given_splits_give_the_results_of_drawn_ones(made, tmp_path):
    """Splits that were saved and read back have the AUCs of the run that drew them."""
    drawn = made(seeds="0 1")
    drawn.splits.to_csv(tmp_path / "splits.csv", index=False)
    given = made(seeds="0 1", splits=tmp_path / "splits.csv")
    pd.testing.assert_frame_equal(given.auc(), drawn.auc())


def test_other_splits_are_used(made, tmp_path):
    """A file of splits is not only read: exchanging training and test normals gives the scores of others."""
    drawn = made()
    normal = drawn.splits.path.str.contains("/normal/")
    exchanged = drawn.splits.role.map({"train": "test", "test": "train"}).where(normal, drawn.splits.role)
    drawn.splits.assign(role=exchanged).to_csv(tmp_path / "splits.csv", index=False)
    given = made(splits=tmp_path / "splits.csv")
    assert set(given.members("id_00", 0, "train").path) < set(drawn.members("id_00", 0, "test").path)
    arguments = ("id_00", "squeezenet1_1", "kde", 0)
    assert not np.allclose(given.scores(*arguments), drawn.scores(*arguments))


def test_fewer_training_clips_are_another_fit(made, tmp_path):
    """Splits that differ in one training clip only have scores of their own for the same test clips."""
    drawn = made()
    drawn.splits[1:].to_csv(tmp_path / "splits.csv", index=False)
    given = made(splits=tmp_path / "splits.csv")
    assert drawn.splits.role[0] == "train"
    pd.testing.assert_frame_equal(given.members("id_00", 0, "test"), drawn.members("id_00", 0, "test"))
    arguments = ("id_00", "squeezenet1_1", "kde", 0)
    assert not np.allclose(given.scores(*arguments), drawn.scores(*arguments))


def test_a_profile_makes_its_miniature(profile, tmp_path):
    """A profile that names the size of a miniature makes one where its data folder is, and again only once."""
    file = profile(f"data: {tmp_path / 'data'}\nminiature: {{normal: 1, abnormal: 1}}\nids: [id_06]\n")
    run = Run("pump", profile=file)
    assert run.clips.label.to_list() == ["normal", "abnormal"]
    assert run.kind == "miniature"
    dates = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.wav")}
    Run("pump", profile=file)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.wav")} == dates


# Where a number comes from


def test_every_number_says_where_it_comes_from(made):
    """Beside each AUC stand data, SNR, weights, precision, settings, versions and commit."""
    run = made(detectors="kde small-dcae")
    table = run.with_provenance(run.auc())
    assert list(table.columns)[: len(COLUMNS)] == COLUMNS
    row, baseline = (table[table.detector == name].iloc[0] for name in ("kde", "small-dcae"))
    assert (row.data, row.snr, row.precision, row.profile) == ("miniature", -6, "float32", "quick")
    assert row.weights_source.startswith("package: ndf ")
    assert row.weights_sha256 == weights.PACKAGED["squeezenet1_1"].sha256
    assert pd.isna(baseline.weights_source)
    assert pd.isna(baseline.weights_sha256)
    assert json.loads(row.settings) == json.loads(settings.as_json(run.settings))
    versions = json.loads(row.versions)
    for package in ("torch", "scikit-learn", "librosa", "numpy"):
        assert versions[package] == version(package)
    assert re.match(r"[0-9a-f]{40}(, with changes)?$|unknown$", row.commit)


def test_the_digest_of_the_data_is_a_sha256(made):
    """The column data_sha256 holds what its name says, another one for other clips."""
    run = made(ids="id_00 id_04")
    digests = run.with_provenance(run.auc()).data_sha256
    assert digests.nunique() == 2
    assert digests.str.fullmatch("[0-9a-f]{64}").all()


def test_no_path_of_this_machine_is_published(made, tiny, quick, shared):
    """Nothing in the provenance tells where on a machine the recordings, weights or code lay."""
    folder = shared / "weights"
    if not (folder / "squeezenet1_0.pt").is_file():
        pytest.skip("needs weights of squeezenet1_0")
    run = made(weights=folder, extractors="squeezenet1_0 squeezenet1_1")
    table = run.with_provenance(run.auc())
    assert table.weights_source[0] == "folder: squeezenet1_0.pt"
    said = table.to_csv() + str(run._repr_html_())
    for path in (tiny, quick.parent, folder, settings.ROOT, Path.home(), Path(tempfile.gettempdir())):
        assert f"{path}/" not in said
        assert str(path) + '"' not in said


# What is refused


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ({"machine": "drone"}, "machine: 'drone' is not known; expected one of fan"),
        ({"ids": "id_00 id_99"}, "id_99.*expected one of id_00"),
        ({"extractors": "vgg"}, "extractors: 'vgg'.*alexnet"),
        ({"detectors": "lof"}, "detectors: 'lof'.*gmm.*small-dcae"),
        ({"seeds": "first"}, "seeds: found 'first'"),
        ({"seeds": -1}, "seeds: found -1"),
        ({"seeds": ""}, "seeds: found nothing"),
        ({"snr": 6}, "fan at 6 dB.*fan at -6 dB"),
        ({"snr": "low"}, "snr: found 'low'"),
        ({"data": "nowhere"}, "nowhere: no such folder"),
        ({"profile": "nothing"}, "profile: 'nothing'"),
        ({"weights": "nowhere"}, "nowhere: no such folder"),
        ({"splits": "nowhere.csv"}, "nowhere.csv: no such file"),
    ],
)
def test_what_a_run_does_not_know_is_refused(made, said, names):
    """A parameter that names what is not there is an error of one sentence that names the parameter."""
    with pytest.raises(MimiiError, match=names) as error:
        made(**said).auc()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("detectors: [kde]", "detectors: [kde]\nextractors: [vgg]", "vgg"),
        ("imaging:", "imaging:\n    colormap: rainbows", "colormap.*rainbows"),
        ("imaging:", "imaging:\n    channel: 7\n    pad_mode: sideways", "pad_mode.*sideways"),
        ("  detectors:", "  features: {precision: float61}\n  detectors:", "precision.*float61"),
        ("n_trees: 8", "n_trees: 8\n    kernel: popcorn", "kernel.*popcorn"),
    ],
)
def test_a_setting_with_a_value_that_is_none_is_refused(made, profile, quick, old, new, names):
    """A setting whose value cannot be used is an error that names it: nothing is quietly computed without it."""
    file = profile(quick.read_text().replace(old, new, 1))
    with pytest.raises(MimiiError, match=names):
        made(profile=file, detectors="oc-svm").auc()


def test_what_a_run_does_not_hold(made):
    """A machine ID or a seed that is not of this run is an error that names those that are."""
    run = made()
    with pytest.raises(MimiiError, match=r"id_99.*id_00"):
        run.features("id_99", "squeezenet1_1")
    with pytest.raises(MimiiError, match="seed: '7'.*expected one of 0"):
        run.members("id_00", 7, "test")
    with pytest.raises(MimiiError, match="alexnet"):
        run.features("id_00", "alexnet")
