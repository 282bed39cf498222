"""A run: every stage computed once, under a key of what it depends on, and every number with its origin."""

import json
import os
import re
import shutil
import tempfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import torchvision
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from mimii_lib import dataset, evaluation, imaging, paper, settings
from mimii_lib.data import bundled_weights, weights
from mimii_lib.errors import MimiiError
from mimii_lib.pages.run_box import facts
from mimii_lib.run import Run

COLUMNS = ["machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"]


@pytest.fixture(autouse=True)
def hub(monkeypatch, tmp_path_factory):
    """Leave torchvision's cache on this machine out, and the network too."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setenv(weights.OFFLINE, "1")


@pytest.fixture
def made(tiny, quick):
    """Return a function that makes a run on one ID of the small miniature; what it computes is kept."""

    def make(machine="fan", **said):
        return Run(machine, **({"data": tiny, "profile": quick, "ids": "id_00"} | said))

    return make


def kept_results():
    """Return the number of kept results of each stage."""
    return Counter(file.parts[-3] for file in Path(os.environ["MIMII_CACHE"]).rglob("result.*"))


@pytest.fixture
def nothing_new():
    """Return a function after whose call no spectrograms, features, networks or scores may be computed."""
    before = []

    def check(*stages):
        before.append((stages or ("spectrograms", "features", "auto-encoders", "scores"), kept_results()))

    yield check
    for stages, results in before:
        assert {stage: kept_results()[stage] for stage in stages} == {stage: results[stage] for stage in stages}


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
    features, table = before.features("id_00", "squeezenet1_1"), before.results.with_provenance(before.auc())
    scores = before.scores("id_00", "squeezenet1_1", "kde", 0)
    changed = before.recordings.split_clips("id_00", 0, role).iloc[0]
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
    assert after.results.with_provenance(after.auc()).data_sha256[0] != table.data_sha256[0]


def test_a_detectors_setting_leaves_the_features(made, nothing_new, profile, quick):
    """Another number of mixture components fits anew on the features that are there."""
    two = made(detectors="gmm").scores("id_00", "squeezenet1_1", "gmm", 0)
    other = profile(quick.read_text().replace("n_components: 2", "n_components: 3"))
    nothing_new("spectrograms", "features")
    three = made(detectors="gmm", profile=other).scores("id_00", "squeezenet1_1", "gmm", 0)
    assert two.shape == three.shape
    assert not np.allclose(two, three)


def test_a_seed_leaves_the_features(made, nothing_new):
    """Another seed splits and fits anew on the features that are there."""
    made(seeds=0).auc()
    nothing_new("spectrograms", "features")
    assert made(seeds=2).auc().seed.to_list() == [2]


def test_an_imaging_setting_makes_new_features(made, profile, quick):
    """Another dynamic range makes other pictures, so nothing that was made from the old ones is used."""
    made().auc()
    other = profile(quick.read_text().replace("imaging:", "imaging:\n    top_db: 40"))
    before = kept_results()
    made(profile=other).auc()
    assert kept_results() - before == {"spectrograms": 1, "features": 1, "scores": 1}


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
    assert len(run.recordings.clips_of("id_00")) == 15
    assert run.spectrograms("id_00").shape == (15, 64, 626)
    assert run.patches("id_00").shape == (15, 3, 64, 64)
    assert run.features("id_00", "squeezenet1_1").shape == (15, 3, 2048)


def test_only_test_clips_are_scored(made):
    """Scores belong to the test clips alone, half of the normals and all abnormals, one per patch."""
    run = made()
    train, test = (run.recordings.split_clips("id_00", 0, role) for role in ("train", "test"))
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
        train, test = (run.recordings.split_clips("id_00", seed, role) for role in ("train", "test"))
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
    assert (run.results.seeds("kde"), run.results.seeds("small-dcae")) == ((0, 1), (1,))
    assert made(profile=fewer, seeds="0 2").results.seeds("small-dcae") == (0,)


def test_a_mixture_needs_as_many_patches_as_components(made):
    """Eighteen patches for 80 components are too few: the ID is skipped with the reason, and no mixture is fitted."""
    run = made(settings="detectors.n_components=80", detectors="gmm")
    assert run.recordings.skipped == {"id_00": "too few clips: 6 left to train on, at least 27 needed"}
    assert run.auc().empty
    with pytest.raises(MimiiError, match="gmm: 18 training patches for 80"):
        run.scores("id_00", "squeezenet1_1", "gmm", 0)
    enough = made(settings="detectors.n_components=18", detectors="gmm")
    assert enough.ids == ["id_00"]
    assert len(enough.auc()) == 1


def test_ids_that_cannot_be_evaluated_are_left_out_with_the_reason(made, tiny, tmp_path):
    """An ID without abnormal clips has a reason instead of a row."""
    for name in ("id_00", "id_02"):
        shutil.copytree(tiny / "-6_dB_fan" / "fan" / name, tmp_path / "-6_dB_fan" / "fan" / name)
    shutil.rmtree(tmp_path / "-6_dB_fan" / "fan" / "id_02" / "abnormal")
    run = made(data=tmp_path, ids=None)
    assert run.ids == ["id_00"]
    assert "no abnormal clip" in run.recordings.skipped["id_02"]
    assert set(run.auc().id) == {"id_00"}


def test_extractors_without_weights_are_left_out_with_the_reason(made):
    """A network whose weights cannot be reached has a reason instead of rows, and the others are run."""
    run = made(extractors="resnet34 squeezenet1_1")
    assert set(run.stages.unavailable_extractors) == {"resnet34"}
    assert "weights not reachable" in run.stages.unavailable_extractors["resnet34"]
    assert set(run.auc().extractor) == {"squeezenet1_1"}
    with pytest.raises(weights.WeightsNotFound, match="resnet34"):
        run.features("id_00", "resnet34")


def test_a_profile_says_where_weights_are_looked_for(made, profile, quick):
    """Where a profile leaves packages out, their weights are not found."""
    run = made(profile=profile(quick.read_text() + "weight_sources: [folder]\n"))
    assert "no folder named" in run.stages.unavailable_extractors["squeezenet1_1"]
    assert "package" not in run.stages.unavailable_extractors["squeezenet1_1"]


def test_given_splits_give_the_results_of_drawn_ones(made, tmp_path):
    """Splits that were saved and read back have the AUCs of the run that drew them."""
    drawn = made(seeds="0 1")
    drawn.recordings.splits.to_csv(tmp_path / "splits.csv", index=False)
    given = made(seeds="0 1", splits=tmp_path / "splits.csv")
    pd.testing.assert_frame_equal(given.auc(), drawn.auc())


def test_other_splits_are_used(made, tmp_path):
    """A file of splits is not only read: exchanging training and test normals gives the scores of others."""
    drawn = made()
    normal = drawn.recordings.splits.path.str.contains("/normal/")
    exchanged = drawn.recordings.splits.role.map({"train": "test", "test": "train"}).where(
        normal, drawn.recordings.splits.role
    )
    drawn.recordings.splits.assign(role=exchanged).to_csv(tmp_path / "splits.csv", index=False)
    given = made(splits=tmp_path / "splits.csv")
    assert set(given.recordings.split_clips("id_00", 0, "train").path) < set(
        drawn.recordings.split_clips("id_00", 0, "test").path
    )
    arguments = ("id_00", "squeezenet1_1", "kde", 0)
    assert not np.allclose(given.scores(*arguments), drawn.scores(*arguments))


def test_fewer_training_clips_are_another_fit(made, tmp_path):
    """Splits that differ in one training clip only have scores of their own for the same test clips."""
    drawn = made()
    drawn.recordings.splits[1:].to_csv(tmp_path / "splits.csv", index=False)
    given = made(splits=tmp_path / "splits.csv")
    assert drawn.recordings.splits.role[0] == "train"
    pd.testing.assert_frame_equal(
        given.recordings.split_clips("id_00", 0, "test"), drawn.recordings.split_clips("id_00", 0, "test")
    )
    arguments = ("id_00", "squeezenet1_1", "kde", 0)
    assert not np.allclose(given.scores(*arguments), drawn.scores(*arguments))


def test_a_profile_makes_its_miniature(profile, tmp_path):
    """A profile that names the size of a miniature makes one where its data folder is, and again only once."""
    file = profile(f"data: {tmp_path / 'data'}\nminiature: {{normal: 1, abnormal: 1}}\nids: [id_06]\n")
    run = Run("pump", profile=file)
    assert run.clips.label.to_list() == ["normal", "abnormal"]
    assert run.recordings.kind == "miniature"
    dates = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.wav")}
    Run("pump", profile=file)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.wav")} == dates


# Where a number comes from


def test_every_number_says_where_it_comes_from(made):
    """Beside each AUC stand data, SNR, weights, engine, settings, versions and commit."""
    run = made(detectors="kde small-dcae")
    table = run.results.with_provenance(run.auc())
    assert list(table.columns)[: len(COLUMNS)] == COLUMNS
    row, baseline = (table[table.detector == name].iloc[0] for name in ("kde", "small-dcae"))
    assert (row.data, row.snr, row.profile) == ("miniature", -6, "quick")
    assert row.engine == str(run.stages.engine)
    assert re.fullmatch(r"(openvino|torch) \S+, (cpu|cuda), float32", row.engine)
    assert baseline.engine == f"torch {version('torch')}, {baseline.engine.split(', ')[1]}, float32"
    assert row.weights_source.startswith("package: ndf ")
    assert row.weights_sha256 == bundled_weights.BUNDLED["squeezenet1_1"].sha256
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
    digests = run.results.with_provenance(run.auc()).data_sha256
    assert digests.nunique() == 2
    assert digests.str.fullmatch("[0-9a-f]{64}").all()


def test_no_path_of_this_machine_is_published(made, tiny, quick, shared):
    """Nothing in the provenance tells where on a machine the recordings, weights or code lay."""
    folder = shared / "weights"
    if not (folder / "squeezenet1_0.pt").is_file():
        pytest.skip("needs weights of squeezenet1_0")
    run = made(weights=folder, extractors="squeezenet1_0 squeezenet1_1")
    table = run.results.with_provenance(run.auc())
    assert table.weights_source[0] == "folder: squeezenet1_0.pt"
    said = table.to_csv() + str(facts([run]))
    for path in (tiny, quick.parent, folder, settings.ROOT, Path.home(), Path(tempfile.gettempdir())):
        assert f"{path}/" not in said
        assert str(path) + '"' not in said


# Other settings


def test_settings_may_be_named_for_a_run(made, profile, quick):
    """Settings that are named are those of a profile that says them."""
    named = made(settings="detectors.n_components=3 split.balanced=true")
    text = quick.read_text().replace("n_components: 2", "n_components: 3") + "  split: {balanced: true}\n"
    assert named.settings == made(profile=profile(text)).settings
    assert made(settings={"detectors": {"n_components": 3}, "split.balanced": True}).settings == named.settings


def test_the_same_run_with_another_setting(made):
    """A run with something else in its place is a new one, equal to one that was made so; the old one stays."""
    run = made()
    other = run.with_overrides(settings="evaluation.pooling=max", detectors="if", seeds=1)
    assert other.profile == made(settings="evaluation.pooling=max", detectors="if", seeds=1).profile
    assert run.profile == made().profile
    assert other.auc()[["detector", "seed"]].to_numpy().tolist() == [["if", 1]]
    assert run.auc()[["detector", "seed"]].to_numpy().tolist() == [["kde", 0]]


@pytest.mark.parametrize(
    ("pooling", "pooled"), [("mean", np.mean), ("max", np.max), ("weighted_rank", None)], ids=["mean", "max", "rank"]
)
def test_other_pooling_takes_the_scores_that_are_there(made, nothing_new, pooling, pooled):
    """How patches are pooled is decided after their scores, which are read back for every way."""
    run = made(detectors="kde small-dcae")
    run.auc()
    nothing_new()
    other = run.with_overrides(settings=f"evaluation.pooling={pooling}")
    for extractor, detector in other.results.systems():
        arguments = ("id_00", extractor, detector, 0)
        scores = run.scores(*arguments)
        np.testing.assert_array_equal(other.scores(*arguments), scores)
        if pooled is not None:
            np.testing.assert_allclose(other.clip_scores(*arguments).scores, pooled(scores, axis=1))
    assert other.auc().auc.between(0, 1).all()


@pytest.mark.parametrize(
    "said", ["imaging.colormap=gray", "imaging.scaling=range", "imaging.origin=upper", "imaging.patch_offset=200"]
)
def test_other_pictures_take_the_spectrograms_that_are_there(made, nothing_new, said):
    """What comes after the spectrogram makes new features and no new spectrogram."""
    run = made()
    before = run.features("id_00", "squeezenet1_1")
    nothing_new("spectrograms")
    after = run.with_overrides(settings=said).features("id_00", "squeezenet1_1")
    assert before.shape != after.shape or not np.allclose(before, after, atol=0.1)


@pytest.mark.parametrize("said", ["imaging.hop=512", "imaging.pad_mode=reflect", "imaging.db_reference=fixed"])
def test_other_spectrograms_are_computed(made, nothing_new, said):
    """What the spectrogram depends on makes a new one."""
    run = made()
    before = run.spectrograms("id_00")
    after = run.with_overrides(settings=said).spectrograms("id_00")
    assert before.shape != after.shape or not np.array_equal(before, after)
    nothing_new()
    np.testing.assert_array_equal(run.spectrograms("id_00"), before)


@pytest.mark.parametrize("said", ["detectors.memory=1", "features.alexnet_relu=false", "autoencoders.epochs=2"])
def test_what_a_number_does_not_depend_on_leaves_it(made, nothing_new, said):
    """Memory, another network's cut and the auto-encoders' training are no part of a kernel density's score."""
    run = made()
    first = run.auc()
    nothing_new()
    pd.testing.assert_frame_equal(run.with_overrides(settings=said).auc(), first)


