"""§5.2: the convolutional auto-encoders."""

from importlib.metadata import version

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator
from torch import nn
from torch.nn.functional import conv_transpose2d, interpolate

from mimii_lib import autoencoders, imaging, paper
from mimii_lib.autoencoders import DCAE
from mimii_lib.errors import MimiiError
from mimii_lib.run import engines
from mimii_lib.settings import Autoencoders, Imaging

QUICK = Autoencoders(epochs=3, batch_size=8, learning_rate=1e-3)
both = pytest.mark.parametrize("name", paper.AUTOENCODERS)


@pytest.fixture(scope="module")
def many(recordings):
    """Return 64 patches of machines as rows of their pixels: (64, 4096) uint8."""
    settings = Imaging()
    cut = [imaging.patches(imaging.log_mel(sound, settings), settings) for sound in recordings]
    return np.resize(np.concatenate(cut), (64, 64, 64)).reshape(64, -1)


@pytest.fixture(scope="module")
def patches(many):
    """Return 16 of them: (16, 4096) uint8."""
    return many[::4]


def pictures(patches):
    """Return the pictures that rows of pixels are, in colour: (n, 3, 64, 64)."""
    return imaging.rgb_patches(patches.reshape(-1, 64, 64), Imaging()).numpy()


@pytest.fixture(scope="module")
def trained(patches):
    """Return both auto-encoders, trained for a few epochs."""
    return {name: autoencoders.build_autoencoder(name, QUICK, Imaging(), 0).fit(patches) for name in paper.AUTOENCODERS}


def convolutions(name, kind):
    return [layer for layer in autoencoders.NETWORKS[name]().modules() if type(layer) is kind]


@pytest.mark.parametrize("side", [1, 2, 8])
def test_upsampling_in_the_kernel_is_upsampling(side):
    """Weights added up for small pixels give what the up-sampled maps give, at the borders too."""
    x, weight = torch.randn(2, 4, side, side).double(), torch.randn(4, 6, 5, 5).double()
    expected = conv_transpose2d(interpolate(x, scale_factor=2), weight, padding=2)
    torch.testing.assert_close(autoencoders.upsample_and_deconvolve(x, weight), expected)


@both
def test_pictures_come_out_as_they_went_in(name):
    """A reconstruction has the shape and the range of the pictures."""
    net = autoencoders.NETWORKS[name]().eval()
    with torch.inference_mode():
        made = net(torch.rand(2, 3, 64, 64))
    assert made.shape == (2, 3, 64, 64)
    assert made.min() >= 0
    assert made.max() <= 1


@pytest.mark.parametrize(
    ("name", "channels", "kernel"), [("lenet-dcae", [32, 64, 128], 5), ("small-dcae", [12, 24, 48], 4)]
)
def test_layers_are_the_papers(name, channels, kernel):
    """The encoders have the paper's channels and kernels, and the decoders mirror them."""
    encoder, decoder = convolutions(name, nn.Conv2d), convolutions(name, nn.ConvTranspose2d)
    assert [layer.out_channels for layer in encoder] == channels
    assert {layer.kernel_size for layer in encoder + decoder} == {(kernel, kernel)}
    assert [layer.in_channels for layer in encoder] == [3, *channels[:-1]]
    assert decoder[-1].out_channels == 3
    assert [layer.in_channels for layer in decoder][-len(channels) :] == channels[::-1]


def test_lenets_code_has_128_numbers():
    """LeNet-DCAE squeezes a picture through 128 numbers."""
    net, seen = autoencoders.NETWORKS["lenet-dcae"]().eval(), []
    linear = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    assert len(linear) == 1
    linear[0].register_forward_hook(lambda layer, given, made: seen.append(made.shape))
    with torch.inference_mode():
        net(torch.rand(3, 3, 64, 64))
    assert seen == [(3, 128)]


