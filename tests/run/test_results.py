"""The results of a run: its AUCs, and where every number comes from."""

import json
import re
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mimii_lib import evaluation, settings
from mimii_lib.data import weights
from mimii_lib.pages.run_box import facts
from mimii_lib.run import profiles

COLUMNS = ["machine", "id", "extractor", "detector", "seed", "auc", "n_train", "n_normal", "n_abnormal"]
NETWORK = "squeezenet1_1"


def test_the_columns_of_the_aucs(run_on):
    """An AUC table has one row per machine ID, system and seed, with the number of clips that it rests on."""
    table = run_on(ids="id_00 id_04", detectors="kde if small-dcae", seeds="0 1").auc()
    assert list(table.columns) == COLUMNS
    assert len(table) == 2 * 3 * 2
    assert not table.duplicated(["machine", "id", "extractor", "detector", "seed"]).any()
    assert set(table.machine) == {"fan"}
    assert table.auc.between(0, 1).all()
    assert table[["n_train", "n_normal", "n_abnormal"]].drop_duplicates().to_numpy().tolist() == [[6, 6, 3]]
    assert table.extractor[table.detector == "small-dcae"].isna().all()
    assert set(table.extractor[table.detector != "small-dcae"]) == {NETWORK}


def test_an_auc_does_not_depend_on_what_else_was_asked_for(run_on):
    """A machine ID's AUC at a seed is the same alone and among other IDs, seeds and detectors, in whatever order."""
    alone = run_on(seeds=1, detectors="if").auc()
    among = run_on(ids="id_04 id_00", seeds="3 1 0", detectors="kde if").auc()
    same = among[(among.id == "id_00") & (among.seed == 1) & (among.detector == "if")]
    pd.testing.assert_frame_equal(same.reset_index(drop=True), alone)


def test_autoencoders_may_be_trained_for_fewer_seeds(run_on, profile, quick):
    """The auto-encoders may be given fewer seeds than the detectors, and never none."""
    fewer = profile(quick.read_text().replace("seeds: [0]", "seeds: [0, 1]") + "    seeds: [1]\n")
    run = run_on(profile=fewer, seeds="0 1")
    assert (run.results.seeds("kde"), run.results.seeds("small-dcae")) == ((0, 1), (1,))
    assert run_on(profile=fewer, seeds="0 2").results.seeds("small-dcae") == (0,)


def test_the_scores_of_the_clips(run_on):
    """Every test clip has a name that is the same for every seed and detector, its class, and one score."""
    run = run_on(seeds="0 1", detectors="kde if")
    names = set(run.recordings.clips_of("id_00").path.str.split("/").str[-2:].str.join("/"))
    for seed in (0, 1):
        clips = run.clip_scores("id_00", NETWORK, "if", seed)
        assert clips.unit == "fan id_00"
        assert len(set(clips.clips)) == len(clips.clips) == len(clips.scores) == 9
        assert set(clips.clips) <= names
        assert clips.anomalous.tolist() == [name.startswith("abnormal/") for name in clips.clips]
        area = run.auc().query("seed == @seed and detector == 'if'").auc.item()
        assert area == evaluation.auc(clips.anomalous, clips.scores)


@pytest.mark.parametrize(("pooling", "pool"), [("mean", np.mean), ("max", np.max), ("weighted_rank", None)])
def test_pooling_takes_the_scores_that_are_kept(run_on, nothing_new, pooling, pool):
    """How patches are pooled is decided after their scores, which are read back for every way of pooling."""
    run = run_on(detectors="kde small-dcae")
    run.auc()
    nothing_new()
    other = run.with_overrides(settings=f"evaluation.pooling={pooling}")
    for system in other.results.systems():
        scores, clips = run.scores("id_00", *system, 0), other.clip_scores("id_00", *system, 0)
        np.testing.assert_array_equal(other.scores("id_00", *system, 0), scores)
        if pool is not None:
            np.testing.assert_allclose(clips.scores, pool(scores, axis=1))
    assert other.auc().auc.between(0, 1).all()