@pytest.mark.parametrize("said", ["features.engine=torch", "features.engine=openvino"])
def test_another_engine_computes_for_itself(made, said):
    """Each engine has its own features, the same to rounding; one never passes for the other."""
    run, other = made(), made(settings=said)
    first, second = (each.features("id_00", "squeezenet1_1") for each in (run, other))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(first).max())
    keys = [each.stages.keys("id_00", "squeezenet1_1", "kde", 0)[1].digest for each in (run, other)]
    assert (keys[0] == keys[1]) == (run.stages.engine == other.stages.engine)


@pytest.mark.parametrize(
    ("detector", "said"),
    [
        ("kde", "detectors.pca=4"),
        ("kde", "detectors.variance_floor=0.1"),
        ("gmm", "detectors.n_init=3 detectors.init_params=random"),
        ("gmm", "detectors.reg_covar=0.1"),
        ("b-gmm", "detectors.weight_prior=dirichlet_distribution"),
        ("oc-svm", "detectors.kernel=linear"),
        ("small-dcae", "autoencoders.channels=1"),
        ("small-dcae", "autoencoders.precision=bfloat16"),
        ("small-dcae", "autoencoders.batch_size=4"),
    ],
)
def test_another_choice_is_another_score(made, nothing_new, detector, said):
    """What a detector is asked to do otherwise makes new scores, on the features that are there."""
    run = made(detectors=detector)
    ((extractor, _),) = run.results.systems()
    before = run.scores("id_00", extractor, detector, 0)
    nothing_new("spectrograms", "features")
    after = run.with_overrides(settings=said).scores("id_00", extractor, detector, 0)
    assert after.shape == before.shape
    assert not np.array_equal(after, before)


