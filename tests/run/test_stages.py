"""The stages of a run: what each computes, and that it computes once for exactly what it depends on."""

import os

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
import torchvision
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from mimii_lib import imaging, paper
from mimii_lib.data import weights
from mimii_lib.errors import MimiiError
from mimii_lib.run.stages import detection
from mimii_lib.settings import Detectors

NETWORK = "squeezenet1_1"


def test_a_second_run_computes_nothing(run_on, nothing_new):
    """A second run of the same settings reads the first one's results."""
    parameters = {"detectors": "kde gmm small-dcae", "seeds": "0 1"}
    first = run_on(**parameters).auc()
    nothing_new()
    pd.testing.assert_frame_equal(run_on(**parameters).auc(), first)


def test_contents_count_and_names_do_not(run_on, nothing_new, fan_id_00):
    """Results are found by the contents of clips: in another folder, under other names, with other dates."""
    first = run_on().auc()
    for wav in sorted(fan_id_00.rglob("*.wav")):
        wav.rename(wav.with_name(f"renamed_{wav.name}"))
    nothing_new()
    pd.testing.assert_frame_equal(run_on(data=fan_id_00).auc(), first)


@pytest.mark.parametrize("role", ["train", "test"])
def test_a_changed_clip_is_computed_anew(run_on, fan_id_00, role):
    """A clip with another content changes the results, even where its size and its date stayed the same."""
    before = run_on(data=fan_id_00)
    features, scores = before.features("id_00", NETWORK), before.scores("id_00", NETWORK, "kde", 0)
    clip = before.recordings.split_clips("id_00", 0, role).iloc[0]
    file = fan_id_00 / clip.path
    state = file.stat()
    sound, rate = soundfile.read(file, dtype="int16")
    soundfile.write(file, np.random.default_rng(0).permutation(sound), rate)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert (file.stat().st_size, file.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    after = run_on(data=fan_id_00)
    again, others = after.features("id_00", NETWORK), np.arange(len(features)) != clip.name
    np.testing.assert_allclose(again[others], features[others], rtol=1e-3, atol=1e-3)
    assert not np.allclose(again[clip.name], features[clip.name], atol=0.1)
    assert not np.array_equal(after.scores("id_00", NETWORK, "kde", 0), scores)
    assert after.recordings.digest("id_00") != before.recordings.digest("id_00")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a cache of its own, of which the cases of a test share what they begin with."""
    return tmp_path_factory.mktemp("cache")


@pytest.mark.parametrize(
    ("detector", "settings", "computed"),
    [
        ("kde", "imaging.top_db=40", {"spectrograms", "features", "scores"}),
        ("kde", "imaging.hop=512", {"spectrograms", "features", "scores"}),
        ("kde", "imaging.pad_mode=reflect", {"spectrograms", "features", "scores"}),
        ("kde", "imaging.db_reference=fixed", {"spectrograms", "features", "scores"}),
        ("kde", "imaging.colormap=gray", {"features", "scores"}),
        ("kde", "imaging.scaling=range", {"features", "scores"}),
        ("kde", "imaging.origin=upper", {"features", "scores"}),
        ("kde", "imaging.patch_offset=200", {"features", "scores"}),
        ("kde", "detectors.pca=4", {"scores"}),
        ("kde", "detectors.variance_floor=0.1", {"scores"}),
        ("gmm", "detectors.precision=float32", {"scores"}),
        ("kde", "detectors.bandwidth=0.2", {"scores"}),
        ("gmm", "detectors.n_components=3", {"scores"}),
        ("gmm", "detectors.n_init=3 detectors.init_params=random", {"scores"}),
        ("gmm", "detectors.reg_covar=0.1", {"scores"}),
        ("b-gmm", "detectors.weight_prior=dirichlet_distribution", {"scores"}),
        ("oc-svm", "detectors.kernel=linear", {"scores"}),
        ("small-dcae", "autoencoders.channels=1", {"auto-encoders", "scores"}),
        ("small-dcae", "autoencoders.precision=bfloat16", {"auto-encoders", "scores"}),
        ("small-dcae", "autoencoders.batch_size=4", {"auto-encoders", "scores"}),
        ("kde", "detectors.memory=1", set()),
        ("kde", "features.alexnet_relu=false", set()),
        ("kde", "autoencoders.epochs=2", set()),
        ("kde", "evaluation.pooling=max", set()),
    ],
)
def test_a_setting_computes_what_depends_on_it(run_on, kept_results, detector, settings, computed, cache):
    """Another setting computes the stages that depend on it anew, and reads the others back."""
    run = run_on(detectors=detector, cache=cache)
    ((extractor, _),) = run.results.systems()
    before = run.scores("id_00", extractor, detector, 0)
    results = kept_results(cache)
    after = run.with_overrides(settings=settings).scores("id_00", extractor, detector, 0)
    assert set(kept_results(cache) - results) == computed
    assert np.array_equal(before, after) == (not computed)


def test_other_weights_give_other_features(run_on, tmp_path):
    """The same network with a user's weights has features of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(torchvision.models.squeezenet1_1().state_dict(), tmp_path / f"{NETWORK}.pt")
    package, user = (run_on(weights=folder).features("id_00", NETWORK) for folder in (None, tmp_path))
    assert package.shape == user.shape
    assert not np.allclose(package, user, rtol=0.1)


@pytest.mark.parametrize(("value", "fault"), [("nan", "not finite"), ("inf", "not finite"), (0, "the same features")])
def test_weights_that_describe_nothing_are_refused(run_on, tmp_path, value, fault):
    """Weights of NaN, infinity or zeros end the run with their name instead of an AUC of 50 %."""
    state = torchvision.models.squeezenet1_1().state_dict()
    torch.save(
        {name: torch.full_like(weight, float(value)) for name, weight in state.items()}, tmp_path / f"{NETWORK}.pt"
    )
    with pytest.raises(MimiiError, match=f"{NETWORK}.*{fault}.*replace the file") as error:
        run_on(weights=tmp_path).auc()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_each_engine_has_features_of_its_own(run_on, engine):
    """Engines agree to rounding; the features of one never pass for the other's."""
    run, other = run_on(), run_on(settings=f"features.engine={engine}")
    first, second = (side.features("id_00", NETWORK) for side in (run, other))
    np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4 * np.abs(first).max())
    keys = [side.stages.keys("id_00", NETWORK, "kde", 0)[1].digest for side in (run, other)]
    assert (keys[0] == keys[1]) == (run.stages.engine == other.stages.engine)


