"""§5 Imaging: from a waveform to the input of a network."""

import librosa
import matplotlib
import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate
from torchvision.transforms import v2

from mimii_lib import imaging
from mimii_lib.errors import MimiiError
from mimii_lib.extractors import IMAGENET_MEAN, IMAGENET_STD
from mimii_lib.settings import Imaging

stated = pytest.mark.paper
PAPER = Imaging()
NEUTRAL = (0.0,) * 3, (1.0,) * 3


def log_mel(sound, **settings):
    return imaging.log_mel(sound, Imaging(**settings))


def clip_patches(sound, **settings):
    return imaging.patches(log_mel(sound, **settings), Imaging(**settings))


def noise(frames=96):
    """Return a spectrogram of noise between -75 and -5 dB."""
    return np.random.default_rng(0).uniform(-75, -5, (64, frames)).astype(np.float32)


def coloured(decibels, name):
    """Colour a spectrogram with matplotlib's own call, low frequencies at the bottom."""
    scaled = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    return matplotlib.colormaps[name](scaled)[::-1, :, :3].astype(np.float32)


def extractor_input(patches, mean, std, settings=PAPER):
    colours = imaging.standardised_colours(mean, std, settings)
    rows, columns = (imaging.upscaling(side, settings.image_size) for side in patches.shape[1:])
    return imaging.extractor_input(torch.from_numpy(patches), colours, rows, columns)


@stated("§5", "64 Mel bands", code="imaging.log_mel", setting="imaging.n_mels")
@stated("§5", "Hann window of 1024", code="imaging.log_mel", setting="imaging.window")
@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize(("reference", "ref"), [("clip", np.max), ("fixed", 1.0)])
def test_log_mel_is_librosas(reference, ref, padding, recordings):
    """A log-mel spectrogram has 64 Slaney bands of a Hann window of 1024 every 256 samples.

    0 dB is the clip's maximum or, under a fixed reference, a mel power of 1.
    """
    filters = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64)
    for sound in recordings:
        spectrum = librosa.stft(sound, n_fft=1024, hop_length=256, window="hann", center=True, pad_mode=padding)
        expected = librosa.power_to_db(filters @ np.abs(spectrum) ** 2, ref=ref, top_db=80)
        ours = log_mel(sound, db_reference=reference, pad_mode=padding)
        np.testing.assert_allclose(ours, expected, atol=1e-3)


@stated("§5", "hop length of 256", code="imaging.log_mel", setting="imaging.hop")
@pytest.mark.parametrize(("hop", "duration", "offset", "patches"), [(256, 1.024, 0.512, 18), (512, 2.048, 1.024, 8)])
def test_the_duration_of_a_patch(hop, duration, offset, patches, recordings):
    """64 frames last 1.02 s at the paper's hop of 256; at 512 they last its “2 s”, 32 frames its “1 s”."""
    settings = Imaging(hop=hop)
    assert imaging.seconds(64, settings) == pytest.approx(duration)
    assert imaging.seconds(32, settings) == pytest.approx(offset)
    assert clip_patches(recordings[0], hop=hop).shape == (patches, 64, 64)


@pytest.mark.parametrize(("reference", "gain"), [("clip", 0), ("fixed", 20 * np.log10(2))])
def test_loudness_matters_under_a_fixed_reference_only(reference, gain, recordings):
    """Twice the amplitude is 6.02 dB more under a fixed reference, and the same spectrogram under the clip's own."""
    for sound in recordings:
        quiet, loud = (log_mel(factor * sound, db_reference=reference) for factor in (0.5, 1))
        np.testing.assert_allclose(loud, quiet + gain, atol=1e-3)


def test_settings_after_the_spectrogram_do_not_change_it(recordings):
    """A setting that is not listed as one of the spectrogram does not change it."""
    later = {"scaling": "range", "origin": "upper", "patch_frames": 32, "patch_offset": 8, "colormap": "gray"}
    np.testing.assert_array_equal(log_mel(recordings[0], **later), log_mel(recordings[0]))
    assert set(imaging.SPECTROGRAM_SETTINGS).isdisjoint(later)
    assert set(imaging.SPECTROGRAM_SETTINGS) <= set(vars(PAPER))