def test_scaling_by_the_training_clips_knows_no_test_clip(made):
    """Between the training clips' extremes pictures are scaled by the clips of that seed's training set alone."""
    run = made(settings="imaging.scaling=training imaging.db_reference=fixed", seeds="0 1 2")
    spectrograms, limits = run.spectrograms("id_00"), set()
    for seed in (0, 1, 2):
        train = run.recordings.split_clips("id_00", seed, "train")
        known = spectrograms[train.index]
        limits.add((low := float(known.min()), high := float(known.max())))
        patches = run.patches("id_00", seed)
        expected = [imaging.patches(each, run.settings.imaging, (low, high)) for each in spectrograms]
        np.testing.assert_array_equal(patches, expected)
        pictures = run.stages.detector_inputs("id_00", None, train, seed)
        np.testing.assert_array_equal(pictures, patches[train.index].reshape(len(train) * 3, -1))
        arguments = ("id_00", "squeezenet1_1")
        features = run.stages.detector_inputs(*arguments, train, seed)
        np.testing.assert_array_equal(features, run.features(*arguments, seed)[train.index].reshape(-1, 2048))
    assert len(limits) > 1


def test_a_seed_has_its_own_scaling(made):
    """Scaled by the training clips a seed's AUC is the same alone and among other seeds."""
    said = {"settings": "imaging.scaling=training imaging.db_reference=fixed", "detectors": "kde small-dcae"}
    among = made(seeds="0 1 2", **said).auc()
    alone = made(seeds="2", **said).auc()
    pd.testing.assert_frame_equal(among[among.seed == 2].reset_index(drop=True), alone)