def test_a_trained_autoencoder_comes_back_as_it_was(run_on, nothing_new):
    """An auto-encoder that is read back has the losses of its training and scores to the last bit as before."""
    first = run_on(detectors="lenet-dcae").fit("id_00", None, "lenet-dcae", 0)
    nothing_new()
    run = run_on(detectors="lenet-dcae")
    again = run.fit("id_00", None, "lenet-dcae", 0)
    pictures = run.stages.detector_inputs("id_00", None, run.recordings.split_clips("id_00", 0, "test"))
    assert again.losses_ == first.losses_
    np.testing.assert_array_equal(again.score_samples(pictures), first.score_samples(pictures))


def test_shapes_of_the_stages(run_on):
    """Each stage has one row per clip: spectrograms, patches and features; detectors take them patch by patch."""
    run = run_on()
    assert len(run.recordings.clips_of("id_00")) == 15
    assert run.spectrograms("id_00").shape == (15, 64, 626)
    patches = run.patches("id_00")
    assert patches.shape == (15, 3, 64, 64)
    assert run.features("id_00", NETWORK).shape == (15, 3, 2048)
    test = run.recordings.split_clips("id_00", 0, "test")
    pictures = run.stages.detector_inputs("id_00", None, test)
    np.testing.assert_array_equal(pictures.reshape(len(test), 3, 64, 64), patches[test.index])


