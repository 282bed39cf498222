"""§5 imaging: from a waveform to what a network sees."""

import librosa
import matplotlib
import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from mimii_lib import imaging
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Imaging

PAPER = Imaging()
CENTRES = librosa.mel_frequencies(66, fmin=0, fmax=8000)[1:-1]


def tone(frequency):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(160_000) / 16_000)).astype(np.float32)


def viridis(decibels):
    """Colour a spectrogram with matplotlib's own call, low frequencies at the bottom."""
    scaled = (decibels - decibels.min()) / (decibels.max() - decibels.min())
    return matplotlib.colormaps["viridis"](scaled)[::-1, :, :3].astype(np.float32)


def test_log_mel_is_librosas(recordings):
    """A log-mel spectrogram has 64 Slaney bands of a Hann window of 1024 every 256 samples, in dB below its maximum."""
    filters = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=64)
    for sound in recordings:
        spectrum = librosa.stft(sound, n_fft=1024, hop_length=256, window="hann", center=True, pad_mode="constant")
        expected = librosa.power_to_db(filters @ np.abs(spectrum) ** 2, ref=np.max, top_db=80)
        np.testing.assert_allclose(imaging.log_mel(sound, PAPER), expected, atol=1e-3)


def test_loudness_does_not_matter(recordings):
    """A clip's spectrogram is relative to its own maximum: half the amplitude is the same picture."""
    for sound in recordings:
        np.testing.assert_allclose(imaging.log_mel(sound / 2, PAPER), imaging.log_mel(sound, PAPER), atol=1e-3)


def test_a_tone_of_1_khz_lights_its_band():
    """A tone of 1 kHz is loudest in the mel band whose centre is nearest 1 kHz."""
    loudest = imaging.log_mel(tone(1000), PAPER).mean(axis=1).argmax()
    assert loudest == np.abs(CENTRES - 1000).argmin()


@pytest.mark.parametrize("band", [5, 20, 40, 60])
def test_a_tone_lights_its_band(band):
    """A tone at the centre of a mel band is loudest there."""
    assert imaging.log_mel(tone(CENTRES[band]), PAPER).mean(axis=1).argmax() == band


def test_ten_seconds_are_626_frames_and_18_patches(recordings):
    """A clip of 10 s has 64 bands x 626 frames and gives 18 patches of 64 x 64."""
    for sound in recordings:
        decibels = imaging.log_mel(sound, PAPER)
        assert decibels.shape == (64, 626)
        assert imaging.patches(decibels, PAPER).shape == (18, 64, 64)


def test_patches_start_32_frames_apart(recordings):
    """Each patch starts 32 frames after the last one, so its first half is the last one's second half."""
    patches = imaging.patches(imaging.log_mel(recordings[0], PAPER), PAPER)
    np.testing.assert_array_equal(patches[1:, :, :32], patches[:-1, :, 32:])
    assert (np.diff(imaging.patch_starts(626, PAPER)) == 32).all()


@pytest.mark.parametrize("frames", [64, 95, 96, 626, 700])
@pytest.mark.parametrize("offset", [1, 32, 64, 281])
def test_patches_are_windows_of_the_spectrogram(frames, offset):
    """Patch k is cut where patch_starts says, and no patch that fits is left out."""
    settings = Imaging(patch_offset=offset)
    decibels = np.random.default_rng(0).uniform(-80, 0, (64, frames)).astype(np.float32)
    starts = imaging.patch_starts(frames, settings)
    patches = imaging.patches(decibels, settings)
    whole = imaging.patches(decibels, Imaging(patch_frames=frames))[0]
    assert len(patches) == len(starts)
    for patch, start in zip(patches, starts, strict=True):
        np.testing.assert_array_equal(patch, whole[:, start : start + 64])
    assert frames - (starts[-1] + 64) < offset


def test_pictures_are_matplotlibs(recordings):
    """Our pictures are matplotlib's viridis of the clip scaled to [0, 1], to the last bit of float32."""
    for sound in recordings:
        decibels = imaging.log_mel(sound, PAPER)
        expected = viridis(decibels)
        pictures = imaging.pictures(imaging.patches(decibels, PAPER), PAPER).numpy()
        for k, picture in enumerate(pictures):
            np.testing.assert_array_equal(picture, expected[:, 32 * k : 32 * k + 64].transpose(2, 0, 1))


