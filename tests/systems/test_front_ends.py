"""Front ends of clip systems: statistics over time, the level, and maps that keep the frequency axis."""

import numpy as np
import pytest
import torch

from mimii_lib import extractors, imaging
from mimii_lib.data import checks, weights
from mimii_lib.run import engines
from mimii_lib.settings import CLIP_SYSTEMS, Features, Imaging, Systems
from mimii_lib.systems import catalogue, front_ends
from mimii_lib.systems.front_ends import band_statistics, decibel_limits, pool_time, wide_pictures

RANDOM = np.random.default_rng(0)
SPECTROGRAMS = RANDOM.normal(-40, 10, (3, 64, 50)).astype(np.float32)
SETTINGS = Systems()
LITE0 = extractors.get("efficientnet_lite0")


def test_every_clip_system_has_names_and_the_other_way_round():
    """The catalogue and the names of the results table hold the same systems in the same order."""
    assert list(catalogue.SYSTEMS) == list(CLIP_SYSTEMS)
    assert len(set(CLIP_SYSTEMS.values())) == len(CLIP_SYSTEMS)


def test_band_statistics_are_those_of_each_band_over_time():
    """Mean and deviation are those of the definition; the order of the frames does not matter to any statistic."""
    statistics = band_statistics(SPECTROGRAMS, ("mean", "deviation", "loudest", "ranked"), SETTINGS)
    assert statistics.shape == (3, 4 * 64)
    assert statistics[1, 5] == pytest.approx(SPECTROGRAMS[1, 5].mean(), rel=1e-5)
    assert statistics[2, 64 + 9] == pytest.approx(SPECTROGRAMS[2, 9].std(), rel=1e-4)
    shuffled = SPECTROGRAMS[:, :, RANDOM.permutation(50)]
    other = band_statistics(shuffled, ("mean", "deviation", "loudest", "ranked"), SETTINGS)
    assert other == pytest.approx(statistics)


def test_poolings_lie_between_the_mean_and_the_maximum():
    """Loudest and ranked go from the mean (share or weight 1) to the maximum (a share of one frame, weight 0)."""
    mean, maximum = SPECTROGRAMS.mean(axis=2), SPECTROGRAMS.max(axis=2)
    for name, field, least in (("loudest", "loudest", 1e-6), ("ranked", "rank_weight", 0.0)):
        by_value = {value: pool_time(SPECTROGRAMS, name, Systems(**{field: value})) for value in (1.0, 0.9, least)}
        assert by_value[1.0] == pytest.approx(mean, rel=1e-5)
        assert by_value[least] == pytest.approx(maximum, rel=1e-5)
        assert (by_value[0.9] > mean).all()
        assert (by_value[0.9] < maximum).all()


def test_a_fixed_reference_keeps_the_level_and_the_clips_maximum_does_not(recordings):
    """Three times the amplitude adds 9.5 dB to every band with a fixed reference, and nothing below the maximum."""
    sound = recordings[0] / np.abs(recordings[0]).max() / 4
    for reference, gain in (("fixed", 20 * np.log10(3)), ("clip", 0)):
        quiet, loud = (imaging.log_mel(k * sound, Imaging(db_reference=reference))[None] for k in (1, 3))
        means = [band_statistics(decibels, ("mean",), SETTINGS) for decibels in (quiet, loud)]
        assert means[1] - means[0] == pytest.approx(np.full((1, 64), gain), abs=1e-3)
    assert checks.level(3 * sound) - checks.level(sound) == pytest.approx(20 * np.log10(3))


def test_a_louder_clip_is_a_brighter_picture():
    """All clips share one scale, around the rounded median level of the training clips."""
    limits = decibel_limits(np.array([-36.0, -34, -20]), SETTINGS)
    assert limits == (-90.0, 10.0)
    assert decibel_limits(np.array([-31.0, -33, -34]), SETTINGS) == limits
    quiet, loud = (wide_pictures(SPECTROGRAMS + gain, limits, Imaging()) for gain in (0, 10))
    assert quiet.shape == (3, 64, 50)
    assert ((loud - quiet.astype(int)) >= 25).all()
    assert (quiet[0, 0] == wide_pictures(SPECTROGRAMS[:1], limits, Imaging())[0, 0]).all()