def test_the_auc_is_computed_as_the_paper_says(run_on):
    """The AUC is what standardised features, a kernel density and the mean over patches give step by step."""
    run = run_on(seeds="0 3")
    features = run.features("id_00", NETWORK).astype(float)
    for seed in (0, 3):
        train, test = (run.recordings.split_clips("id_00", seed, role) for role in ("train", "test"))
        known = features[train.index].reshape(-1, 2048)
        mean, std = known.mean(axis=0), known.std(axis=0)
        std[std == 0] = 1
        new = (features[test.index].reshape(-1, 2048) - mean) / std
        densities = logsumexp(-cdist(new, (known - mean) / std, "sqeuclidean") / (2 * 0.1**2), axis=1)
        clip_scores = -densities.reshape(len(test), -1).mean(axis=1)
        table = run.auc()
        expected = roc_auc_score(test.label == "abnormal", clip_scores)
        assert table.auc[table.seed == seed].item() == pytest.approx(expected)


@pytest.mark.parametrize("detector", [*paper.DETECTORS, "small-dcae"])
def test_a_fitted_detector_scores_as_in_the_run(run_on, detector):
    """The detector that a run hands out holds all that comes before it, and its scores are the run's."""
    run = run_on(detectors=detector)
    ((extractor, _),) = run.results.systems()
    train, test = (
        run.stages.detector_inputs("id_00", extractor, run.recordings.split_clips("id_00", 0, role))
        for role in ("train", "test")
    )
    scores = run.scores("id_00", extractor, detector, 0)
    fitted = run.fit("id_00", extractor, detector, 0)
    np.testing.assert_allclose(-fitted.score_samples(test).reshape(scores.shape), scores, rtol=1e-9)
    fresh = run.stages.detector(detector, 0).fit(train)
    np.testing.assert_allclose(-fresh.score_samples(test).reshape(scores.shape), scores, rtol=1e-6)


def test_scaling_by_the_training_clips_sees_no_test_clip(run_on):
    """Scaled between the training clips' extremes, pictures depend on the training set of their seed alone."""
    run = run_on(
        settings="imaging.scaling=training imaging.db_reference=fixed", seeds="0 1 2", detectors="kde small-dcae"
    )
    spectrograms, limits = run.spectrograms("id_00"), set()
    for seed in (0, 1, 2):
        train = run.recordings.split_clips("id_00", seed, "train")
        low, high = float(spectrograms[train.index].min()), float(spectrograms[train.index].max())
        limits.add((low, high))
        expected = [imaging.patches(spectrogram, run.settings.imaging, (low, high)) for spectrogram in spectrograms]
        np.testing.assert_array_equal(run.patches("id_00", seed), expected)
        features = run.stages.detector_inputs("id_00", NETWORK, train, seed)
        np.testing.assert_array_equal(features, run.features("id_00", NETWORK, seed)[train.index].reshape(-1, 2048))
    assert len(limits) > 1
    among, alone = run.auc(), run.with_overrides(seeds=2).auc()
    pd.testing.assert_frame_equal(among[among.seed == 2].reset_index(drop=True), alone)


def test_pca_comes_before_the_detector(run_on):
    """With PCA a detector sees as many dimensions as were asked for; more than there are patches are refused."""
    run = run_on(settings="detectors.pca=5", detectors="gmm")
    assert run.fit("id_00", NETWORK, "gmm", 0)[-1].n_features_in_ == 5
    assert run_on(detectors="gmm").fit("id_00", NETWORK, "gmm", 0)[-1].n_features_in_ == 2048
    with pytest.raises(MimiiError, match="pca.*18") as error:
        run_on(settings="detectors.pca=19").auc()
    assert "\n" not in str(error.value)