def test_pictures_are_matplotlibs_at_every_step_of_the_colour_map():
    """Values that lie on the steps of the colour map, 0 and 1 among them, get matplotlib's colour."""
    decibels = (np.arange(64 * 64) % 257).reshape(64, 64).astype(np.float32)
    pictures = imaging.pictures(imaging.patches(decibels, PAPER), PAPER).numpy()
    np.testing.assert_array_equal(pictures[0], viridis(decibels).transpose(2, 0, 1))


def test_the_ends_of_the_scale_are_the_ends_of_the_colour_map():
    """The quietest value is the first colour of the map and the loudest the last."""
    decibels = np.full((64, 64), -40, np.float32)
    decibels[0, 0], decibels[63, 63] = -80, 0
    patch = imaging.patches(decibels, PAPER)[0]
    assert patch[63, 0] == 0
    assert patch[0, 63] == 255


@pytest.mark.parametrize("level", [-80.0, 0.0])
def test_a_constant_clip_is_the_first_colour(level):
    """A clip without contrast is 0 everywhere, whatever its level: no division by zero."""
    constant = np.full((64, 64), level, np.float32)
    np.testing.assert_array_equal(imaging.scaled(constant), 0)
    patches = imaging.patches(constant, PAPER)
    first = matplotlib.colormaps["viridis"](0.0)[:3]
    pictures = imaging.pictures(patches, PAPER)
    np.testing.assert_array_equal(pictures.numpy(), np.float32(first).reshape(1, 3, 1, 1) * np.ones((1, 3, 64, 64)))


def test_silence_becomes_a_picture():
    """A silent clip goes through the front end without a number that is not finite."""
    decibels = imaging.log_mel(np.zeros(160_000, np.float32), PAPER)
    assert np.isfinite(decibels).all()
    assert not imaging.patches(decibels, PAPER).any()


def test_low_frequencies_are_at_the_bottom():
    """A low tone is bright in the lower half of its picture and a high one in the upper half."""
    low, high = (imaging.patches(imaging.log_mel(tone(f), PAPER), PAPER)[5] for f in (150, 6000))
    assert low.mean(axis=1).argmax() >= 32
    assert high.mean(axis=1).argmax() < 32


@pytest.mark.parametrize("name", ["gray", "magma"])
def test_another_colour_map(name, recordings):
    """The colour map changes the colours only, not what lies where."""
    patches = imaging.patches(imaging.log_mel(recordings[0], PAPER), PAPER)
    pictures = imaging.pictures(patches[:1], Imaging(colormap=name)).numpy()
    expected = matplotlib.colormaps[name](patches[0])[..., :3].astype(np.float32)
    np.testing.assert_array_equal(pictures[0], expected.transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("mean", "std"), [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((127 / 255,) * 3, (128 / 255,) * 3)]
)
def test_extractor_input_is_torchvisions(mean, std, recordings):
    """What a network sees is torchvision's bilinear Resize to 224 and Normalize of the picture."""
    transform = v2.Compose([v2.Resize(224, v2.InterpolationMode.BILINEAR, antialias=True), v2.Normalize(mean, std)])
    pictures = imaging.pictures(imaging.patches(imaging.log_mel(recordings[-1], PAPER), PAPER)[:4], PAPER)
    found = imaging.extractor_input(pictures, mean, std, PAPER)
    assert found.shape == (4, 3, 224, 224)
    torch.testing.assert_close(found, transform(pictures), rtol=0, atol=1e-5)


def test_the_aspect_ratio_is_kept(recordings):
    """Time and frequency are scaled alike: the transposed picture gives the transposed input."""
    pictures = imaging.pictures(imaging.patches(imaging.log_mel(recordings[0], PAPER), PAPER)[:2], PAPER)
    neutral = ((0.0,) * 3, (1.0,) * 3, PAPER)
    large = imaging.extractor_input(pictures, *neutral)
    torch.testing.assert_close(imaging.extractor_input(pictures.mT, *neutral).mT, large)


def test_a_spectrogram_shorter_than_a_patch_is_an_error():
    """A spectrogram of 63 frames holds no patch of 64, and says so."""
    with pytest.raises(MimiiError, match="63 frames.*64"):
        imaging.patches(np.zeros((64, 63), np.float32), PAPER)
    assert len(imaging.patches(np.zeros((64, 64), np.float32), PAPER)) == 1


def test_a_hop_lasts_16_ms():
    """A patch of 64 hops lasts 1.02 s and starts 0.51 s after the last, not the 2 s and 1 s of the paper's text."""
    assert imaging.seconds(64, PAPER) == pytest.approx(1.024)
    assert imaging.seconds(32, PAPER) == pytest.approx(0.512)
