"""Looking into a decision: which clips are shown, what was nearest, where hiding a part changes the score."""

import base64
import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from mimii_lib import detectors, evaluation, paper
from mimii_lib.data import weights
from mimii_lib.pages import explanation_figures, explanations
from mimii_lib.run import Run, engines

EXTRACTOR, MACHINE_ID = "squeezenet1_1", "id_00"


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path_factory.mktemp("torch")))
    monkeypatch.setenv(weights.OFFLINE, "1")


@pytest.fixture
def made(tiny, quick):
    """Return a function that makes a run on the small miniature: three patches a clip."""

    def make(machine="fan", **said):
        return Run(machine, **({"data": tiny, "profile": quick, "extractors": EXTRACTOR} | said))

    return make


@pytest.fixture
def judged(made):
    """Return a function that gives a run with one detector, and a judge of its first machine ID."""

    def make(detector="kde", machine="fan"):
        run = made(machine, detectors=detector, ids=MACHINE_ID)
        return run, explanations.PatchScorer(run, (EXTRACTOR, detector), 0, MACHINE_ID)

    return make


# Which clips


def test_the_gallery_goes_by_the_scores(made):
    """No abnormal clip beats more normal ones than the best caught, fewer than the worst missed; so with the alarm."""
    run, row = made(), (EXTRACTOR, "kde")
    shown = explanations.gallery(explanations.judged(run, row), k=2)
    places = {"abnormal": {}, "normal": {}}
    for machine_id in run.ids:
        tested = run.clip_scores(machine_id, *row, 0)
        members = run.recordings.split_clips(machine_id, 0, "test")
        for path, score, anomalous in zip(members.path, tested.scores, tested.anomalous, strict=True):
            others = tested.scores[tested.anomalous != anomalous]
            places["abnormal" if anomalous else "normal"][path] = (others < score).mean()
    found = shown.groupby("kind").path.apply(list)
    ordered = sorted(places["abnormal"].values())
    assert sorted(places["abnormal"][path] for path in found["best caught"]) == ordered[-2:]
    assert sorted(places["abnormal"][path] for path in found["worst missed"]) == ordered[:2]
    assert [places["normal"][path] for path in found["worst false alarm"]] == [max(places["normal"].values())]
    for clip in shown.itertuples():
        assert clip.place == places[clip.label][clip.path]


