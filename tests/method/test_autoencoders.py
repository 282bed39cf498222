"""§5.2: the convolutional auto-encoders."""

import numpy as np
import pytest
import reference
import torch
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator
from torch import nn
from torch.nn.functional import conv_transpose2d, interpolate

from mimii_lib import imaging, paper
from mimii_lib.autoencoders import DCAE, NETWORKS, SIZES, build_autoencoder, torch_device, upsample_and_deconvolve
from mimii_lib.errors import MimiiError
from mimii_lib.settings import Autoencoders, Imaging

QUICK = Autoencoders(epochs=3, batch_size=8, learning_rate=1e-3)
PLAIN = {"lenet-dcae": reference.LeNetDCAE, "small-dcae": reference.SmallDCAE}
stated = pytest.mark.paper
both = pytest.mark.parametrize("name", paper.AUTOENCODERS)


@pytest.fixture(scope="module")
def many(recordings):
    """Return 64 patches of machines as rows of their pixels: (64, 4096) uint8."""
    settings = Imaging()
    clips = [imaging.patches(imaging.log_mel(sound, settings), settings) for sound in recordings]
    return np.resize(np.concatenate(clips), (64, 64, 64)).reshape(64, -1)


@pytest.fixture(scope="module")
def patches(many):
    return many[::4]  # (16, 4096)


@pytest.fixture(scope="module")
def trained(patches):
    return {name: fit(name, patches) for name in paper.AUTOENCODERS}


def fit(name, patches, settings=QUICK, seed=0, colormap="viridis"):
    return build_autoencoder(name, settings, Imaging(colormap=colormap), seed).fit(patches)


def rgb(patches):
    return imaging.rgb_patches(patches.reshape(-1, 64, 64), Imaging())


@stated("§5.2", "LeNet-DCAE: 32, 64 and 128 channels, kernel 5, ELU", code="autoencoders.LeNetDCAE")
@stated("§5.2", "Small-DCAE: 12, 24 and 48 channels, kernel 4, ReLU", code="autoencoders.SmallDCAE")
@stated("§5.2", "decoders mirror encoders", code="autoencoders.SmallDCAE")
@stated("§5.2", "LeNet-DCAE: batch normalisation", code="autoencoders.LeNetDCAE")
@pytest.mark.parametrize(
    ("name", "channels", "kernel"), [("lenet-dcae", [32, 64, 128], 5), ("small-dcae", [12, 24, 48], 4)]
)
def test_layers_are_the_papers(name, channels, kernel):
    """The encoders have the paper's channels and kernels, the decoders mirror them, and LeNet-DCAE alone normalises."""
    layers = list(NETWORKS[name]().modules())
    encoder, decoder = ([layer for layer in layers if type(layer) is kind] for kind in (nn.Conv2d, nn.ConvTranspose2d))
    kinds = {nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU} & set(map(type, layers))
    assert kinds == ({nn.BatchNorm1d, nn.BatchNorm2d} if name == "lenet-dcae" else {nn.ReLU})
    assert [layer.out_channels for layer in encoder] == channels
    assert {layer.kernel_size for layer in encoder + decoder} == {(kernel, kernel)}
    assert [layer.in_channels for layer in encoder] == [3, *channels[:-1]]
    assert decoder[-1].out_channels == 3
    assert [layer.in_channels for layer in decoder][-len(channels) :] == channels[::-1]


@stated("§5.2", "LeNet-DCAE: a bottleneck of 128", code="autoencoders.LeNetDCAE")
def test_lenets_bottleneck_has_128_numbers():
    """LeNet-DCAE has one linear layer, and its output has 128 numbers per image."""
    net, shapes = NETWORKS["lenet-dcae"]().eval(), []
    (linear,) = [layer for layer in net.modules() if isinstance(layer, nn.Linear)]
    linear.register_forward_hook(lambda layer, inputs, output: shapes.append(output.shape))
    with torch.inference_mode():
        net(torch.rand(3, 3, 64, 64))
    assert shapes == [(3, 128)]


@stated(
    "§5.2",
    "Adam with a learning rate of 10⁻⁴",
    code="autoencoders.DCAE.fit",
    setting="autoencoders.learning_rate",
    remark="the text has lost the minus sign",
)
@stated("§5.2", "batches of 128", code="autoencoders.DCAE.fit", setting="autoencoders.batch_size")
@stated("§5.2", "80 epochs", code="autoencoders.DCAE.fit", setting="autoencoders.epochs")
@both
def test_the_papers_training(name):
    """The auto-encoders train by Adam at 1e-4 in batches of 128 for 80 epochs."""
    params = build_autoencoder(name, Autoencoders(), Imaging(), 3).get_params()
    expected = {"network": name, "epochs": 80, "batch_size": 128, "learning_rate": 1e-4}
    ours = {
        "channels": 3,
        "colormap": "viridis",
        "precision": "float32",
        "device": "auto",
        "random_state": 3,
        "width": 64,
    }
    assert params == expected | ours
    assert clone(DCAE(**params)).get_params() == params