@pytest.fixture(scope="module")
def lite0():
    """Return EfficientNet-Lite0's weights and the layers whose maps are taken, at 64 rows."""
    return weights.find_weights("efficientnet_lite0", sources=["package"]), engines.MapLayers(LITE0.layers, 64)


def test_maps_of_several_layers_come_from_one_pass_and_keep_the_frequency_axis(lite0):
    """The columns are each layer's map, averaged over time: what a plain forward pass of the network gives."""
    pretrained, maps = lite0
    pictures = RANDOM.integers(0, 256, (2, 64, 70)).astype(np.uint8)
    picture = maps.picture((64, 70), Imaging())
    columns = engines.run(pictures, pretrained, picture, Features(), maps)
    passes, net = [], engines.classifier(pretrained)
    net._blocks[10].register_forward_hook(lambda module, inputs, output: passes.append(output))
    colours = imaging.standardised_colours(LITE0.mean, LITE0.std, Imaging())
    scales = (imaging.upscaling(side, size) for side, size in zip(picture.shape, picture.size, strict=True))
    with torch.inference_mode():
        net(imaging.extractor_input(torch.from_numpy(pictures), colours, *scales))
    (rows, channels), *_ = shapes = maps.shapes("efficientnet_lite0")
    middle = columns[:, rows * channels :][:, : shapes[1][0] * shapes[1][1]].reshape(2, *shapes[1])
    assert middle.transpose(0, 2, 1) == pytest.approx(passes[0].mean(3).numpy(), abs=1e-4)


def test_a_tone_changes_the_maps_at_its_own_rows(lite0):
    """A bright line at the top of the picture changes the early map's upper rows more than its lower ones."""
    pretrained, maps = lite0
    plain = np.full((1, 64, 70), 60, np.uint8)
    toned = plain.copy()
    toned[:, 6:9] = 200
    early = []
    for picture in (plain, toned):
        columns = engines.run(picture, pretrained, maps.picture((64, 70), Imaging()), Features(), maps)
        rows, channels = maps.shapes("efficientnet_lite0")[0]
        early.append(columns[0, : rows * channels].reshape(rows, channels))
    change = np.linalg.norm(early[1] - early[0], axis=1)
    assert change[: rows // 2].min() > change[-1]
    assert change.argmax() < rows // 2


@pytest.mark.parametrize("name", ["alexnet", "resnet18", "squeezenet1_1", "efficientnet_lite0"])
def test_networks_have_three_layers_from_fine_to_coarse(name):
    """Every network's layers have maps of no more rows from one to the next, and more than one row."""
    shapes = engines.MapLayers(extractors.get(name).layers, 128).shapes(name)
    rows = [rows for rows, _ in shapes]
    assert len(shapes) >= 2
    assert rows == sorted(rows, reverse=True)
    assert rows[-1] > 1


def test_the_front_end_of_a_system_says_its_size():
    """The columns that a part announces are those that it has."""
    shapes = ((16, 40), (8, 112), (4, 320))

    class Clips:
        def levels(self):
            return np.zeros(3)

        def hand_made(self):
            return np.zeros((3, 74))

        def bands(self, part):
            return band_statistics(SPECTROGRAMS, part.poolings, SETTINGS)

        def maps(self, extractor):
            return np.zeros((3, sum(rows * channels for rows, channels in shapes)))

    for system in catalogue.SYSTEMS.values():
        for part, _ in system.members:
            columns, n_bands = front_ends.size(part, 64, shapes)
            assert front_ends.describe(part, Clips(), shapes).shape == (3, columns)
            assert columns % n_bands == 0
