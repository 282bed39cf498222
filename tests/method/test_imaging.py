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
        pictures = imaging.rgb_patches(imaging.patches(decibels, PAPER), PAPER).numpy()
        for k, picture in enumerate(pictures):
            np.testing.assert_array_equal(picture, expected[:, 32 * k : 32 * k + 64].transpose(2, 0, 1))


def test_pictures_are_matplotlibs_at_every_step_of_the_colour_map():
    """Values that lie on the steps of the colour map, 0 and 1 among them, get matplotlib's colour."""
    decibels = (np.arange(64 * 64) % 257).reshape(64, 64).astype(np.float32)
    pictures = imaging.rgb_patches(imaging.patches(decibels, PAPER), PAPER).numpy()
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
    np.testing.assert_array_equal(imaging.scaled(constant, PAPER), 0)
    patches = imaging.patches(constant, PAPER)
    first = matplotlib.colormaps["viridis"](0.0)[:3]
    pictures = imaging.rgb_patches(patches, PAPER)
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
    pictures = imaging.rgb_patches(patches[:1], Imaging(colormap=name)).numpy()
    expected = matplotlib.colormaps[name](patches[0])[..., :3].astype(np.float32)
    np.testing.assert_array_equal(pictures[0], expected.transpose(2, 0, 1))


def extractor_input(entries, mean, std, settings=PAPER):
    """Return what a network sees of patches: (n, 3, 224, 224)."""
    height, width = entries.shape[1:]
    colours = imaging.standardised_colours(mean, std, settings)
    rows, columns = imaging.upscaling(height, settings), imaging.upscaling(width, settings)
    return imaging.extractor_input(torch.from_numpy(entries), colours, rows, columns)