@both
def test_training_is_the_plain_implementations(name, many):
    """From the same weights and batch order come the losses, weights and scores of the plain training.

    33 patches leave a last batch of one, which both skip. Adam amplifies rounding where a gradient is next to 0, so the
    weights are compared as a whole, with the distance by which the training moved them.
    """
    rows, images = many[:33], rgb(many[:33])
    start, ours = (DCAE(name, epochs, 8, device="cpu", random_state=3).fit(rows) for epochs in (0, 3))
    plain = PLAIN[name]()
    with torch.no_grad():
        for theirs, weight in zip(plain.parameters(), start.net_.parameters(), strict=True):
            theirs.copy_(weight)
    losses = reference.train(plain, images, epochs=3, seed=3, batch=8)
    np.testing.assert_allclose(ours.losses_, losses, rtol=1e-4)
    first, last, expected = (
        torch.cat([weight.flatten() for weight in net.parameters()]) for net in (start.net_, ours.net_, plain)
    )
    assert (last - expected).norm() < 0.05 * (last - first).norm()
    np.testing.assert_allclose(-ours.score_samples(rows), reference.reconstruction_errors(plain, images), rtol=1e-3)


@stated("§5.2", "the mean squared error is loss and score", code="autoencoders.DCAE.score_samples")
@both
@pytest.mark.parametrize("channels", [3, 1])
def test_the_score_is_the_reconstruction_error(name, channels, patches):
    """A patch's normality is minus the mean squared error of its reconstruction, which has the range of an image.

    With one channel the images are the scaled decibels themselves: the colour-map indices over 255.
    """
    images = rgb(patches).numpy() if channels == 3 else patches.reshape(-1, 1, 64, 64).astype(np.float32) / 255
    fitted = fit(name, patches, Autoencoders(channels=channels, epochs=2, batch_size=8))
    reconstructions = fitted.reconstruct(patches)
    assert reconstructions.shape == (16, channels, 64, 64)
    assert 0 <= reconstructions.min() <= reconstructions.max() <= 1
    errors = ((reconstructions - images) ** 2).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(fitted.score_samples(patches), -errors, rtol=1e-5)


@pytest.mark.parametrize("side", [1, 2, 8])
def test_upsampling_in_the_kernel_is_upsampling(side):
    """Weights added up for small pixels give what the up-sampled maps give, at the borders too."""
    x, weight = torch.randn(2, 4, side, side).double(), torch.randn(4, 6, 5, 5).double()
    expected = conv_transpose2d(interpolate(x, scale_factor=2), weight, padding=2)
    torch.testing.assert_close(upsample_and_deconvolve(x, weight), expected)


@both
def test_training_lowers_the_loss(name, trained, patches):
    """The loss falls from the first epoch to the last, and normal sound is reconstructed better than before."""
    first, *_, last = trained[name].losses_
    assert last < first
    before = DCAE(name, epochs=0).fit(patches)
    assert trained[name].score_samples(patches).mean() > before.score_samples(patches).mean()


@both
def test_the_seed_decides_the_scores(name, trained, patches):
    """The same seed gives the same losses and scores, bit for bit; another seed gives others."""
    same, other = (fit(name, patches, seed=seed) for seed in (0, 1))
    assert same.losses_ == trained[name].losses_ != other.losses_
    np.testing.assert_array_equal(same.score_samples(patches), trained[name].score_samples(patches))
    assert not np.allclose(other.score_samples(patches), trained[name].score_samples(patches))


@both
def test_the_number_of_threads_does_not_matter(name, patches):
    """One thread and three train to the same losses and scores, bit for bit, and leave the number as it was."""
    before, results = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        fitted = DCAE(name, epochs=1, batch_size=8).fit(patches)
        results.append((fitted.losses_, fitted.score_samples(patches).tolist()))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    assert results[0] == results[1]


@both
def test_a_patch_keeps_its_rows(name):
    """A patch of 20 mel bands and 12 frames lies in the image as it is, its rows side by side, and zeros beyond."""
    patches = np.random.default_rng(0).integers(0, 256, (6, 20, 12)).astype(np.uint8)
    squares = np.pad(patches, ((0, 0), (0, 12), (0, 20))).reshape(6, -1)  # 32 x 32
    side = build_autoencoder(name, Autoencoders(epochs=1, batch_size=4), Imaging(patch_frames=12), 0)
    narrow, padded = side.fit(patches.reshape(6, -1)), DCAE(name, epochs=1, batch_size=4).fit(squares)
    assert narrow.losses_ == padded.losses_
    np.testing.assert_array_equal(narrow.score_samples(patches.reshape(6, -1)), padded.score_samples(squares))


@both
def test_training_does_not_touch_the_global_generators(name, patches):
    """Training neither reads nor changes the global random state of torch and numpy."""
    losses = []
    for start in (0, 99):
        torch.manual_seed(start)
        before, numpys = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        losses.append(fit(name, patches[:4], Autoencoders(epochs=1)).losses_)
        assert torch.equal(torch.get_rng_state(), before)
        np.testing.assert_array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    assert losses[0] == losses[1]