def test_a_mixture_needs_as_many_patches_as_components(run_on):
    """Eighteen patches for 80 components are too few: the machine ID is skipped, and no mixture is fitted."""
    run = run_on(settings="detectors.n_components=80", detectors="gmm")
    assert run.recordings.skipped == {"id_00": "too few clips: 6 left to train on, at least 27 needed"}
    assert run.auc().empty
    with pytest.raises(MimiiError, match="gmm: 18 training patches for 80"):
        run.scores("id_00", NETWORK, "gmm", 0)
    assert len(run_on(settings="detectors.n_components=18", detectors="gmm").auc()) == 1


def test_extractors_without_weights_are_left_out(run_on):
    """A network whose weights cannot be reached has a reason instead of AUCs, and the others are run."""
    run = run_on(extractors=f"resnet34 {NETWORK}")
    assert set(run.stages.unavailable_extractors) == {"resnet34"}
    assert "weights not reachable" in run.stages.unavailable_extractors["resnet34"]
    assert set(run.auc().extractor) == {NETWORK}
    with pytest.raises(weights.WeightsNotFound, match="resnet34"):
        run.features("id_00", "resnet34")


@pytest.fixture
def two_threads():
    """Let two trials be computed at once."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_parallel_scores_are_those_of_one_thread(run_on, two_threads, tmp_path):
    """Scores that were computed in parallel equal, to the last bit, those that were computed one after the other."""
    parameters = {"ids": "id_00 id_02", "detectors": " ".join(paper.DETECTORS), "seeds": "0 1 2"}
    serial, parallel = (run_on(cache=tmp_path / name, **parameters) for name in ("serial", "parallel"))
    trials = parallel.results.trials()
    assert len(trials) == 2 * 5 * 3
    parallel.results.compute(trials)
    for trial in trials:
        np.testing.assert_array_equal(serial.scores(*trial), parallel.scores(*trial))


def test_an_error_of_a_thread_is_one_sentence(run_on, two_threads):
    """An error in one of several threads is the one sentence that it is alone."""
    run = run_on(settings="detectors.n_components=80", detectors="gmm kde", seeds="0 1 2")
    trials = [("id_00", NETWORK, detector, seed) for detector in ("kde", "gmm") for seed in (0, 1, 2)]
    with pytest.raises(MimiiError, match="gmm: 18 training patches for 80") as error:
        run.results.compute(trials)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("detector", "settings"), [("oc-svm", {"nu": 1.0}), ("gmm", {"reg_covar": 0.0, "n_components": 3})]
)
def test_settings_that_allow_no_fit_are_named(detector, settings):
    """Where scikit-learn cannot fit a detector, the error is one sentence with its reason."""
    features = np.random.default_rng(0).integers(2, size=(4, 1, 3)).astype(np.float32)
    settings, rows = Detectors(**{"n_components": 2} | settings), np.arange(4)
    inputs = detection.preprocess(features, rows, rows, settings, 0)
    with pytest.raises(MimiiError, match=rf"\A{detector}: cannot be fitted with these settings \(.*\); change them\Z"):
        detection.detector_scores(detector, inputs, 4, settings, 0)


def test_a_mixture_without_variance_in_float32():
    """Equal patches far from the mean are a component whose variance vanishes in float32 alone."""
    rng = np.random.default_rng(0)
    features = np.concatenate([rng.standard_normal((300, 1, 64)), np.full((30, 1, 64), 200.0)]).astype(np.float32)
    rows = np.arange(len(features))

    def scores(precision):
        settings = Detectors(n_components=10, precision=precision)
        inputs = detection.preprocess(features, rows, rows, settings, 0)
        return detection.detector_scores("gmm", inputs, len(rows), settings, 0)

    assert np.isfinite(scores("float64")).all()
    with pytest.raises(MimiiError, match=r"gmm: .*float32.*detectors.precision=float64"):
        scores("float32")