def test_a_balanced_run(made):
    """Balanced, as many normal as abnormal clips test, on the detectors that were trained as before."""
    run = made()
    balanced = run.with_overrides(settings="split.balanced=true")
    row, other = (each.auc().iloc[0] for each in (run, balanced))
    assert (row.n_train, row.n_normal, row.n_abnormal) == (6, 6, 3)
    assert (other.n_train, other.n_normal, other.n_abnormal) == (6, 3, 3)
    pd.testing.assert_frame_equal(
        run.recordings.split_clips("id_00", 0, "train"), balanced.recordings.split_clips("id_00", 0, "train")
    )
    whole, part = (each.clip_scores("id_00", "squeezenet1_1", "kde", 0) for each in (run, balanced))
    known = dict(zip(whole.clips, whole.scores, strict=True))
    np.testing.assert_allclose(part.scores, [known[name] for name in part.clips])


def test_pca_comes_before_the_detector(made):
    """With PCA a detector sees as many numbers of a patch as were asked for."""
    run = made(settings="detectors.pca=5", detectors="gmm")
    fitted = run.fit("id_00", "squeezenet1_1", "gmm", 0)
    assert fitted[-1].n_features_in_ == 5
    assert made(detectors="gmm").fit("id_00", "squeezenet1_1", "gmm", 0)[-1].n_features_in_ == 2048