@both
def test_a_score_does_not_depend_on_the_other_patches(name, trained, patches):
    """A patch has the same score alone and among others: batch normalisation uses the training statistics."""
    together = trained[name].score_samples(patches)
    alone = np.concatenate([trained[name].score_samples(patches[k : k + 1]) for k in range(5)])
    np.testing.assert_allclose(alone, together[:5], rtol=1e-4)


def test_patches_that_cannot_train(monkeypatch):
    """One patch is too few, more than 64 x 64 pixels are too many, and an unknown network is named."""
    with pytest.raises(ValueError, match="minimum of 2"):
        DCAE("small-dcae", epochs=1).fit(np.zeros((1, 4096), np.uint8))
    for width, rows in ((None, ""), (128, " in rows of 128")):  # 32 x 128 would fit as 64 x 64, with two rows in one
        with pytest.raises(MimiiError, match=f"pixels a patch{rows} found, expected at most 64 x 64"):
            DCAE("small-dcae", epochs=1, width=width).fit(np.zeros((4, 4096 + (width is None)), np.uint8))
    with pytest.raises(MimiiError, match="batch_size: found 1, expected 2 or more"):
        DCAE("small-dcae", epochs=1, batch_size=1).fit(np.zeros((4, 64), np.uint8))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(MimiiError, match="autoencoders.device: found cuda, and torch finds no GPU"):
        build_autoencoder("small-dcae", Autoencoders(device="cuda"), Imaging(), 0)
    with pytest.raises(MimiiError, match="vae.*lenet-dcae, small-dcae"):
        build_autoencoder("vae", QUICK, Imaging(), 0)


@both
@pytest.mark.parametrize("pixels", [64, 200, 1024])
def test_a_smaller_patch_is_padded(name, pixels):
    """A row with fewer pixels is padded with zeros to the next square that the networks accept."""
    rows = np.random.default_rng(0).integers(0, 256, (9, pixels)).astype(np.uint8)
    size = next(side for side in SIZES if side**2 >= pixels)
    padded = np.pad(rows, ((0, 0), (0, size**2 - pixels)))
    first, second = (DCAE(name, epochs=1, batch_size=4).fit(X) for X in (rows, padded))
    assert first.losses_ == second.losses_
    assert first.reconstruct(rows).shape == (9, 3, size, size)
    np.testing.assert_array_equal(first.score_samples(rows), second.score_samples(padded))


@pytest.mark.parametrize(("name", "channels"), [("lenet-dcae", 3), ("small-dcae", 1)])
def test_autoencoders_keep_scikit_learns_contract(name, channels):
    """An auto-encoder can stand wherever a scikit-learn estimator can."""
    check_estimator(DCAE(name, epochs=1, batch_size=8, channels=channels), on_skip=None)


@pytest.mark.parametrize(("channels", "same"), [(1, True), (3, False)])
def test_the_colour_map_matters_to_rgb_images_only(channels, same, patches):
    """Another colour map changes the training on RGB images and leaves that on grey images alone."""
    settings = Autoencoders(channels=channels, epochs=1, batch_size=8)
    losses = [fit("small-dcae", patches, settings, colormap=name).losses_ for name in ("viridis", "magma")]
    assert (losses[0] == losses[1]) == same


def test_bfloat16_trains_like_float32(patches):
    """In bfloat16 the loss falls along the same curve, within 2 %, though not to the last bit."""
    full, reduced = (
        fit("lenet-dcae", patches, Autoencoders(epochs=2, batch_size=8, precision=precision)).losses_
        for precision in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(reduced, full, rtol=0.02)
    assert reduced != full


@pytest.mark.parametrize("gpu", [False, True])
def test_the_device_of_the_training(gpu, monkeypatch):
    """Auto is a GPU where there is one; cpu and cuda are taken at their word."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    for name, device in [("auto", "cuda" if gpu else "cpu"), ("cpu", "cpu"), ("cuda", "cuda")]:
        assert torch_device(name).type == device


@both
def test_training_on_a_gpu(name, patches, fake_cuda):
    """On CUDA weights and images are sent to the GPU in training and scoring, and the results are those of the CPU."""
    on_cpu, on_gpu = (DCAE(name, 2, 8, device=device) for device in ("cpu", "cuda"))
    with fake_cuda as gpu:
        on_gpu.fit(patches)
        trained_on = gpu.received
        scores = on_gpu.score_samples(patches)
    assert trained_on >= len(list(on_gpu.net_.parameters())) + 4  # two epochs of two batches
    assert gpu.received > trained_on
    assert on_gpu.losses_ == on_cpu.fit(patches).losses_
    np.testing.assert_array_equal(scores, on_cpu.score_samples(patches))
    assert {weight.device.type for weight in on_gpu.net_.parameters()} == {"cpu"}