@pytest.mark.parametrize("abnormal", [1, 2, 3, 4, 7])
def test_no_clip_is_shown_twice(abnormal):
    """However few abnormal clips there are, none is both caught and missed; one is caught before one is missed."""
    labels = ["abnormal"] * abnormal + ["normal"]
    table = pd.DataFrame({"label": labels, "path": range(len(labels)), "place": 0.5, "excess": range(len(labels))})
    shown = explanations.gallery(table, k=2)
    assert shown.path.is_unique
    assert (shown.kind == "best caught").sum() == min(2, (abnormal + 1) // 2)
    assert (shown.kind == "worst missed").sum() == min(2, abnormal // 2)
    assert (shown.kind == "worst false alarm").sum() == 1


def test_a_clip_is_not_compared_with_itself(made):
    """The normal clip with the highest score is above all the other normal ones, not above itself."""
    table = explanations.judged(made(ids=MACHINE_ID), (EXTRACTOR, "kde"))
    normal = table[table.label == "normal"]
    top = normal.loc[normal.score.idxmax()]
    assert top.above_normal == top.n_normal == len(normal) - 1
    assert (table[table.label == "abnormal"].n_normal == len(normal)).all()


# Into one of them


@pytest.mark.parametrize("detector", paper.DETECTORS)
def test_a_judge_scores_as_the_run_does(judged, detector):
    """What a judge says of the test patches, put through the network anew, is what the run had scored, in its units."""
    run, judge = judged(detector)
    test = run.recordings.split_clips(MACHINE_ID, 0, "test")
    kept = run.scores(MACHINE_ID, EXTRACTOR, detector, 0)
    normal = kept[(test.label == "normal").to_numpy()]
    patches = run.patches(MACHINE_ID)[test.index]
    scores, _ = judge(patches.reshape(-1, *patches.shape[2:]))
    expected = (kept - normal.mean()) / normal.std()
    np.testing.assert_allclose(scores, expected.ravel(), rtol=1e-2, atol=1e-2)


def test_the_nearest_training_patches(made):
    """They are those of a plain search among all standardised training patches, with the clips they come from."""
    run, row = made(), (EXTRACTOR, "kde")
    look = explanations.look(run, row, explanations.gallery(explanations.judged(run, row)).iloc[0])
    train, test = (run.recordings.split_clips(look.machine_id, 0, role) for role in ("train", "test"))
    scaler = detectors.Standardiser().fit(run.stages.detector_inputs(look.machine_id, EXTRACTOR, train))
    learnt, seen = (
        scaler.transform(run.stages.detector_inputs(look.machine_id, EXTRACTOR, clips))
        for clips in (train, test[test.path == look.path])
    )
    distances = cdist(seen, learnt)
    np.testing.assert_allclose(look.measured[1], distances.min(axis=1))
    assert list(look.worst) == list(np.argsort(-look.measured[0], kind="stable")[: explanations.WORST])
    for number, found in look.nearest.groupby("patch"):
        order = np.argsort(distances[number])[: explanations.NEAREST]
        np.testing.assert_allclose(found.distance, distances[number][order])
        assert list(found.path) == [train.path.iloc[at // seen.shape[0]] for at in order]
        assert list(found.number) == [at % seen.shape[0] for at in order]
    patches = run.patches(look.machine_id)
    for rank, number in enumerate(look.worst):
        np.testing.assert_array_equal(look.patches[rank, 0], patches[test.index[test.path == look.path][0], number])


def test_a_look_is_kept(made, monkeypatch):
    """Looking again describes and fits nothing, and finds the same."""
    run, row = made(ids=MACHINE_ID), (EXTRACTOR, "kde")
    clip = explanations.gallery(explanations.judged(run, row)).iloc[0]
    first = explanations.look(run, row, clip)
    for place in ((engines, "extract"), (Run, "_fitted")):
        monkeypatch.setattr(*place, lambda *said: pytest.fail("this was computed before"))
    again = explanations.look(made(ids=MACHINE_ID), row, clip)
    np.testing.assert_array_equal(again.falls, first.falls)


def test_half_of_a_sum():
    """The parts that are chosen make half, and without the least of them less; what is negative is never chosen."""
    parts = np.random.default_rng(0).standard_normal((8, 8))
    chosen = explanations.half_of(parts)
    half = parts.clip(min=0).sum() / 2
    assert (parts[chosen] > 0).all()
    assert parts[chosen].sum() >= half > parts[chosen].sum() - parts[chosen].min()
    assert not explanations.half_of(-np.abs(parts)).any()


# Where on the picture


def test_hiding_a_patch_by_itself_changes_nothing(judged):
    """Where what stands in place of a block is the block, neither score nor distance moves."""
    run, judge = judged()
    patch = run.patches(MACHINE_ID)[0, 0]
    np.testing.assert_allclose(explanations.occlusion(patch, patch, judge), 0, atol=1e-4)


def test_every_pixel_is_hidden_by_some_window():
    """The windows cover pictures of any size, and no window covers half of one."""
    for shape in ((64, 64), (40, 64), (128, 31)):
        covered = np.zeros(shape, int)
        for window in explanations.windows(shape):
            covered[window] += 1
            assert covered[window].size < covered.size / 2
        assert covered.min() >= 1


def test_the_fill_is_the_average_of_training():
    """It is the mean at each place, rounded to an entry of the colour map."""
    patches = np.random.default_rng(0).integers(0, 256, (3, 5, 8, 9), dtype=np.uint8)
    assert (np.abs(explanations.average(patches) - patches.astype(float).mean(axis=(0, 1))) <= 0.5).all()


@pytest.mark.parametrize("place", [(1, 1), (2, 6), (6, 3)])
def test_a_burst_is_found_where_it_was_put(judged, place):
    """A bright spot in an ordinary patch is what its distance falls by most, in the block where it was put."""
    run, judge = judged()
    train = run.patches(MACHINE_ID)[run.recordings.split_clips(MACHINE_ID, 0, "train").index]
    side = train.shape[-1] // explanations.GRID
    window = tuple(slice(at * side, (at + 1) * side) for at in place)
    patch = train[0, 0].copy()
    patch[window] = 255
    falls = explanations.occlusion(patch, explanations.average(train), judge)
    assert np.unravel_index(falls[1].argmax(), falls[1].shape) == place


# The page


@pytest.mark.parametrize("detector", paper.DETECTORS)
def test_the_page_shows_what_was_found(made, detector):
    """For any detector every picture tells in words what it shows, every player has a name, every sentence is whole."""
    run, row = made(detectors=detector, ids=MACHINE_ID), (EXTRACTOR, detector)
    shown = {run: explanations.gallery(explanations.judged(run, row))}
    looks = [explanations.look(run, row, shown[run].iloc[0])]
    parts = [
        explanation_figures.gallery(shown),
        explanation_figures.along(looks),
        explanation_figures.nearest(looks),
        explanation_figures.occlusions(looks),
    ]
    made_of = "".join(part.data for part in parts)
    assert made_of.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]{20,}"', made_of)) > 0
    assert made_of.count("<audio ") == len(re.findall(r'<audio [^>]*aria-label="[^"]{20,}"', made_of)) > 0
    said = explanation_figures.readings(shown, looks)
    assert all(said[name].endswith(".") for name in said if name != "flat")
    assert "nan" not in " ".join(said.values())


def test_without_a_network_the_page_says_so(made, tmp_path):
    """Where no weights can be had, or no detector was asked for, there is a reason and nothing else."""
    without = made(extractors="resnet18", detectors="kde", weights=tmp_path)
    assert explanations.networks(without) == []
    assert "resnet18" in explanation_figures.no_ids_reason([without]).data
    only = made(detectors="small-dcae")
    assert explanations.networks(only) == []
    assert "asked for" in explanation_figures.no_ids_reason([only]).data
    assert set(explanation_figures.readings({}, []).values()) == {""}


def test_page_six_shows_the_same_clips(made):
    """The results page takes its two clips from the same gallery, with the scores of their patches."""
    from mimii_lib.pages import figures

    run = made(ids=MACHINE_ID)
    chosen, scores = figures.caught_and_missed(run, run.auc())
    pooled = [evaluation.pool(each) for each in scores.values()]
    assert list(chosen) == list(scores)
    assert pooled[0] > pooled[1]


# What pages embed becomes files


@pytest.fixture(scope="module")
def external_media():
    file = Path(__file__).parents[2] / "book" / "_ext" / "external_media.py"
    spec = importlib.util.spec_from_file_location("external_media", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_embedded_sounds_become_files(external_media, tmp_path):
    """What is read stays as it was; each sound and picture is a file of the same bytes, the same one once."""
    random = np.random.default_rng(0)
    contents = {kind: random.bytes(999) for kind in ("audio/mpeg", "image/png")}
    embedded = {kind: f"data:{kind};base64,{base64.b64encode(each).decode()}" for kind, each in contents.items()}
    sound, picture = embedded.values()
    body = (
        f'<p>data:</p><audio src="{sound}"></audio><img alt="a" src="{picture}"><img src="b.png"><audio src="{sound}">'
    )
    made = external_media.externalise(body, tmp_path, lambda name: f"../{name}")
    assert re.sub("<[^>]*>", "", made) == re.sub("<[^>]*>", "", body)
    assert len(list(tmp_path.rglob("*.*"))) == 2
    links = re.findall(r'src="\.\./([^"]*)"', made)
    assert [(tmp_path / link).read_bytes() for link in links] == [*contents.values(), contents["audio/mpeg"]]
    assert [Path(link).suffix for link in links] == [".mp3", ".png", ".mp3"]
    assert 'src="b.png"' in made
    assert external_media.externalise('<audio preload="metadata">', tmp_path, str) == '<audio preload="none">'
    assert external_media.externalise(made, tmp_path, str.upper) == made
