"""§5.2 The baselines: deep convolutional auto-encoders (DCAE), trained from scratch on 64 x 64 images.

Conventions
-----------
Patches X have shape (n, pixels), uint8: the colour-map indices of one patch per row, 4096 for 64 x 64. A :class:`DCAE`
is a scikit-learn estimator like the detectors: ``fit`` on patches of normal clips, then ``score_samples`` returns the
*normality*, higher for more normal patches: the negative mean squared error of the reconstruction. The networks map
images (n, channels, size, size) in [0, 1] to reconstructions of the same shape and range.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.nn.functional import conv2d, elu, max_pool2d, mse_loss, one_hot, pixel_shuffle
from tqdm import trange

from mimii_lib.errors import MimiiError, NotRun, unknown_value
from mimii_lib.imaging import rgb_patches
from mimii_lib.settings import DETECTORS, Autoencoders, Imaging


class LeNetDCAE(nn.Module):
    """LeNet-DCAE (§5.2): 32, 64 and 128 channels, kernel 5, ELU, batch normalisation, a bottleneck of 128.

    The layout is that of the CIFAR-10 LeNet auto-encoder of Deep SVDD (Ruff et al., 2018), whose parts the paper names,
    for 64 x 64 instead of 32 x 32 pixels: max pooling in the encoder, nearest-neighbour up-sampling in the decoder, no
    biases, batch normalisation without affine parameters, a sigmoid at the end.
    """

    CHANNELS = (32, 64, 128)
    BOTTLENECK = 128

    def __init__(self, channels: int = 3, size: int = 64) -> None:
        super().__init__()
        norm: dict[str, Any] = {"eps": 1e-4, "affine": False}
        down, side = (channels, *self.CHANNELS), size // 8  # three poolings by 2
        up = (self.BOTTLENECK // side**2, *reversed(self.CHANNELS), channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5, padding=2, bias=False) for a, b in pairwise(down))
        self.encoder_norms = nn.ModuleList(nn.BatchNorm2d(n, **norm) for n in self.CHANNELS)
        self.encode = nn.Linear(self.CHANNELS[-1] * side**2, self.BOTTLENECK, bias=False)
        self.bottleneck_norm = nn.BatchNorm1d(self.BOTTLENECK, **norm)
        self.deconvolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, 5, padding=2, bias=False) for a, b in pairwise(up))
        self.decoder_norms = nn.ModuleList(nn.BatchNorm2d(n, **norm) for n in up[1:-1])
        for layer in (*self.convolutions, *self.deconvolutions):
            nn.init.xavier_uniform_(layer.get_parameter("weight"))
        self.code_shape = (up[0], side, side)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct images."""
        for convolution, norm in zip(self.convolutions, self.encoder_norms, strict=True):
            # ELU is increasing, so pooling first gives the same numbers from a quarter of the exponentials.
            x = elu(max_pool2d(norm(convolution(x)), 2))
        code = self.bottleneck_norm(self.encode(x.flatten(1)))
        x = elu(code.view(-1, *self.code_shape))
        x = self.deconvolutions[0](x)
        for norm, deconvolution in zip(self.decoder_norms, self.deconvolutions[1:], strict=True):
            x = upsample_and_deconvolve(elu(norm(x)), deconvolution.get_parameter("weight"))
        return torch.sigmoid(x)