def test_lenet_normalises_and_small_does_not():
    """LeNet-DCAE has batch normalisation and no ReLU layer; Small-DCAE has ReLU and no batch normalisation."""
    norms = (nn.BatchNorm1d, nn.BatchNorm2d)
    lenet, small = (list(autoencoders.NETWORKS[name]().modules()) for name in ("lenet-dcae", "small-dcae"))
    assert any(isinstance(layer, norms) for layer in lenet)
    assert not any(isinstance(layer, norms) for layer in small)
    assert any(isinstance(layer, nn.ReLU) for layer in small)


@both
def test_the_papers_training(name):
    """The auto-encoders train by Adam at 1e-4 in batches of 128 for 80 epochs."""
    said = autoencoders.build_autoencoder(name, Autoencoders(), Imaging(), 3).get_params()
    expected = {
        "network": name,
        "epochs": 80,
        "batch_size": 128,
        "learning_rate": 1e-4,
        "channels": 3,
        "colormap": "viridis",
        "precision": "float32",
        "device": "auto",
        "random_state": 3,
    }
    assert said == expected
    assert clone(DCAE(**said)).get_params() == expected


@both
def test_training_lowers_the_loss(name, trained):
    """Every epoch has one loss, and the last one is lower than the first."""
    losses = trained[name].losses_
    assert len(losses) == QUICK.epochs
    assert losses[-1] < losses[0]


@both
def test_training_lowers_the_error_of_what_was_learned(name, trained, patches):
    """Normal sound is reconstructed better after training than before."""
    before = autoencoders.build_autoencoder(name, Autoencoders(epochs=0), Imaging(), 0).fit(patches)
    assert trained[name].score_samples(patches).mean() > before.score_samples(patches).mean()


@both
def test_the_same_seed_gives_the_same_scores(name, trained, patches):
    """Two trainings with one seed have the same losses and scores, bit for bit."""
    again = autoencoders.build_autoencoder(name, QUICK, Imaging(), 0).fit(patches)
    assert again.losses_ == trained[name].losses_
    np.testing.assert_array_equal(again.score_samples(patches), trained[name].score_samples(patches))


@both
def test_another_seed_gives_other_scores(name, trained, patches):
    """Another seed begins with other weights and ends with other scores."""
    other = autoencoders.build_autoencoder(name, QUICK, Imaging(), 1).fit(patches)
    assert other.losses_ != trained[name].losses_
    assert not np.allclose(other.score_samples(patches), trained[name].score_samples(patches))


@both
def test_the_global_generators_are_left_alone(name, patches):
    """Training neither reads nor moves the random state of those who call it."""
    states = []
    for start in (0, 99):
        torch.manual_seed(start)
        before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        states.append(
            autoencoders.build_autoencoder(name, Autoencoders(epochs=1), Imaging(), 0).fit(patches[:4]).losses_
        )
        assert torch.equal(torch.get_rng_state(), before)
        np.testing.assert_array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    assert states[0] == states[1]