@pytest.mark.parametrize(
    ("mean", "std"), [((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), ((127 / 255,) * 3, (128 / 255,) * 3)]
)
def test_extractor_input_is_torchvisions(mean, std, recordings):
    """What a network sees is torchvision's bilinear Resize to 224 and Normalize of the picture."""
    transform = v2.Compose([v2.Resize(224, v2.InterpolationMode.BILINEAR, antialias=True), v2.Normalize(mean, std)])
    entries = imaging.patches(imaging.log_mel(recordings[-1], PAPER), PAPER)[:4]
    found = extractor_input(entries, mean, std)
    assert found.shape == (4, 3, 224, 224)
    torch.testing.assert_close(found, transform(imaging.rgb_patches(entries, PAPER)), rtol=0, atol=1e-5)


@pytest.mark.parametrize("colormap", ["viridis", "gray", "magma"])
def test_colours_may_be_standardised_before_they_are_scaled_up(colormap, recordings):
    """Up-scaling of standardised colours equals standardising torch's bilinear up-scaling, corners not aligned."""
    settings, mean, std = Imaging(colormap=colormap), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    entries = imaging.patches(imaging.log_mel(recordings[0], settings), settings)[:4]
    large = torch.nn.functional.interpolate(
        imaging.rgb_patches(entries, settings), size=224, mode="bilinear", align_corners=False
    )
    expected = (large - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(extractor_input(entries, mean, std, settings), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("side", [32, 64, 224])
def test_upscaling_keeps_what_is_even(side):
    """Each row of the interpolation adds up to 1 and takes at most two neighbours: an even picture stays even."""
    matrix = imaging.upscaling(side, PAPER)
    assert matrix.shape == (224, side)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(224))
    assert (matrix >= 0).all()
    assert ((matrix > 0).sum(dim=1) <= 2).all()


def test_the_aspect_ratio_is_kept(recordings):
    """Time and frequency are scaled alike: the transposed picture gives the transposed input."""
    entries = imaging.patches(imaging.log_mel(recordings[0], PAPER), PAPER)[:2]
    neutral = ((0.0,) * 3, (1.0,) * 3)
    transposed = np.ascontiguousarray(entries.transpose(0, 2, 1))
    torch.testing.assert_close(extractor_input(transposed, *neutral).mT, extractor_input(entries, *neutral))


def test_patches_may_be_of_another_shape(recordings):
    """A patch of 32 bands and 96 frames fills the network's input as a square one does."""
    settings = Imaging(n_mels=32, patch_frames=96)
    entries = imaging.patches(imaging.log_mel(recordings[0], settings), settings)[:2]
    found = extractor_input(entries, (0.0,) * 3, (1.0,) * 3, settings)
    expected = torch.nn.functional.interpolate(imaging.rgb_patches(entries, settings), size=(224, 224), mode="bilinear")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_spectrogram_shorter_than_a_patch_is_an_error():
    """A spectrogram of 63 frames holds no patch of 64, and says so."""
    with pytest.raises(MimiiError, match="63 frames.*64"):
        imaging.patches(np.zeros((64, 63), np.float32), PAPER)
    assert len(imaging.patches(np.zeros((64, 64), np.float32), PAPER)) == 1


def test_a_hop_lasts_16_ms():
    """A patch of 64 hops lasts 1.02 s and starts 0.51 s after the last, not the 2 s and 1 s of the paper's text."""
    assert imaging.seconds(64, PAPER) == pytest.approx(1.024)
    assert imaging.seconds(32, PAPER) == pytest.approx(0.512)


# What the paper leaves open


def decibels(sound, **said):
    return imaging.log_mel(sound, Imaging(**said))


def drawn(**said):
    """Return patches of an arbitrary spectrogram between -75 and -5 dB."""
    noise = np.random.default_rng(0).uniform(-75, -5, (64, 96)).astype(np.float32)
    return noise, imaging.patches(noise, Imaging(**said))


def test_with_a_hop_of_512_a_patch_lasts_2_s(recordings):
    """A hop of 512 samples fits the paper's “2 s” and “1 s”, and a clip of 10 s gives 8 patches."""
    twice = Imaging(hop=512)
    assert imaging.seconds(64, twice) == pytest.approx(2.048)
    assert imaging.seconds(32, twice) == pytest.approx(1.024)
    assert imaging.patches(imaging.log_mel(recordings[0], twice), twice).shape == (8, 64, 64)
    assert (PAPER.patches, twice.patches) == (18, 8)


@pytest.mark.parametrize("hop", [128, 256, 300, 512, 1024])
@pytest.mark.parametrize("offset", [16, 32, 281])
def test_the_settings_know_how_many_patches_a_clip_gives(hop, offset, recordings):
    """The number of patches that settings promise is the number that a clip gives."""
    settings = Imaging(hop=hop, patch_offset=offset)
    decibels = imaging.log_mel(recordings[0], settings)
    assert (settings.frames, settings.patches) == (decibels.shape[1], len(imaging.patches(decibels, settings)))


def test_padding_matters_at_the_ends_only(recordings):
    """Reflection instead of zeros changes the two frames at each end that reach over the clip, and no other."""
    for sound in recordings:
        zeros, reflected = (decibels(sound, pad_mode=mode, db_reference="fixed") for mode in ("constant", "reflect"))
        np.testing.assert_array_equal(reflected[:, 2:-2], zeros[:, 2:-2])
        assert not np.allclose(reflected[:, [0, -1]], zeros[:, [0, -1]])


def test_a_fixed_reference_hears_how_loud_a_clip_is(recordings):
    """Twice the amplitude is 6.02 dB more everywhere under a fixed reference, and the same under the clip's own."""
    for sound in recordings:
        for reference, more in [("fixed", 20 * np.log10(2)), ("clip", 0)]:
            quiet, loud = (decibels(factor * sound, db_reference=reference) for factor in (0.5, 1))
            np.testing.assert_allclose(loud, quiet + more, atol=1e-3)


def test_a_fixed_reference_is_a_power_of_1(recordings):
    """Under a fixed reference 0 dB is a mel power of 1, and the clip's maximum may lie anywhere."""
    for sound in recordings:
        power = librosa.feature.melspectrogram(
            y=sound, sr=16_000, n_fft=1024, hop_length=256, n_mels=64, pad_mode="constant"
        )
        expected = librosa.power_to_db(power, ref=1.0, top_db=80)
        np.testing.assert_allclose(decibels(sound, db_reference="fixed"), expected, atol=1e-3)


def test_scaling_by_clip_knows_no_reference(recordings):
    """Between the clip's minimum and maximum it makes no difference what 0 dB is: the pictures are the same."""
    for sound in recordings:
        clip, fixed = (decibels(sound, db_reference=reference) for reference in ("clip", "fixed"))
        first, second = (imaging.patches(each, PAPER).astype(int) for each in (clip, fixed))
        assert np.abs(first - second).max() <= 1  # rounding of float32 at the edge of a step
        assert (first == second).mean() > 0.999


def test_scaling_over_the_range():
    """Over the range -80 dB is 0 and 0 dB is 1, whatever the clip holds, and what is beyond is cut off."""
    settings = Imaging(scaling="range")
    noise, _ = drawn()
    np.testing.assert_allclose(imaging.scaled(noise, settings), (noise + 80) / 80, rtol=1e-6)
    np.testing.assert_array_equal(imaging.scaled(np.float32([-90, -80, -40, 0, 7]), settings), [0, 0, 0.5, 1, 1])
    np.testing.assert_array_equal(
        imaging.patches(noise, settings)[0], ((noise[::-1, :64] + 80) / 80 * 256).astype(np.uint8)
    )


def test_scaling_by_patch(recordings):
    """Scaled by itself each patch reaches from the first to the last colour, which by the clip's ends few do."""
    for sound in recordings:
        spectrogram = decibels(sound)
        by_patch = imaging.patches(spectrogram, Imaging(scaling="patch"))
        assert (by_patch.min(axis=(1, 2)) == 0).all()
        assert (by_patch.max(axis=(1, 2)) == 255).all()
        by_clip = imaging.patches(spectrogram, PAPER)
        assert not ((by_clip.min(axis=(1, 2)) == 0) & (by_clip.max(axis=(1, 2)) == 255)).all()
        for k in (0, 9):
            alone = imaging.patches(spectrogram[:, 32 * k : 32 * k + 64], PAPER)[0]
            np.testing.assert_array_equal(by_patch[k], alone)


def test_a_constant_patch_is_the_first_colour():
    """A patch without contrast, scaled by itself, is 0 everywhere and leaves the others as they are."""
    noise, _ = drawn()
    noise[:, :64] = -30
    first, second = imaging.patches(noise, Imaging(scaling="patch"))
    assert not first.any()
    assert second.max() == 255


def test_scaling_between_limits():
    """Between given limits the lower one is the first colour and the upper one the last; beyond them all is alike."""
    settings, limits = Imaging(scaling="training"), (-60.0, -20.0)
    values = np.full((64, 64), -40, np.float32)
    values[-1, :5] = [-70, -60, -40, -20, -10]
    np.testing.assert_array_equal(imaging.scaled(values[-1, :5], settings, limits), [0, 0, 0.5, 1, 1])
    patch = imaging.patches(values, settings, limits)[0]
    np.testing.assert_array_equal(patch[0, :5], [0, 0, 128, 255, 255])
    assert (patch[1:] == 128).all()


def test_another_origin_is_the_flip():
    """With the origin at the top the lowest band is the first row; nothing else changes."""
    for scaling in ("clip", "range", "patch"):
        (_, lower), (_, upper) = (drawn(scaling=scaling, origin=origin) for origin in ("lower", "upper"))
        np.testing.assert_array_equal(upper, lower[:, ::-1])


@pytest.mark.parametrize("name", ["viridis", "gray", "magma"])
def test_colour_maps_are_matplotlibs(name):
    """Each of the 256 entries has matplotlib's colour."""
    entries = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    found = imaging.rgb_patches(entries, Imaging(colormap=name)).numpy()[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(found, matplotlib.colormaps[name](entries[0])[..., :3].astype(np.float32))


def test_settings_after_the_spectrogram_leave_it_alone(recordings):
    """What is not named as a setting of the spectrogram does not change it, and what is named is a setting."""
    before = decibels(recordings[0])
    later = {"scaling": "range", "origin": "upper", "patch_frames": 32, "patch_offset": 8, "colormap": "gray"}
    np.testing.assert_array_equal(decibels(recordings[0], **later), before)
    assert set(imaging.SPECTROGRAM_SETTINGS).isdisjoint(later)
    assert set(imaging.SPECTROGRAM_SETTINGS) <= set(vars(PAPER))