def test_means_are_of_the_table(run_on):
    """The means of a machine ID are those of the AUC table over its seeds; the estimates have them as values."""
    run = run_on(seeds="0 1", detectors="kde if")
    means = run.auc().groupby(["extractor", "detector"]).auc.mean()
    assert run.results.means("id_00") == pytest.approx(means.to_dict())
    assert run.results.estimates("id_00").values.to_dict() == pytest.approx(means.to_dict())


def test_overrides_leave_the_run_as_it_is(run_on):
    """A run with overrides equals one that was made so; the run that it came from stays the same."""
    run = run_on()
    other = run.with_overrides(settings="evaluation.pooling=max", detectors="if", seeds=1)
    assert other.profile == run_on(settings="evaluation.pooling=max", detectors="if", seeds=1).profile
    assert run.profile == run_on().profile
    assert other.auc()[["detector", "seed"]].to_numpy().tolist() == [["if", 1]]
    assert run.auc()[["detector", "seed"]].to_numpy().tolist() == [["kde", 0]]


def test_the_identity_changes_with_the_results(run_on, fan_id_00, profile, quick):
    """The identity of a run is that of its results and clips: not of folders, or of the name of its profile."""
    identity = run_on().results.identity
    assert run_on(data=fan_id_00).results.identity == identity
    assert run_on(profile=profile(quick.read_text(), "renamed.yaml")).results.identity == identity
    others = [{"seeds": 1}, {"detectors": "if"}, {"settings": "imaging.hop=512"}, {"ids": "id_02"}]
    assert len({run_on(**parameters).results.identity for parameters in others} | {identity}) == 5


def test_every_number_says_where_it_comes_from(run_on):
    """Beside each AUC stand data, SNR, weights, engine, settings, versions and commit."""
    run = run_on(detectors="kde small-dcae", ids="id_00 id_04")
    table = run.results.with_provenance(run.auc())
    assert list(table.columns)[: len(COLUMNS)] == COLUMNS
    kde, baseline = (table[table.detector == name].iloc[0] for name in ("kde", "small-dcae"))
    assert (kde.data, kde.snr, kde.profile) == ("miniature", -6, "quick")
    assert kde.engine == str(run.stages.engine)
    assert re.fullmatch(r"(openvino|torch) \S+, (cpu|cuda), float32", kde.engine)
    assert re.fullmatch(rf"torch {re.escape(version('torch'))}, (cpu|cuda), float32", baseline.engine)
    assert kde.weights_source.startswith("package: ndf ")
    assert kde.weights_sha256 == weights.BUNDLED[NETWORK].sha256
    assert pd.isna(baseline.weights_source)
    assert pd.isna(baseline.weights_sha256)
    assert json.loads(kde.settings) == json.loads(settings.as_json(run.settings))
    versions = json.loads(kde.versions)
    for package in ("torch", "scikit-learn", "numpy"):
        assert versions[package] == version(package)
    assert re.match(r"[0-9a-f]{40}(, with changes)?$|unknown$", kde.commit)
    assert table.data_sha256.nunique() == 2
    assert table.data_sha256.str.fullmatch("[0-9a-f]{64}").all()


def test_no_path_of_this_machine_is_published(run_on, tiny, quick, shared):
    """Nothing in the provenance tells where on a machine the recordings, weights or code lay."""
    folder = shared / "weights"
    if not (folder / "squeezenet1_0.pt").is_file():
        pytest.skip("needs weights of squeezenet1_0")
    run = run_on(weights=folder, extractors=f"squeezenet1_0 {NETWORK}")
    table = run.results.with_provenance(run.auc())
    assert table.weights_source[0] == "folder: squeezenet1_0.pt"
    published = table.to_csv() + facts([run]).data
    for path in (tiny, quick.parent, folder, profiles.ROOT, Path.home(), Path(tempfile.gettempdir())):
        assert f"{path}/" not in published
        assert f'{path}"' not in published