@stated(
    "§5",
    "patches of 64 × 64, “2s”",
    code="imaging.patches",
    setting="imaging.patch_frames",
    remark="64 frames last 1.02 s; open point 5",
)
@pytest.mark.parametrize("hop", [128, 256, 300, 512])
@pytest.mark.parametrize("offset", [16, 32, 281])
def test_ten_seconds_are_626_frames_and_18_patches(hop, offset, recordings):
    """A clip of 10 s has 64 bands x 626 frames and gives 18 patches; the settings know both for other values."""
    settings = Imaging(hop=hop, patch_offset=offset)
    decibels = imaging.log_mel(recordings[0], settings)
    patches = imaging.patches(decibels, settings)
    assert decibels.shape == (64, settings.frames)
    assert patches.shape == (settings.patches, 64, 64)
    assert (PAPER.frames, PAPER.patches) == (626, 18)


@stated("§3", "patches are cut from the spectrogram along time by a sliding window", code="imaging.patches")
@stated(
    "§5",
    "an offset of 32 between patches, “1s”",
    code="imaging.patch_starts",
    setting="imaging.patch_offset",
    remark="32 frames last 0.51 s; open point 5",
)
@pytest.mark.parametrize("frames", [64, 95, 96, 626])
@pytest.mark.parametrize("offset", [1, PAPER.patch_offset, 64, 281])
def test_patches_are_windows_of_the_spectrogram(frames, offset):
    """Patch k is cut where patch_starts says, 32 frames after the last one, and no patch that fits is left out."""
    settings = Imaging(patch_offset=offset)
    starts, patches = imaging.patch_starts(frames, settings), imaging.patches(noise(frames), settings)
    whole = imaging.patches(noise(frames), Imaging(patch_frames=frames))[0]
    np.testing.assert_array_equal(patches, np.stack([whole[:, start : start + 64] for start in starts]))
    assert starts[0] == 0 and set(np.diff(starts)) <= {offset}
    assert frames - (starts[-1] + 64) < offset


@pytest.mark.parametrize("scaling", ["clip", "range", "patch"])
def test_low_frequencies_are_at_the_bottom(scaling):
    """A low tone is bright in the lower half of its image; with the origin at the top, the image is the flip."""
    tone = (0.5 * np.sin(2 * np.pi * 150 * np.arange(160_000) / 16_000)).astype(np.float32)
    lower, upper = (clip_patches(tone, scaling=scaling, origin=origin) for origin in ("lower", "upper"))
    assert lower[5].mean(axis=1).argmax() >= 32
    np.testing.assert_array_equal(upper, lower[:, ::-1])


def test_a_spectrogram_shorter_than_a_patch_is_an_error():
    """A spectrogram of 63 frames holds no patch of 64, and says so."""
    with pytest.raises(MimiiError, match="63 frames.*64"):
        imaging.patches(noise(63), PAPER)


def test_a_clip_without_contrast_is_the_first_colour():
    """A constant or silent clip is 0 everywhere, whatever its level: no division by zero."""
    for level in (-80, 0):
        assert not imaging.patches(np.full((64, 64), level, np.float32), PAPER).any()
    assert not clip_patches(np.zeros(160_000, np.float32)).any()


@pytest.mark.parametrize(
    ("scaling", "limits", "decibels", "expected"),
    [
        ("range", None, [-90, -80, -40, 0, 7], [0, 0, 128, 255, 255]),
        ("training", (-60.0, -20.0), [-70, -60, -40, -20, -10], [0, 0, 128, 255, 255]),
    ],
)
def test_scaling_between_limits(scaling, limits, decibels, expected):
    """The lower limit, -80 dB for a fixed range, is the first colour and the upper one the last; the rest is cut."""
    values = np.full((64, 64), -40, np.float32)
    values[-1, :5] = decibels
    patch = imaging.patches(values, Imaging(scaling=scaling), limits)[0]
    np.testing.assert_array_equal(patch[0, :5], expected)
    assert (patch[1:] == 128).all()