def upsample_and_deconvolve(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Up-sample by 2 to the nearest neighbour and deconvolve, computed as a convolution of the small maps.

    Many of the 5 x 5 pixels that an output pixel depends on are copies of one small pixel. Adding up their weights
    beforehand leaves 3 x 3 weights: 9 products instead of 25, where most of the training time is spent.

    Maps `x` (n, channels in, side, side), weights of stride 1 and padding 2 (channels in, channels out, 5, 5) → maps
    (n, channels out, 2 side, 2 side).
    """
    # Which of three small pixels each tap of the kernel falls on, for an even and for an odd output pixel.
    taps = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]], device=weight.device)
    share = one_hot(taps, 3).to(weight.dtype)
    small = torch.einsum("yar,xbs,ioab->oyxirs", share, share, weight.flip(2, 3)).flatten(0, 2)
    return pixel_shuffle(conv2d(x, small.contiguous(memory_format=torch.channels_last), padding=1), 2)


class SmallDCAE(nn.Sequential):
    """Small-DCAE (§5.2): 12, 24 and 48 channels, kernel 4, ReLU; stride 2, padding 1, mirrored, no bottleneck."""

    CHANNELS = (12, 24, 48)

    def __init__(self, channels: int = 3, size: int = 64) -> None:
        down = (channels, *self.CHANNELS)
        layers: list[nn.Module] = []
        for a, b in pairwise(down):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        for a, b in pairwise(down[::-1]):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers[:-1], nn.Sigmoid())


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"lenet-dcae": LeNetDCAE, "small-dcae": SmallDCAE}
SIZES = (8, 16, 32, 64)  # pixels per side of the images that the networks accept; the paper's are 64
_generator = Lock()  # torch's global generator draws initial weights


def picture_side(n_pixels: int, width: int | None = None) -> int:
    """Return the side of the smallest square image that the networks take and that holds a patch.

    A patch has rows of `width` pixels; None: as many as the image.
    """
    for side in SIZES:
        if side**2 >= n_pixels if width is None else side >= max(width, -(-n_pixels // width)):
            return side
    rows = "" if width is None else f" in rows of {width}"
    raise NotRun(f"auto-encoder: {n_pixels} pixels a patch{rows} found, expected at most {SIZES[-1]} x {SIZES[-1]}")


def initial_network(name: str, channels: int, side: int, seed: int) -> nn.Module:
    """Return a network with the initial weights of a seed; torch's global generator stays as it is."""
    with _generator, torch.random.fork_rng():
        torch.manual_seed(seed)
        return NETWORKS[name](channels, side)


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread: how many add up the gradients of a batch changes how their sums are rounded."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class DCAE(BaseEstimator):
    """A convolutional auto-encoder as an anomaly detector.

    A patch that has fewer than 64 x 64 pixels is padded with zeros to the next square of 8, 16, 32 or 64 pixels a side.
    Training and scores are the same, bit for bit, whatever the number of threads: each takes one.

    Parameters
    ----------
    network
        lenet-dcae or small-dcae.
    epochs, batch_size, learning_rate
        Training by Adam on the mean squared error.
    channels, colormap
        3: RGB images in the colours of `colormap`; 1: grey images, the colour-map indices divided by 255.
    precision
        float32, or bfloat16 where the processor supports it.
    device
        cpu, cuda, or auto: cuda if there is a GPU.
    random_state
        Seed of the initial weights and of the order of the batches.
    width
        Pixels in a row of a patch, its frames; None: as many as in a row of the image.

    Attributes
    ----------
    losses_ : list of float
        Mean training loss of each epoch.
    """

    def __init__(
        self,
        network: str = "lenet-dcae",
        epochs: int = 80,
        batch_size: int = 128,
        learning_rate: float = 1e-4,
        channels: int = 3,
        colormap: Literal["viridis", "gray", "magma"] = "viridis",
        precision: str = "float32",
        device: str = "auto",
        random_state: int = 0,
        width: int | None = None,
    ):
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.channels = channels
        self.colormap = colormap
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.width = width

    @one_thread()
    def fit(self, X: NDArray[np.uint8], y: None = None) -> Self:
        """Train on patches of normal clips, X of shape (n, pixels)."""
        squares = self._squares(X, reset=True)
        if self.network not in NETWORKS:
            raise unknown_value("network", self.network, NETWORKS)
        if self.batch_size < 2:
            raise MimiiError(f"batch_size: found {self.batch_size}, expected 2 or more: one patch has no variance")
        device = torch_device(self.device)
        net = initial_network(self.network, self.channels, squares.shape[-1], self.random_state)
        net = net.to(device).to(memory_format=torch.channels_last).train()
        order = torch.Generator().manual_seed(self.random_state)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.learning_rate, fused=True)
        self.losses_: list[float] = []
        with trange(self.epochs, desc=self.network, unit="epoch", disable=None) as epochs:
            for _ in epochs:
                total = 0.0
                for batch in torch.randperm(len(squares), generator=order).split(self.batch_size):
                    if len(batch) == 1:  # the variance of one patch is 0, so batch normalisation cannot learn from it
                        continue
                    images = self._images(squares[batch.numpy()], device)
                    with self._autocast(device):  # per batch, because autocast caches the weights that it has cast
                        reconstructions = net(images)
                    loss = mse_loss(reconstructions.float(), images)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    total += loss.item() * len(batch)
                self.losses_.append(total / len(squares))
                epochs.set_postfix(loss=f"{self.losses_[-1]:.4f}")
        self.net_ = net.eval().cpu()
        return self

    @one_thread()
    def reconstruct(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the reconstructions of patches X of shape (n, pixels): (n, channels, size, size), in [0, 1]."""
        return np.concatenate([reconstructions for _, reconstructions in self._forward_passes(X)])

    @one_thread()
    def score_samples(self, X: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return minus the mean squared error of each patch's reconstruction: shape (n,)."""
        errors = [((b - a) ** 2).mean((1, 2, 3), dtype=np.float64) for a, b in self._forward_passes(X)]
        return -np.concatenate(errors)

    def _forward_passes(self, X: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield images and their reconstructions, in batches small enough that torch reuses the memory."""
        check_is_fitted(self)
        squares, device = self._squares(X, reset=False), torch_device(self.device)
        net = self.net_.to(device)
        for batch in gen_batches(len(squares), 32):
            with torch.inference_mode(), self._autocast(device):
                images = self._images(squares[batch], device)
                reconstructions = net(images).float()
            yield images.cpu().numpy(), reconstructions.cpu().numpy()
        self.net_ = net.cpu()

    def _squares(self, X: NDArray[np.uint8], reset: bool) -> NDArray[np.uint8]:
        """Return patches X of shape (n, pixels) as squares of shape (n, size, size)."""
        X = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1, ensure_non_negative=True)
        size = picture_side(X.shape[1], self.width)
        width = self.width or size
        rows = np.zeros((len(X), size, width), np.uint8)
        rows.reshape(len(X), -1)[:, : X.shape[1]] = np.rint(X).clip(0, 255)
        return np.pad(rows, ((0, 0), (0, 0), (0, size - width)))

    def _images(self, squares: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
        if self.channels == 1:
            images = torch.from_numpy(squares[:, None]).float() / 255
        else:
            images = rgb_patches(squares, Imaging(colormap=self.colormap))
        return images.to(device).contiguous(memory_format=torch.channels_last)

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __sklearn_tags__(self) -> Tags:
        """Declare to scikit-learn that X must not be negative."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def torch_device(name: str) -> torch.device:
    """Return the device called cpu or cuda; auto: cuda if there is a GPU, else cpu."""
    fastest = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(fastest if name == "auto" else name)


def build_autoencoder(name: str, settings: Autoencoders, imaging: Imaging, seed: int) -> DCAE:
    """Return the auto-encoder `name` (lenet-dcae or small-dcae), not trained, with the paper's parameters (§5.2).

    An unknown name, a device that is missing, and a patch that is too large raise MimiiError.
    """
    if name not in NETWORKS:
        raise unknown_value("detectors", name, DETECTORS)
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise MimiiError("autoencoders.device: found cuda, and torch finds no GPU; name auto or cpu")
    picture_side(imaging.n_mels * imaging.patch_frames, imaging.patch_frames)
    training = {key: value for key, value in vars(settings).items() if key != "seeds"}
    return DCAE(name, colormap=imaging.colormap, random_state=seed, width=imaging.patch_frames, **training)