@both
def test_the_score_is_the_reconstruction_error(name, trained, patches):
    """A patch's normality is minus the mean squared error of its reconstruction."""
    made = trained[name].reconstruct(patches)
    assert made.shape == (16, 3, 64, 64)
    errors = ((made - pictures(patches)) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(trained[name].score_samples(patches), -errors, rtol=1e-5)


@both
def test_a_score_does_not_depend_on_the_other_patches(name, trained, patches):
    """A patch scores alone as it does among others: nothing of a test batch is normalised by the batch."""
    together = trained[name].score_samples(patches)
    alone = np.concatenate([trained[name].score_samples(patches[k : k + 1]) for k in range(5)])
    np.testing.assert_allclose(alone, together[:5], rtol=1e-4)


@both
def test_noise_is_less_normal_than_machines(name, trained, patches):
    """A picture of pure noise is reconstructed worse than any picture of a machine."""
    noise = np.random.default_rng(0).integers(0, 256, (3, 4096)).astype(np.uint8)
    assert trained[name].score_samples(noise).max() < np.median(trained[name].score_samples(patches))


@both
def test_a_batch_of_one_left_over(name, patches):
    """Nine patches in batches of eight train: the one left over, which cannot be normalised, is passed over."""
    made = autoencoders.build_autoencoder(name, Autoencoders(epochs=2, batch_size=8), Imaging(), 0).fit(patches[:9])
    assert np.isfinite(made.losses_).all()
    assert np.isfinite(made.score_samples(patches[:9])).all()


def test_too_few_patches():
    """One patch is too few to train on, and says so."""
    with pytest.raises(ValueError, match="minimum of 2"):
        autoencoders.build_autoencoder("small-dcae", QUICK, Imaging(), 0).fit(np.zeros((1, 4096), np.uint8))


def test_a_picture_of_too_many_pixels():
    """A picture larger than the networks are laid out for is an error that says what fits."""
    with pytest.raises(MimiiError, match="4097 pixels a picture found, expected at most 4096"):
        DCAE("small-dcae", epochs=1).fit(np.zeros((4, 4097), np.uint8))


@both
@pytest.mark.parametrize("pixels", [64, 200, 256, 1024])
def test_a_smaller_picture_is_filled_up(name, pixels):
    """A row of fewer pixels is a picture of the next size that is filled up with zeros."""
    rows = np.random.default_rng(0).integers(0, 256, (9, pixels)).astype(np.uint8)
    size = next(side for side in autoencoders.SIZES if side**2 >= pixels)
    full = np.pad(rows, ((0, 0), (0, size**2 - pixels)))
    first, second = (DCAE(name, epochs=1, batch_size=4).fit(each) for each in (rows, full))
    assert first.losses_ == second.losses_
    assert first.reconstruct(rows).shape == (9, 3, size, size)
    np.testing.assert_array_equal(first.score_samples(rows), second.score_samples(full))


@both
@pytest.mark.parametrize("channels", [3, 1])
def test_autoencoders_keep_scikit_learns_contract(name, channels):
    """An auto-encoder can stand wherever a scikit-learn estimator can."""
    check_estimator(DCAE(name, epochs=1, batch_size=8, channels=channels), on_skip=None)


# What the paper leaves open


@both
def test_one_channel_is_the_scaled_decibels_themselves(name, patches):
    """With one channel the networks have one plane at both ends, and the pictures are the entries over 255."""
    made = autoencoders.build_autoencoder(name, Autoencoders(channels=1, epochs=2, batch_size=8), Imaging(), 0).fit(
        patches
    )
    convolutions = [layer for layer in made.net_.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    assert (convolutions[0].in_channels, convolutions[-1].out_channels) == (1, 1)
    found = made.reconstruct(patches)
    assert found.shape == (16, 1, 64, 64)
    grey = patches.reshape(-1, 1, 64, 64).astype(np.float32) / 255
    expected = -((found - grey) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(made.score_samples(patches), expected, rtol=1e-5)


def test_one_channel_needs_no_colour_map(patches):
    """The colour map matters to the pictures in colour and to nothing else."""
    maps = [Imaging(), Imaging(colormap="magma")]
    for channels, same in [(1, True), (3, False)]:
        settings = Autoencoders(channels=channels, epochs=1, batch_size=8)
        first, second = (
            autoencoders.build_autoencoder("small-dcae", settings, each, 0).fit(patches).losses_ for each in maps
        )
        assert (first == second) == same


def test_bfloat16_trains_like_float32(many):
    """In bfloat16 the loss falls along the same curve, within 2 %, though not to the last bit."""
    losses = []
    for precision in ("float32", "bfloat16"):
        settings = Autoencoders(epochs=3, batch_size=16, precision=precision)
        losses.append(autoencoders.build_autoencoder("lenet-dcae", settings, Imaging(), 0).fit(many).losses_)
    np.testing.assert_allclose(losses[1], losses[0], rtol=0.02)
    assert losses[0] != losses[1]


def test_what_trains_is_told():
    """The engine that is recorded names torch, the device and the precision that are used."""
    said = engines.training_engine(Autoencoders(device="cpu", precision="bfloat16"))
    assert str(said) == f"torch {version('torch')}, cpu, bfloat16"


def test_an_autoencoder_that_is_not_known():
    """An auto-encoder that is not there is an error that names those that are."""
    with pytest.raises(MimiiError, match="vae.*lenet-dcae, small-dcae"):
        autoencoders.build_autoencoder("vae", QUICK, Imaging(), 0)