def test_scaling_by_patch(recordings):
    """Scaled by itself a patch reaches from the first to the last colour, and depends on no other patch."""
    for sound in recordings:
        decibels, settings = log_mel(sound), Imaging(scaling="patch")
        patches = imaging.patches(decibels, settings)
        assert (patches.min(axis=(1, 2)) == 0).all() and (patches.max(axis=(1, 2)) == 255).all()
        np.testing.assert_array_equal(patches[9], imaging.patches(decibels[:, 32 * 9 : 32 * 9 + 64], PAPER)[0])
        decibels[:, :64] = -30
        assert not imaging.patches(decibels, settings)[0].any()


@stated("§5", "RGB images in the viridis colour map", code="imaging.rgb_patches", setting="imaging.colormap")
@pytest.mark.parametrize("name", ["viridis", "gray", "magma"])
def test_rgb_patches_are_matplotlibs(name, recordings):
    """Our images are matplotlib's colours of the clip scaled to [0, 1], viridis or another, to the last bit of float32.

    So are values that lie on the steps of the colour map, 0 and 1 among them.
    """
    steps = (np.arange(64 * 64) % 257).reshape(64, 64).astype(np.float32)
    for decibels in [steps, *map(log_mel, recordings)]:
        expected = coloured(decibels, name)
        for k, image in enumerate(
            imaging.rgb_patches(imaging.patches(decibels, PAPER), Imaging(colormap=name)).numpy()
        ):
            np.testing.assert_array_equal(image, expected[:, 32 * k : 32 * k + 64].transpose(2, 0, 1))


@stated("§5", "up-scaled to 224 × 224", code="imaging.extractor_input", setting="imaging.image_size")
@stated("§5", "standardised by the values of ImageNet", code="imaging.standardised_colours")
@pytest.mark.parametrize(("mean", "std"), [(IMAGENET_MEAN, IMAGENET_STD), ((127 / 255,) * 3, (128 / 255,) * 3)])
@pytest.mark.parametrize("colormap", ["viridis", "gray"])
def test_extractor_input_is_torchvisions(mean, std, colormap, recordings):
    """A network's input is torchvision's bilinear Resize to 224 and Normalize of the RGB image."""
    settings = Imaging(colormap=colormap)
    transform = v2.Compose([v2.Resize(224, v2.InterpolationMode.BILINEAR, antialias=True), v2.Normalize(mean, std)])
    patches = clip_patches(recordings[-1])[:4]
    ours, expected = extractor_input(patches, mean, std, settings), transform(imaging.rgb_patches(patches, settings))
    assert ours.shape == (4, 3, 224, 224)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


@stated("§5", "the aspect ratio stays as it is", code="imaging.extractor_input")
def test_the_aspect_ratio_is_kept(recordings):
    """Time and frequency are scaled alike: the transposed image gives the transposed input."""
    patches = clip_patches(recordings[0])[:2]
    transposed = np.ascontiguousarray(patches.transpose(0, 2, 1))
    torch.testing.assert_close(extractor_input(transposed, *NEUTRAL).mT, extractor_input(patches, *NEUTRAL))


def test_patches_may_have_another_shape(recordings):
    """A patch of 32 bands and 96 frames fills the network's input as a square one does."""
    settings = Imaging(n_mels=32, patch_frames=96)
    patches = clip_patches(recordings[0], n_mels=32, patch_frames=96)[:2]
    expected = interpolate(imaging.rgb_patches(patches, settings), size=(224, 224), mode="bilinear")
    torch.testing.assert_close(extractor_input(patches, *NEUTRAL, settings), expected, rtol=0, atol=1e-5)
