"""Explanations: which clips are shown, which training patches are nearest, what the occlusion of a block changes."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from mimii_lib import detectors, paper
from mimii_lib.data import weights
from mimii_lib.errors import NotRun
from mimii_lib.pages import explanation_figures, explanations
from mimii_lib.run import Run

EXTRACTOR, MACHINE_ID, SYSTEM = "squeezenet1_1", "id_00", ("squeezenet1_1", "kde")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setenv(weights.OFFLINE, "1")


@pytest.fixture
def new_run(tiny, quick):
    """Return a function that returns a run on two IDs of the small miniature, with three patches per clip."""

    def new_run(ids="id_00 id_02", detectors="kde", **params):
        return Run(
            "fan", **({"data": tiny, "profile": quick, "extractors": EXTRACTOR} | params), ids=ids, detectors=detectors
        )

    return new_run


@pytest.fixture
def scorer(new_run):
    return explanations.PatchScorer(new_run(ids=MACHINE_ID), SYSTEM, 0, MACHINE_ID)


def examples_of(run, system=SYSTEM):
    return explanations.example_clips(explanations.ranked_clips(run, system))


def test_examples_are_the_extreme_clips(new_run):
    """No abnormal clip ranks above the best caught or below the worst missed; no normal one above the false alarm."""
    run, places = new_run(), {"abnormal": {}, "normal": {}}
    for machine_id in run.ids:
        scored = run.clip_scores(machine_id, *SYSTEM, 0)
        paths = run.recordings.split_clips(machine_id, 0, "test").path
        for path, score, anomalous in zip(paths, scored.scores, scored.anomalous, strict=True):
            others = scored.scores[scored.anomalous != anomalous]
            places["abnormal" if anomalous else "normal"][path] = (others < score).mean()
    examples = examples_of(run)
    assert all(clip.place == places[clip.label][clip.path] for clip in examples.itertuples())
    ordered = sorted(places["abnormal"].values())
    by_kind = examples.groupby("kind").place.apply(sorted)
    assert by_kind["best caught"] == ordered[-2:]
    assert by_kind["worst missed"] == ordered[:2]
    assert by_kind["worst false alarm"] == [max(places["normal"].values())]


@pytest.mark.parametrize("abnormal", [1, 2, 3, 4, 7])
def test_no_example_is_shown_twice(abnormal):
    """However few abnormal clips there are, none is both caught and missed; one is caught before one is missed."""
    labels = ["abnormal"] * abnormal + ["normal"]
    ranked = pd.DataFrame({"label": labels, "path": range(len(labels)), "place": 0.5, "excess": range(len(labels))})
    examples = explanations.example_clips(ranked, k=2)
    assert examples.path.is_unique
    counts = examples.kind.value_counts().reindex(explanations.KINDS, fill_value=0)
    assert list(counts) == [min(2, (abnormal + 1) // 2), min(2, abnormal // 2), 1]


def test_a_clip_is_not_compared_with_itself(new_run):
    """The normal clip with the highest score ranks above all other normal clips, not above itself."""
    ranked = explanations.ranked_clips(new_run(ids=MACHINE_ID), SYSTEM)
    normal = ranked[ranked.label == "normal"]
    top = normal.loc[normal.score.idxmax()]
    assert top.above_normal == top.n_normal == len(normal) - 1
    assert (ranked[ranked.label == "abnormal"].n_normal == len(normal)).all()


@pytest.mark.parametrize("detector", paper.DETECTORS)
def test_a_patch_scorer_scores_as_the_run_does(new_run, detector):
    """Test patches that go through the network again get the scores of the run, in standard deviations."""
    run = new_run(ids=MACHINE_ID, detectors=detector)
    test = run.recordings.split_clips(MACHINE_ID, 0, "test")
    kept = run.scores(MACHINE_ID, EXTRACTOR, detector, 0)
    normal = kept[(test.label == "normal").to_numpy()]
    patches = run.patches(MACHINE_ID)[test.index]
    scores, _ = explanations.PatchScorer(run, (EXTRACTOR, detector), 0, MACHINE_ID)(patches.reshape(-1, 64, 64))
    np.testing.assert_allclose(scores, ((kept - normal.mean()) / normal.std()).ravel(), rtol=1e-2, atol=1e-2)


def test_the_nearest_training_patches(new_run):
    """They are those of a plain search among all standardised training patches, with the clips they come from."""
    run = new_run()
    explanation = explanations.explain(run, SYSTEM, examples_of(run).iloc[0])
    clip, inputs = explanation.clip, run.stages.detector_inputs
    train, test = (run.recordings.split_clips(clip.id, 0, role) for role in ("train", "test"))
    scaler = detectors.Standardiser().fit(inputs(clip.id, EXTRACTOR, train))
    own, trained = (
        scaler.transform(inputs(clip.id, EXTRACTOR, clips)) for clips in (test[test.path == clip.path], train)
    )
    distances = cdist(own, trained)
    np.testing.assert_allclose(explanation.measures[1], distances.min(axis=1))
    assert list(explanation.worst) == list(np.argsort(-explanation.measures[0], kind="stable")[: explanations.N_WORST])
    patches = run.patches(clip.id)
    for rank, number in enumerate(explanation.worst):
        nearest = explanation.nearest[explanation.nearest.patch == number]
        order = np.argsort(distances[number])[: explanations.N_NEAREST]
        np.testing.assert_allclose(nearest.distance, distances[number][order])
        assert list(nearest.path) == [train.path.iloc[at // len(own)] for at in order]
        assert list(nearest.number) == [at % len(own) for at in order]
        squares = -np.sort(-((own[number] - trained[order[0]]) ** 2))
        n_features = nearest.features.iloc[0]
        assert squares[:n_features].sum() >= squares.sum() / 2 > squares[: n_features - 1].sum()
        image = patches[test.index[test.path == clip.path][0], number]
        np.testing.assert_array_equal(explanation.patches[rank, 0], image[::-1])


def test_occlusion_by_the_patch_itself_changes_nothing(new_run, scorer):
    """Where a block is replaced by itself, neither score nor distance changes."""
    patch = new_run().patches(MACHINE_ID)[0, 0]
    np.testing.assert_allclose(explanations.occlusion_map(patch, patch, scorer), 0, atol=1e-4)


@pytest.mark.parametrize("shape", [(64, 64), (40, 64), (128, 31)])
def test_every_pixel_is_occluded_by_a_small_window(shape):
    """The windows cover images of any size, and none covers half of one."""
    occluded = []

    def measure(images):
        occluded.append(images[1:] == 0)
        return images.mean(axis=(1, 2))

    areas = explanations.occlusion_map(np.ones(shape, np.uint8), np.zeros(shape, np.uint8), measure)
    assert occluded[0].any(axis=0).all()
    assert ((areas > 0) & (areas < 0.5)).all()


@pytest.mark.parametrize("block", [(1, 1), (2, 6), (6, 3)])
def test_a_burst_is_found_where_it_is(new_run, scorer, block):
    """A bright block in a training patch is the one whose occlusion decreases the distance most."""
    run = new_run()
    train = run.patches(MACHINE_ID)[run.recordings.split_clips(MACHINE_ID, 0, "train").index]
    side, patch = train.shape[-1] // explanations.GRID, train[0, 0].copy()
    patch[tuple(slice(at * side, (at + 1) * side) for at in block)] = 255
    average = train.mean(axis=(0, 1)).round().astype(np.uint8)
    distances = explanations.occlusion_map(patch, average, scorer)[1]
    assert np.unravel_index(distances.argmax(), distances.shape) == block


@pytest.mark.parametrize("detector", paper.DETECTORS)
def test_no_sentence_lacks_a_number(new_run, detector):
    """For any detector the examples and the explanation of one are read in whole sentences."""
    run, system = new_run(detectors=detector, ids=MACHINE_ID), (EXTRACTOR, detector)
    examples = {run: examples_of(run, system)}
    explained = explanations.explain(run, system, examples[run].iloc[0])
    sentences = explanation_figures.readings(examples, [explained]).values()
    assert all(sentence.endswith(".") and "nan" not in sentence for sentence in sentences)


def test_figures_and_sounds_have_descriptions(new_run):
    """Every drawing and every player has a description."""
    run = new_run(ids=MACHINE_ID)
    examples = {run: examples_of(run)}
    explained = explanations.explain(run, SYSTEM, examples[run].iloc[0])
    page = explanation_figures.score_track(explained) + explanation_figures.nearest_patches(explained, 1)
    page += explanation_figures.occlusion_maps(explained) + explanation_figures.example_figures(examples).data
    for element in ("svg", "audio"):
        heads = re.findall(f"<{element} [^>]*>", page)
        assert heads and all(re.search('aria-label="[^"]{20,}"', head) for head in heads)


def test_without_a_network_nothing_is_explained(new_run, tmp_path):
    """Where weights are missing or no detector was asked for, the page is not run; a run that has both is explained."""
    without = [new_run(extractors="resnet18", weights=tmp_path), new_run(detectors="small-dcae")]
    for run in without:
        with pytest.raises(NotRun):
            explanations.trained_systems([run])
    run = new_run()
    assert explanations.trained_systems([without[1], run]) == {run: [SYSTEM]}
