"""Figures draw the data that they are given."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex
from torch.nn.functional import interpolate

from mimii_lib import imaging
from mimii_lib.extractors import IMAGENET_MEAN, IMAGENET_STD
from mimii_lib.pages import figures
from mimii_lib.pages.drawing import ABNORMAL, NORMAL, QUIET
from mimii_lib.run import Run
from mimii_lib.settings import Imaging


@pytest.fixture(scope="module")
def run(tiny, quick, tmp_path_factory) -> Run:
    cache = tmp_path_factory.mktemp("cache")
    return Run("fan", data=tiny, profile=quick, ids="id_00 id_02 id_04", seeds="0 1", detectors="kde if", cache=cache)


def offsets(axis, colour: str) -> list[int]:
    """Return the number of marks of each group of a colour."""
    return [len(group.get_offsets()) for group in axis.collections if to_hex(group.get_facecolor()[0]) == colour]


def test_a_spectrogram_spans_its_clip_and_frames_its_patches():
    """Time reaches the clip's length, the image holds the decibels, a rectangle of a patch's length is at its start."""
    settings, decibels = Imaging(), np.random.default_rng(0).normal(size=(64, 626)).astype("float32")
    axis = figures.spectrogram(decibels, settings, patches=[0, 3]).axes[0]
    assert axis.images[0].get_extent()[1] == pytest.approx(626 * 256 / 16000)
    np.testing.assert_array_equal(axis.images[0].get_array(), decibels)
    boxes = [patch for patch in axis.patches if patch.get_width() == pytest.approx(1.024)]
    assert [box.get_x() for box in boxes] == pytest.approx([0, 3 * 32 * 256 / 16000])


def test_clips_have_a_caption_a_description_and_a_player(run):
    """Three machine IDs give three pairs of a normal and an abnormal clip; patch scores are described."""
    html = figures.clip_pairs(run).data
    assert html.count("<audio") == html.count("<figcaption>") == html.count('role="img" aria-label="Log-mel') == 6
    assert figures.clip_pairs(run, run).data.count("<audio") == 4  # the first machine ID of each run
    (caption, path), *_ = figures.examples(run, "id_00").items()
    assert "highest score in patch 1 of 3" in figures.clips(run, {caption: path}, {caption: np.array([0, 2.0, 1])}).data


def test_the_split_is_drawn_clip_by_clip(run):
    """A row per seed with a stroke per normal clip, in the colour of test clips for as many as are tested."""
    axis = figures.split_map(run, "id_00").axes[0]
    strokes = [(to_hex(row.get_color()), len(row.get_positions())) for row in axis.collections]
    n_tested = (run.recordings.split_clips("id_00", 0, "test").label == "normal").sum()
    assert sorted(strokes) == sorted([(NORMAL, n_tested), (QUIET, 12 - n_tested)] * 2)


def test_results_are_drawn_per_machine_id_system_and_seed(run):
    """AUCs: a panel per ID, two dots and their mean per system. Scores and features: a mark per clip, by label."""
    systems, aucs = run.results.systems(), run.auc()
    panels = [axis for axis in figures.auc_dots(run, aucs).axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in panels] == run.ids
    dots, mean = panels[0].lines[:2]
    first = aucs.query(f"id == 'id_00' and detector == '{systems[0][1]}'").auc * 100
    np.testing.assert_allclose(dots.get_xdata(), first)
    np.testing.assert_allclose(mean.get_xdata(), first.mean())
    tested = run.recordings.split_clips("id_00", 0, "test").label.value_counts()
    strips = figures.score_strips(run, "id_00", systems, 0).axes[0]
    panels = figures.feature_map(run, run.stages.extractors[0], 0).axes
    assert offsets(strips, NORMAL) == [tested["normal"]] * len(systems)
    assert offsets(strips, ABNORMAL) == [tested["abnormal"]] * len(systems)
    assert offsets(panels[0], ABNORMAL) == [tested["abnormal"]]
    shares = [float(re.search(r"(\d+)%", label).group(1)) for label in (panels[0].get_xlabel(), panels[0].get_ylabel())]
    assert sum(shares) <= 100 and shares[0] >= shares[1] > 0
    assert not panels[3].get_visible()  # three machine IDs in a grid of four


def test_auto_encoders_and_patches_are_drawn_as_images():
    """Loss curves hold the losses; images are a patch, its standardised channels and its reconstructions."""
    patch, settings = np.arange(4096, dtype="uint8").reshape(64, 64), Imaging()
    fitted = SimpleNamespace(losses_=[3.0, 2.0, 1.5], reconstruct=lambda flat: np.full((len(flat), 3, 64, 64), 0.25))
    np.testing.assert_allclose(figures.loss_curves({"lenet-dcae": fitted}).axes[0].lines[0].get_ydata(), [3, 2, 1.5])
    rgb = imaging.rgb_patches(patch[None], settings)[0].permute(1, 2, 0)
    channels = np.stack([axis.images[0].get_array() for axis in figures.colour_channels(patch, settings).axes[:3]])
    mean, std = (np.array(value)[:, None, None] for value in (IMAGENET_MEAN, IMAGENET_STD))
    enlarged = interpolate(torch.tensor(rgb).permute(2, 0, 1)[None], size=224, mode="bilinear")[0].numpy()
    np.testing.assert_allclose(channels, (enlarged - mean) / std, atol=1e-4)
    grid = figures.reconstructions({"lenet-dcae": fitted}, {"a": patch, "b": patch}, settings).axes
    np.testing.assert_allclose(grid[0].images[0].get_array(), rgb)
    assert [axis.get_ylabel() for axis in grid] == ["input", "", "LeNet-DCAE", ""]
    assert (grid[3].images[0].get_array() == 0.25).all()


def test_one_large_change_does_not_squeeze_the_others():
    """A change far beyond the others is an arrow with its number; alternatives without a change are left out."""
    changes = {"some": (2, -3, 7), "other": (-4, -9, 1), "none": (0, 0, 0), "huge": (-60, -80, -40)}
    table = pd.DataFrame(
        {"title": "a point", "alternative": name, "difference": value, "low": low, "high": high, "not_run": ""}
        for name, (value, low, high) in changes.items()
    )
    (axis,) = figures.effects(table).axes
    texts = [text.get_text().strip() for text in axis.texts]
    assert texts == ["a point: some", "a point: other", "−60.0", "a point: huge"]
    assert 9 <= axis.get_xlim()[1] <= 30