def test_pca_to_more_than_there_is(made):
    """More dimensions than training patches are an error of one sentence that names the setting, not a traceback."""
    with pytest.raises(MimiiError, match="pca.*18") as error:
        made(settings="detectors.pca=19").auc()
    assert "\n" not in str(error.value)


# Detectors, clips and what is computed at once


@pytest.mark.parametrize("detector", [*paper.DETECTORS, "small-dcae"])
def test_a_fitted_detector_scores_as_in_the_run(made, detector):
    """The detector that a run hands out holds all that comes before it, and its scores are the run's."""
    run = made(detectors=detector)
    ((extractor, _),) = run.results.systems()
    fitted = run.fit("id_00", extractor, detector, 0)
    test = run.recordings.split_clips("id_00", 0, "test")
    found = -fitted.score_samples(run.stages.detector_inputs("id_00", extractor, test, 0))
    np.testing.assert_allclose(found.reshape(len(test), -1), run.scores("id_00", extractor, detector, 0), rtol=1e-9)
    fresh = run.stages.detector(detector, 0).fit(
        run.stages.detector_inputs("id_00", extractor, run.recordings.split_clips("id_00", 0, "train"), 0)
    )
    np.testing.assert_allclose(
        -fresh.score_samples(run.stages.detector_inputs("id_00", extractor, test, 0)), found, rtol=1e-6
    )


def test_the_autoencoders_see_flat_pictures(made):
    """An auto-encoder gets a row of pixels for each patch: the patches of the run, line by line."""
    run = made()
    clips = run.recordings.split_clips("id_00", 0, "test")
    found = run.stages.detector_inputs("id_00", None, clips)
    assert (found.shape, found.dtype) == ((len(clips) * 3, 4096), np.uint8)
    np.testing.assert_array_equal(found.reshape(len(clips), 3, 64, 64), run.patches("id_00")[clips.index])


