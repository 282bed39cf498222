"""§5.2 The baselines: convolutional auto-encoders, trained from scratch on the 64 x 64 pictures.

A :class:`DCAE` keeps scikit-learn's contract, like the detectors: ``fit`` on pictures of normal sound,
``score_samples`` higher where more normal (the negative reconstruction error).
"""

from itertools import pairwise
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import nn
from torch.nn.functional import elu, interpolate, max_pool2d, mse_loss
from tqdm import trange

from mimii_lib.errors import MimiiError, one_of
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

    def __init__(self) -> None:
        super().__init__()
        down, side = (3, *self.CHANNELS), 8  # 64 pixels, halved three times
        up = (self.BOTTLENECK // side**2, *reversed(self.CHANNELS), 3)
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
        """Reconstruct pictures (n, 3, 64, 64) in [0, 1]."""
        for convolution, norm in zip(self.convolutions, self.encoder_norms, strict=True):
            # ELU rises, so pooling first gives the same numbers from a quarter of the exponentials.
            x = elu(max_pool2d(norm(convolution(x)), 2))
        code = self.bottleneck_norm(self.encode(x.flatten(1)))
        x = elu(code.view(-1, *self.code_shape))
        for deconvolution, norm in zip(self.deconvolutions[:-1], self.decoder_norms, strict=True):
            x = interpolate(elu(norm(deconvolution(x))), scale_factor=2)
        return torch.sigmoid(self.deconvolutions[-1](x))


def _norm(kind: type[nn.Module], channels: int) -> nn.Module:
    return kind(channels, eps=1e-4, affine=False)


class SmallDCAE(nn.Sequential):
    """Small-DCAE: 12, 24 and 48 channels, kernel 4, ReLU; stride 2, padding 1, mirrored, no bottleneck."""

    CHANNELS = (12, 24, 48)

    def __init__(self) -> None:
        down = (3, *self.CHANNELS)
        layers: list[nn.Module] = []
        for a, b in pairwise(down):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        for a, b in zip(down[:0:-1], down[-2::-1], strict=True):
            layers += [nn.ConvTranspose2d(a, b, 4, stride=2, padding=1), nn.ReLU()]
        super().__init__(*layers[:-1], nn.Sigmoid())


NETWORKS: dict[str, type[nn.Module]] = {"lenet-dcae": LeNetDCAE, "small-dcae": SmallDCAE}


class DCAE(BaseEstimator):
    """A convolutional auto-encoder as an anomaly detector.

    Parameters
    ----------
    network
        lenet-dcae or small-dcae.
    epochs, batch_size, learning_rate
        Training by Adam on the mean squared error.
    colormap
        Colour map of the pictures.
    seed
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
        colormap: str = "viridis",
        seed: int = 0,
    ):
        self.network = network
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.colormap = colormap
        self.seed = seed

    def fit(self, X: NDArray[np.uint8], y: None = None) -> Self:
        """Train on patches of normal sound, X of shape (n, 64, 64) uint8: entries of the colour map."""
        if len(X) < 2:
            raise MimiiError(f"{self.network}: {len(X)} patches to train on, expected at least 2")
        # The global generator makes the initial weights; it is left as it was found.
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            net = NETWORKS[self.network]().to(memory_format=torch.channels_last)
        order = torch.Generator().manual_seed(self.seed)
        optimiser = torch.optim.Adam(net.parameters(), lr=self.learning_rate)
        self.losses_: list[float] = []
        net.train()
        for _ in trange(self.epochs, desc=self.network, unit="epoch", disable=None):
            total = 0.0
            for batch in torch.randperm(len(X), generator=order).split(self.batch_size):
                if len(batch) == 1:  # batch normalisation cannot learn from one picture
                    continue
                images = self._pictures(X[batch.numpy()])
                loss = mse_loss(net(images), images)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                total += loss.item() * len(batch)
            self.losses_.append(total / len(X))
        self.net_ = net.eval()
        return self

    @property
    def n_parameters(self) -> int:
        """Number of parameters that were trained."""
        check_is_fitted(self)
        return sum(each.numel() for each in self.net_.parameters())

    def reconstruct(self, X: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the reconstructions, (n, 3, 64, 64), of patches X of shape (n, 64, 64)."""
        check_is_fitted(self)
        with torch.inference_mode():
            return self.net_(self._pictures(X)).numpy()

    def score_samples(self, X: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Return minus the mean squared error of each patch's reconstruction: shape (n,)."""
        check_is_fitted(self)
        scores = np.empty(len(X))
        with torch.inference_mode():
            for start in range(0, len(X), self.batch_size):
                images = self._pictures(X[start : start + self.batch_size])
                errors = ((self.net_(images) - images) ** 2).mean((1, 2, 3))
                scores[start : start + self.batch_size] = -errors.numpy()
        return scores

    def _pictures(self, entries: NDArray[np.uint8]) -> torch.Tensor:
        rgb = pictures(entries, Imaging(colormap=self.colormap))
        return rgb.contiguous(memory_format=torch.channels_last)


def make(name: str, settings: Autoencoders, imaging: Imaging, seed: int) -> DCAE:
    """Return the auto-encoder called `name` (lenet-dcae or small-dcae), not yet trained."""
    if name not in NETWORKS:
        raise one_of("detectors", name, DETECTORS)
    return DCAE(
        network=name,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        colormap=imaging.colormap,
        seed=seed,
    )
