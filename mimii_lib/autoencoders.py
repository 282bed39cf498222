"""§5.2 The baselines: convolutional auto-encoders, trained from scratch on the 64 x 64 pictures.

A :class:`DCAE` keeps scikit-learn's contract, like the detectors: ``fit`` on pictures of normal sound,
``score_samples`` higher where more normal (the negative reconstruction error).
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, gen_batches
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn
from torch.nn.functional import conv2d, elu, max_pool2d, mse_loss, one_hot, pixel_shuffle
from tqdm import trange

from mimii_lib.errors import MimiiError, unknown_value
from mimii_lib.imaging import pictures
from mimii_lib.settings import DETECTORS, Autoencoders, Imaging


class LeNetDCAE(nn.Module):
    """LeNet-DCAE: 32, 64 and 128 channels, kernel 5, ELU, batch normalisation, a 128-d bottleneck.

    Laid out as the CIFAR-10 LeNet auto-encoder of Deep SVDD (Ruff et al., 2018), whose parts the paper names,
    for 64 x 64 instead of 32 x 32 pixels: max pooling on the way down, nearest-neighbour up-sampling on the
    way up, no biases, batch normalisation without affine parameters, a sigmoid at the end.
    """

    CHANNELS = (32, 64, 128)
    BOTTLENECK = 128

    def __init__(self, channels: int = 3, size: int = 64) -> None:
        super().__init__()
        down, side = (channels, *self.CHANNELS), size // 8  # halved three times
        up = (self.BOTTLENECK // side**2, *reversed(self.CHANNELS), channels)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 5, padding=2, bias=False) for a, b in pairwise(down))
        self.encoder_norms = nn.ModuleList(_norm(nn.BatchNorm2d, channels) for channels in self.CHANNELS)
        self.encode = nn.Linear(self.CHANNELS[-1] * side**2, self.BOTTLENECK, bias=False)
        self.bottleneck_norm = _norm(nn.BatchNorm1d, self.BOTTLENECK)
        self.deconvolutions = nn.ModuleList(nn.ConvTranspose2d(a, b, 5, padding=2, bias=False) for a, b in pairwise(up))
        self.decoder_norms = nn.ModuleList(_norm(nn.BatchNorm2d, channels) for channels in up[1:-1])
        for layer in (*self.convolutions, *self.deconvolutions):
            nn.init.xavier_uniform_(layer.get_parameter("weight"))
        self.code_shape = (up[0], side, side)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Reconstruct pictures (n, channels, size, size) in [0, 1]."""
        for convolution, norm in zip(self.convolutions, self.encoder_norms, strict=True):
            # ELU rises, so pooling first gives the same numbers from a quarter of the exponentials.
            x = elu(max_pool2d(norm(convolution(x)), 2))
        code = self.bottleneck_norm(self.encode(x.flatten(1)))
        x = elu(code.view(-1, *self.code_shape))
        x = self.deconvolutions[0](x)
        for norm, deconvolution in zip(self.decoder_norms, self.deconvolutions[1:], strict=True):
            x = _upsampled(elu(norm(x)), deconvolution.get_parameter("weight"))
        return torch.sigmoid(x)