def test_the_scores_of_the_clips(made):
    """Every test clip has a name that is the same for every seed and detector, its class, and one score."""
    run = made(seeds="0 1", detectors="kde if")
    names = set(run.recordings.clips_of("id_00").path.str.split("/").str[-2:].str.join("/"))
    for seed in (0, 1):
        tested = run.clip_scores("id_00", "squeezenet1_1", "if", seed)
        assert tested.unit == "fan id_00"
        assert len(set(tested.clips)) == len(tested.clips) == len(tested.scores) == 9
        assert set(tested.clips) <= names
        assert tested.anomalous.tolist() == [name.startswith("abnormal/") for name in tested.clips]
        area = evaluation.auc(tested.anomalous, tested.scores)
        assert run.auc().query("seed == @seed and detector == 'if'").auc.item() == area


@pytest.fixture
def two_threads():
    """Let two things be computed at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_what_is_computed_at_once_is_the_same_as_one_by_one(made, two_threads, tmp_path):
    """Scores that were computed in parallel equal, to the last bit, those that were computed one after the other."""
    asked = {"ids": "id_00 id_02", "detectors": " ".join(paper.DETECTORS), "seeds": "0 1 2"}
    one, both = (made(cache=tmp_path / name, **asked) for name in ("one", "both"))
    cells = [
        (machine_id, "squeezenet1_1", detector, seed)
        for machine_id in ("id_00", "id_02")
        for detector in paper.DETECTORS
        for seed in (0, 1, 2)
    ]
    both.results.compute(cells)
    for cell in cells:
        np.testing.assert_array_equal(one.scores(*cell), both.scores(*cell))


def test_what_was_computed_at_once_is_kept(made, two_threads, nothing_new, tmp_path):
    """After the parallel part every score is read back."""
    asked = {"detectors": "kde if small-dcae", "seeds": "0 1", "cache": tmp_path}
    run = made(**asked)
    run.results.compute(
        [("id_00", extractor, detector, seed) for extractor, detector in run.results.systems() for seed in (0, 1)]
    )
    nothing_new()
    assert len(made(**asked).auc()) == 6


def test_what_goes_wrong_at_once_is_told(made, two_threads):
    """An error in one of several threads is the one sentence that it is alone."""
    run = made(settings="detectors.n_components=80", detectors="gmm kde", seeds="0 1 2")
    cells = [("id_00", "squeezenet1_1", detector, seed) for detector in ("kde", "gmm") for seed in (0, 1, 2)]
    with pytest.raises(MimiiError, match="gmm: 18 training patches for 80") as error:
        run.results.compute(cells)
    assert "\n" not in str(error.value)


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
        ({"settings": "imaging.hop"}, "found 'imaging.hop', expected name=value"),
        ({"settings": "imaging.hops=1"}, "settings: imaging: 'hops' is not known; expected one of .*hop"),
        ({"settings": {"pooling": "max"}}, "settings"),
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
        run.recordings.split_clips("id_00", 7, "test")
    with pytest.raises(MimiiError, match="alexnet"):
        run.features("id_00", "alexnet")


# Clips that cannot be used


@pytest.fixture
def broken(tiny, tmp_path):
    """Return the small miniature with two clips of the fan's id_00 cut short, and their paths."""
    folder = tmp_path / "data"
    shutil.copytree(tiny / "-6_dB_fan", folder / "-6_dB_fan")
    paths = ["-6_dB_fan/fan/id_00/normal/00000003.wav", "-6_dB_fan/fan/id_00/abnormal/00000001.wav"]
    for path in paths:
        (folder / path).write_bytes((folder / path).read_bytes()[:1000])
    return folder, paths


def test_a_clip_that_cannot_be_used_stops_the_run(broken, made, nothing_new):
    """It is named, with how many more there are and how to go on, before anything is computed."""
    folder, paths = broken
    nothing_new()
    with pytest.raises(MimiiError) as raised:
        made(data=folder).auc()
    assert all(word in str(raised.value) for word in (paths[0], "samples", "split.unreadable=leave_out", "with 1 more"))
    assert paths[1] not in str(raised.value)


def test_clips_that_were_left_out_are_told(broken, made, tiny, tmp_path):
    """Left out, broken clips change the numbers as much as if they had never been there, and the report says so."""
    folder, paths = broken
    run = made(data=folder, settings="split.unreadable=leave_out")
    assert list(run.recordings.left_out) == paths
    areas = run.auc()
    rest = tmp_path / "rest"
    shutil.copytree(folder, rest)
    for path in paths:
        (rest / path).unlink()
    pd.testing.assert_frame_equal(areas, made(data=rest).auc())
    assert "2 clips that cannot be used" in facts([run])
    assert set(run.results.with_provenance(areas).left_out) == {2}
    whole = made(settings="split.unreadable=leave_out")
    assert whole.recordings.left_out == {}
    assert "cannot be used" not in facts([whole])
    assert set(whole.results.with_provenance(whole.auc()).left_out) == {0}


def test_a_mended_clip_is_seen(broken, made, tiny):
    """A clip that was replaced by a good one is used in the next run, without any cleaning up."""
    folder, paths = broken
    with pytest.raises(MimiiError):
        made(data=folder).auc()
    for path in paths:
        shutil.copy(tiny / path, folder / path)
    pd.testing.assert_frame_equal(made(data=folder).auc(), made().auc())


def test_both_layouts_give_the_same_features(made, real, tmp_path):
    """A real clip has the same features in MIMII's layout and in DCASE's, in 8 channels and in the first of them."""
    first, mono, dcase = (tmp_path / name for name in ("eight", "mono", "dcase"))
    for label in dataset.LABELS:
        (wav,) = (real / "0_dB_fan" / "fan" / "id_00" / label).glob("*.wav")
        sound, rate = soundfile.read(wav, dtype="int16")
        assert sound.shape[1] == 8
        name = f"{'normal' if label == 'normal' else 'anomaly'}_id_00_00000000.wav"
        places = (first / f"0_dB_fan/fan/id_00/{label}/{wav.name}", mono / f"fan/id_00/{label}/{wav.name}")
        for place, samples in zip(
            (*places, dcase / "fan" / "test" / name), (sound, sound[:, 0], sound[:, 0]), strict=False
        ):
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, samples, rate, subtype="PCM_16")
    runs = [made(data=first, snr=0), made(data=mono, snr=0), made(data=dcase, snr=-6)]
    one, *others = (
        run.features("id_00", "squeezenet1_1")[np.argsort(run.recordings.clips_of("id_00").label)] for run in runs
    )
    for other in others:
        np.testing.assert_array_equal(one, other)


def test_the_same_clips_named_from_above_or_below(made, tiny):
    """The folder of one machine and the folder of all hold the same clips, whichever was looked at first."""
    inner = made(data=tiny / "-6_dB_fan")
    outer = made()
    assert {path.removeprefix("-6_dB_fan/") for path in outer.clips.path} == set(inner.clips.path)
    assert inner.recordings.levels("id_00").tolist() == outer.recordings.levels("id_00").tolist()


def test_an_id_whose_clips_were_all_left_out_is_told(tiny, made, tmp_path):
    """An ID without a clip that can be used is skipped with the reason, alone and among others."""
    folder = tmp_path / "data"
    shutil.copytree(tiny / "-6_dB_fan", folder / "-6_dB_fan")
    for wav in folder.glob("*/*/id_00/*/*.wav"):
        wav.write_bytes(b"")
    said = {"data": folder, "settings": "split.unreadable=leave_out"}
    assert made(ids="id_00 id_02", **said).recordings.skipped == {"id_00": "every clip was left out"}
    with pytest.raises(MimiiError, match="id_00: every clip was left out"):
        _ = made(**said).ids


def test_saved_splits_go_on_without_clips_that_were_left_out(broken, made, tiny, tmp_path):
    """Splits that were shared can be used where a clip is broken: the others keep their roles."""
    folder, paths = broken
    whole = made()
    whole.recordings.splits.to_csv(tmp_path / "splits.csv", index=False)
    run = made(data=folder, splits=tmp_path / "splits.csv", settings="split.unreadable=leave_out")
    expected = whole.recordings.splits[~whole.recordings.splits.path.isin(paths)].reset_index(drop=True)
    pd.testing.assert_frame_equal(run.recordings.splits, expected)
    assert np.isfinite(run.auc().auc).all()