def _upsampled(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Up-sample by 2 to the nearest neighbour and deconvolve, as a convolution of the small maps.

    Of the 5 x 5 pixels that a large pixel hears, many are copies of one small pixel: their weights are added up
    before, to 3 x 3. That is 9 products in the place of 25, and most of the training time is spent on them.

    Parameters
    ----------
    x : tensor of shape (n, channels in, side, side)
    weight : tensor of shape (channels in, channels out, 5, 5)
        Of the deconvolution, whose stride is 1 and padding 2.

    Returns
    -------
    tensor of shape (n, channels out, 2 side, 2 side)
    """
    # Which of three small pixels each tap of the kernel falls on, for an even and for an odd large pixel.
    taps = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 1, 2, 2]], device=weight.device)
    share = one_hot(taps, 3).to(weight.dtype)
    small = torch.einsum("yar,xbs,ioab->oyxirs", share, share, weight.flip(2, 3)).flatten(0, 2)
    return pixel_shuffle(conv2d(x, small.contiguous(memory_format=torch.channels_last), padding=1), 2)


def _norm(kind: type[nn.Module], channels: int) -> nn.Module:
    return kind(channels, eps=1e-4, affine=False)


class SmallDCAE(nn.Sequential):
    """Small-DCAE: 12, 24 and 48 channels, kernel 4, ReLU; stride 2, padding 1, mirrored, no bottleneck."""

    CHANNELS = (12, 24, 48)

    def __init__(self, channels: int = 3, size: int = 64) -> None:
        down = (channels, *self.CHANNELS)
        layers: list[nn.Module] = []
        for a, b in pairwise(down):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        for a, b in zip(down[:0:-1], down[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers[:-1], nn.Sigmoid())


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {"lenet-dcae": LeNetDCAE, "small-dcae": SmallDCAE}
SIZES = (8, 16, 32, 64)
"""Pixels a side of the pictures that the networks are laid out for; the paper's are 64."""


def picture_side(n_pixels: int) -> int:
    """Return the side of the smallest square picture that the networks take and that holds so many pixels."""
    for side in SIZES:
        if side**2 >= n_pixels:
            return side
    raise MimiiError(f"auto-encoder: {n_pixels} pixels a picture found, expected at most {SIZES[-1] ** 2}")


class DCAE(BaseEstimator):
    """A convolutional auto-encoder as an anomaly detector.

    Pictures come as rows: X of shape (n, d) holds the pixels of each picture, entries of the colour map from 0 to
    255, line by line. d is 4096 for the paper's 64 x 64; a shorter row is filled up with zeros to the next square
    of 8, 16, 32 or 64 pixels a side.

    Parameters
    ----------
    network
        lenet-dcae or small-dcae.
    epochs, batch_size, learning_rate
        Training by Adam on the mean squared error.
    channels
        3: pictures in the colours of `colormap`; 1: the entries themselves as grey.
    colormap
        Colour map of the pictures.
    precision
        float32, or bfloat16 where the machine has it.
    device
        cpu, cuda, or auto: cuda where there is one.
    random_state
        Seed of the initial weights and of the order of the batches.

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
        colormap: str = "viridis",
        precision: str = "float32",
        device: str = "auto",
        random_state: int = 0,
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

    def fit(self, X: NDArray[np.uint8], y: None = None) -> Self:
        """Train on pictures of normal sound, X of shape (n, d)."""
        entries = self._entries(X, reset=True)
        if self.network not in NETWORKS:
            raise unknown_value("network", self.network, NETWORKS)
        device = self._device()
        # The global generator makes the initial weights; it is left as it was found.
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            net = NETWORKS[self.network](self.channels, entries.shape[-1])
        net = net.to(device).to(memory_format=torch.channels_last)
        order = torch.Generator().manual_seed(self.random_state)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.learning_rate, fused=True)
        self.losses_: list[float] = []
        net.train()
        with trange(self.epochs, desc=self.network, unit="epoch", disable=None) as epochs:
            for _ in epochs:
                total = 0.0
                for batch in torch.randperm(len(entries), generator=order).split(self.batch_size):
                    if len(batch) == 1:  # batch normalisation cannot learn from one picture
                        continue
                    images = self._pictures(entries[batch.numpy()], device)
                    with self._reduced(device):  # anew for each batch: it keeps the weights that it has rounded
                        made = net(images)
                    loss = mse_loss(made.float(), images)
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    total += loss.item() * len(batch)
                self.losses_.append(total / len(entries))
                epochs.set_postfix(loss=f"{self.losses_[-1]:.4f}")
        self.net_ = net.eval().cpu()
        return self

    @property
    def n_parameters(self) -> int:
        """Number of parameters that were trained."""
        check_is_fitted(self)
        return sum(each.numel() for each in self.net_.parameters())

    def reconstruct(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the reconstructions, (n, channels, size, size), of pictures X of shape (n, d)."""
        return np.concatenate([made for _, made in self._passes(X)])

    def score_samples(self, X: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return minus the mean squared error of each picture's reconstruction: shape (n,)."""
        errors = [((made - images) ** 2).mean((1, 2, 3), dtype=np.float64) for images, made in self._passes(X)]
        return -np.concatenate(errors)

    def _passes(self, X: NDArray[np.uint8]) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Yield pictures and their reconstructions, in small batches: memory that is there is used again."""
        check_is_fitted(self)
        entries, device = self._entries(X, reset=False), self._device()
        net = self.net_.to(device)
        for batch in gen_batches(len(entries), 32):
            with torch.inference_mode(), self._reduced(device):
                images = self._pictures(entries[batch], device)
                made = net(images).float()
            yield images.cpu().numpy(), made.cpu().numpy()
        self.net_ = net.cpu()

    def _entries(self, X: NDArray[np.uint8], *, reset: bool) -> NDArray[np.uint8]:
        """Return the pictures as squares, (n, size, size) uint8, or raise if X holds none."""
        X = validate_data(self, X, reset=reset, ensure_min_samples=2 if reset else 1, ensure_non_negative=True)
        size = picture_side(X.shape[1])
        squares = np.zeros((len(X), size**2), np.uint8)
        squares[:, : X.shape[1]] = np.rint(X).clip(0, 255)
        return squares.reshape(-1, size, size)

    def _pictures(self, entries: NDArray[np.uint8], device: torch.device) -> torch.Tensor:
        if self.channels == 1:
            shades = torch.from_numpy(entries[:, None]).to(device).float() / 255
        else:
            shades = pictures(entries, Imaging(colormap=self.colormap)).to(device)
        return shades.contiguous(memory_format=torch.channels_last)

    def _device(self) -> torch.device:
        return torch_device(self.device)

    def _reduced(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    def __sklearn_tags__(self) -> Tags:
        """Tell scikit-learn that pixels are not negative."""
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        return tags


def torch_device(name: str) -> torch.device:
    """Return the device called cpu or cuda; auto: cuda where there is a GPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def make(name: str, settings: Autoencoders, imaging: Imaging, seed: int) -> DCAE:
    """Return the auto-encoder called `name` (lenet-dcae or small-dcae), not yet trained."""
    if name not in NETWORKS:
        raise unknown_value("detectors", name, DETECTORS)
    return DCAE(
        network=name,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        channels=settings.channels,
        colormap=imaging.colormap,
        precision=settings.precision,
        device=settings.device,
        random_state=seed,
    )
