"""A plain second implementation of the paper's pipeline, to check the fast one against.

Every step is the call that the field's common package offers for it: librosa for one clip at a time, matplotlib's
colour map, torchvision's resizing and networks, scikit-learn's detectors, PyTorch's layers. Nothing is cached, fused or
run in parallel, and nothing is taken from the library under test, so that an error there is not repeated here.
Settings the paper leaves open have the project's defaults; they stand below as constants, with the paper's section.

    PYTHONPATH=benchmarks python -c "import reference as r; print(r.log_mel(r.read('clip.wav')).shape)"
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import librosa
import matplotlib
import numpy as np
import soundfile
import torch
import torchvision
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from sklearn.svm import OneClassSVM
from torch import nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transform

# Section 4: the recordings. MIMII's files have eight channels where the paper speaks of one: the first is taken.
SAMPLE_RATE = 16_000  # Hz
CLIP_SAMPLES = 160_000  # 10 s
CHANNEL = 0

# Section 5: Mel spectrogram. Power, padding and the decibel range are not stated there.
N_FFT = 1024  # samples of the Hann window
HOP = 256  # samples
N_MELS = 64
POWER = 2.0
PAD_MODE: Final = "constant"
TOP_DB = 80.0  # dB below the clip's maximum

# Section 5: patches and pictures. The patches' "2 s" and "1 s" are 1.02 s and 0.51 s at this hop; the frames count.
PATCH_FRAMES = 64
PATCH_OFFSET = 32  # frames
PATCHES = 18  # of a clip of 10 s
COLOUR_MAP = "viridis"
PICTURE_SIZE = 224  # pixels, up-scaled
IMAGENET_MEAN = (0.485, 0.456, 0.406)  # RGB
IMAGENET_STD = (0.229, 0.224, 0.225)

# Section 5.1: pretrained feature extractors, by torchvision's names
ALEXNET_LAYERS = 6  # of the classifier: up to the penultimate layer and its ReLU
SQUEEZENET_POOL = 2  # the last map is averaged to 2 x 2

# Section 5.2: anomaly detection models
COMPONENTS = 80
COVARIANCE = "diag"
MIXTURE_START = "kmeans"
MIXTURE_ITERATIONS = 150
TREES = 128
BANDWIDTH = 0.1
NU = 1e-4

# Section 5.2: auto-encoders. The norms' epsilon is that of Deep SVDD's networks.
LENET_CHANNELS = (32, 64, 128)
LENET_KERNEL = 5
LENET_BOTTLENECK = 128
NORM_EPSILON = 1e-4
SMALL_CHANNELS = (12, 24, 48)
SMALL_KERNEL = 4
LEARNING_RATE = 1e-4
BATCH = 128
EPOCHS = 80


def read(path: Path | str) -> NDArray[np.float32]:
    """Return the first channel of a recording.

    Parameters
    ----------
    path
        A WAV file of 10 s at 16 kHz, with one channel or more.

    Returns
    -------
    ndarray, shape (160000,), float32
        Samples in [-1, 1].

    Raises
    ------
    ValueError
        If the rate or the length is another.
    """
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    if rate != SAMPLE_RATE or len(samples) != CLIP_SAMPLES:
        raise ValueError(
            f"{path}: {len(samples)} samples at {rate} Hz, expected {CLIP_SAMPLES} at {SAMPLE_RATE} Hz; "
            "resample or cut the file first"
        )
    return samples[:, CHANNEL]


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the log-mel spectrogram of a clip.

    Parameters
    ----------
    waveform : shape (samples,)
        Samples at 16 kHz.

    Returns
    -------
    ndarray, shape (64, 1 + samples // 256), which is (64, 626) for 10 s
        Decibels relative to the clip's maximum, in [-80, 0]. Row 0 is the lowest mel band, columns are frames of 16 ms.
    """
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=SAMPLE_RATE,
        n_fft=N_FFT,
        hop_length=HOP,
        window="hann",
        pad_mode=PAD_MODE,
        power=POWER,
        n_mels=N_MELS,
    )
    return librosa.power_to_db(mel, ref=np.max, top_db=TOP_DB)


def patches(decibels: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """Scale a log-mel spectrogram to [0, 1] and cut it into overlapping patches.

    Parameters
    ----------
    decibels : shape (64, frames)
        Log-mel spectrogram of one whole clip, in decibels.

    Returns
    -------
    list of ndarray, shape (64, 64) each
        Mel bands by frames, in [0, 1] by the minimum and maximum of the clip; 18 patches of 626 frames. The frames
        after the last full patch are left out. A constant clip gives zeros.
    """
    low, high = decibels.min(), decibels.max()
    scaled = (decibels - low) / (high - low) if high > low else np.zeros_like(decibels)
    starts = range(0, scaled.shape[1] - PATCH_FRAMES + 1, PATCH_OFFSET)
    return [scaled[:, start : start + PATCH_FRAMES] for start in starts]


def picture(patch: NDArray[np.floating]) -> NDArray[np.float64]:
    """Colour a patch.

    Parameters
    ----------
    patch : shape (64, 64)
        Mel bands by frames, in [0, 1], the lowest band first.

    Returns
    -------
    ndarray, shape (64, 64, 3)
        RGB in [0, 1]. The first row is the highest mel band, so that low frequencies are at the bottom.
    """
    return matplotlib.colormaps[COLOUR_MAP](patch[::-1])[..., :3]


def pictures_of_clip(path: Path | str) -> NDArray[np.float64]:
    """Return the pictures of a recording, from the file on.

    Parameters
    ----------
    path
        A WAV file of 10 s at 16 kHz.

    Returns
    -------
    ndarray, shape (18, 64, 64, 3)
        RGB in [0, 1], in the order of time.
    """
    return np.stack([picture(patch) for patch in patches(log_mel(read(path)))])


def network_input(picture: NDArray[np.floating]) -> torch.Tensor:
    """Up-scale and standardise a picture.

    Parameters
    ----------
    picture : shape (64, 64, 3)
        RGB in [0, 1].

    Returns
    -------
    Tensor, shape (3, 224, 224), float32
        Standardised colours, without unit.
    """
    image = torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32)).permute(2, 0, 1).contiguous()
    # Antialiasing is torchvision's default; it acts on down-scaling only.
    large = transform.resize(
        image, [PICTURE_SIZE, PICTURE_SIZE], interpolation=InterpolationMode.BILINEAR, antialias=True
    )
    return transform.normalize(large, list(IMAGENET_MEAN), list(IMAGENET_STD))


def network(name: str, state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Return a pretrained network without its last layer.

    Parameters
    ----------
    name
        ``alexnet``, ``resnet18``, ``resnet34``, ``squeezenet1_0`` or ``squeezenet1_1``.
    state
        State dict of torchvision's whole network of that name, its classifier included.

    Returns
    -------
    Module
        From (n, 3, 224, 224) to (n, d), in evaluation mode. d is 4096 for AlexNet, 512 for the ResNets and 2048 for the
        SqueezeNets: 512 channels, each with its 2 x 2 averages.

    Raises
    ------
    ValueError
        If the name is not one of the five.
    """
    if name not in ("alexnet", "resnet18", "resnet34", "squeezenet1_0", "squeezenet1_1"):
        raise ValueError(f"name={name!r}: expected alexnet, resnet18, resnet34, squeezenet1_0 or squeezenet1_1")
    model = getattr(torchvision.models, name)(weights=None)
    model.load_state_dict(state, strict=True)
    if name == "alexnet":
        model.classifier = model.classifier[:ALEXNET_LAYERS]
    elif name.startswith("resnet"):
        model.fc = nn.Identity()
    else:
        model = nn.Sequential(model.features, nn.AdaptiveAvgPool2d(SQUEEZENET_POOL), nn.Flatten())
    return model.eval()


def features_of_pictures(pictures: NDArray[np.floating], net: nn.Module) -> NDArray[np.float32]:
    """Extract one feature vector from each picture.

    Parameters
    ----------
    pictures : shape (n, 64, 64, 3)
        RGB in [0, 1].
    net
        From (batch, 3, 224, 224) to (batch, d), in evaluation mode.

    Returns
    -------
    ndarray, shape (n, d), float32
        Features, not standardised. The network sees 18 pictures at a time, as many as one clip has.
    """
    rows = []
    with torch.no_grad():
        for start in range(0, len(pictures), PATCHES):
            batch = torch.stack([network_input(one) for one in pictures[start : start + PATCHES]])
            rows.append(net(batch).numpy())
    return np.concatenate(rows)


def features(paths: Sequence[Path | str], net: nn.Module) -> NDArray[np.float32]:
    """Extract the feature vectors of recordings, clip by clip.

    Parameters
    ----------
    paths
        WAV files of 10 s at 16 kHz.
    net
        From (batch, 3, 224, 224) to (batch, d), in evaluation mode. One clip makes one batch.

    Returns
    -------
    ndarray, shape (clips, 18, d), float32
        Features in the order of the paths and of time, not standardised.
    """
    return np.stack([features_of_pictures(pictures_of_clip(path), net) for path in paths])


def detector(name: str, seed: int, leaf_size: int = 40) -> BaseEstimator:
    """Return one of the paper's anomaly detection models, not fitted.

    Parameters
    ----------
    name
        ``gmm``, ``b-gmm``, ``if``, ``kde`` or ``oc-svm``.
    seed
        Seed of the mixtures and of the isolation forest; the other two are not random.
    leaf_size
        Points in a leaf of the kernel density's tree, without effect on the others. The default is scikit-learn's.

    Returns
    -------
    estimator
        Its ``score_samples`` is higher for more normal features. The mixtures and the kernel density give the natural
        logarithm of the density.

    Raises
    ------
    ValueError
        If the name is not one of the five.
    """
    mixture: dict[str, Any] = {
        "n_components": COMPONENTS,
        "covariance_type": COVARIANCE,
        "init_params": MIXTURE_START,
        "max_iter": MIXTURE_ITERATIONS,
        "random_state": seed,
    }
    if name == "gmm":
        return GaussianMixture(**mixture)
    if name == "b-gmm":
        return BayesianGaussianMixture(weight_concentration_prior_type="dirichlet_process", **mixture)
    if name == "if":
        return IsolationForest(n_estimators=TREES, random_state=seed)
    if name == "kde":
        # The tree adds and subtracts, in the logarithm, bounds of whole branches. At bandwidth 0.1 in hundreds of
        # dimensions these lie thousands apart, and what rounding leaves of them outweighs the sum itself. Only a tree
        # of one leaf adds the points themselves and is exact: leaf_size >= number of training points makes sure of it.
        return KernelDensity(bandwidth=BANDWIDTH, kernel="gaussian", leaf_size=leaf_size)
    if name == "oc-svm":
        return OneClassSVM(kernel="rbf", gamma="scale", nu=NU)
    raise ValueError(f"name={name!r}: expected gmm, b-gmm, if, kde or oc-svm")


def anomaly_scores(
    train: NDArray[np.floating],
    test: NDArray[np.floating],
    name: str,
    seed: int,
    leaf_size: int = 40,
    precision: str = "float64",
) -> NDArray[np.floating]:
    """Standardise features, fit a detector to the training patches and score the test patches.

    Parameters
    ----------
    train : shape (n_train, d)
        Features of the training patches, all normal. They alone give the mean and variance.
    test : shape (n_test, d)
        Features of the test patches.
    name, seed, leaf_size
        See `detector`.
    precision
        ``float64`` or ``float32``: the type that scikit-learn is given, and keeps where it can.

    Returns
    -------
    ndarray, shape (n_test,)
        Higher is more anomalous.
    """
    train = np.asarray(train, dtype=precision)
    test = np.asarray(test, dtype=precision)
    scaler = StandardScaler().fit(train)
    model = detector(name, seed, leaf_size).fit(scaler.transform(train))
    return -model.score_samples(scaler.transform(test))


def clip_scores(patch_scores: NDArray[np.floating]) -> NDArray[np.floating]:
    """Average the patches' anomaly scores, the paper's equation 1.

    Parameters
    ----------
    patch_scores : shape (..., patches)
        Anomaly scores, higher is more anomalous.

    Returns
    -------
    ndarray, shape (...)
        One anomaly score for each clip.
    """
    return np.mean(patch_scores, axis=-1)


def auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the receiver operating characteristic curve.

    Parameters
    ----------
    labels : shape (clips,)
        1 for abnormal, 0 for normal.
    scores : shape (clips,)
        Anomaly scores, higher is more anomalous.

    Returns
    -------
    float
        In [0, 1]; the paper's table has it times 100.
    """
    return float(roc_auc_score(labels, scores))


class LeNetDCAE(nn.Module):
    """Deep SVDD's LeNet auto-encoder for CIFAR-10 with ELU (Ruff et al. 2018), for pictures of 64 x 64.

    It takes (n, 3, 64, 64), RGB in [0, 1], and gives the same shape and range. The weights start as PyTorch draws
    them, in the order in which the layers are used.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = LENET_CHANNELS
        squares = LENET_BOTTLENECK // (8 * 8)
        kernel: dict[str, Any] = {"kernel_size": LENET_KERNEL, "padding": LENET_KERNEL // 2, "bias": False}
        norm: dict[str, Any] = {"eps": NORM_EPSILON, "affine": False}

        def encode(n_in: int, n_out: int) -> list[nn.Module]:
            return [nn.Conv2d(n_in, n_out, **kernel), nn.BatchNorm2d(n_out, **norm), nn.ELU(), nn.MaxPool2d(2)]

        def decode(n_in: int, n_out: int) -> list[nn.Module]:
            enlarge = nn.Upsample(scale_factor=2, mode="nearest")
            return [nn.ConvTranspose2d(n_in, n_out, **kernel), nn.BatchNorm2d(n_out, **norm), nn.ELU(), enlarge]

        self.encoder = nn.Sequential(
            *encode(3, first),  # 32 x 32
            *encode(first, second),  # 16 x 16
            *encode(second, third),  # 8 x 8
            nn.Flatten(),
            nn.Linear(third * 8 * 8, LENET_BOTTLENECK, bias=False),
            nn.BatchNorm1d(LENET_BOTTLENECK, **norm),
        )
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (squares, 8, 8)),
            nn.ELU(),
            *decode(squares, third),  # 16 x 16
            *decode(third, second),  # 32 x 32
            *decode(second, first),  # 64 x 64
            nn.ConvTranspose2d(first, 3, **kernel),
            nn.Sigmoid(),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Reconstruct pictures, from (n, 3, 64, 64) to (n, 3, 64, 64), RGB in [0, 1]."""
        return self.decoder(self.encoder(pictures))


class SmallDCAE(nn.Module):
    """The paper's simpler auto-encoder: three strided convolutions and their mirror, without norm or bottleneck.

    It takes (n, 3, 64, 64), RGB in [0, 1], and gives the same shape and range.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third = SMALL_CHANNELS
        kernel: dict[str, Any] = {"kernel_size": SMALL_KERNEL, "stride": 2, "padding": 1}
        self.encoder = nn.Sequential(
            nn.Conv2d(3, first, **kernel),  # 32 x 32
            nn.ReLU(),
            nn.Conv2d(first, second, **kernel),  # 16 x 16
            nn.ReLU(),
            nn.Conv2d(second, third, **kernel),  # 8 x 8
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(third, second, **kernel),  # 16 x 16
            nn.ReLU(),
            nn.ConvTranspose2d(second, first, **kernel),  # 32 x 32
            nn.ReLU(),
            nn.ConvTranspose2d(first, 3, **kernel),  # 64 x 64
            nn.Sigmoid(),
        )

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Reconstruct pictures, from (n, 3, 64, 64) to (n, 3, 64, 64), RGB in [0, 1]."""
        return self.decoder(self.encoder(pictures))


def train(
    net: nn.Module,
    pictures: torch.Tensor,
    epochs: int,
    seed: int,
    batch: int = BATCH,
    lr: float = LEARNING_RATE,
) -> list[float]:
    """Train an auto-encoder in place to reconstruct pictures: Adam on the mean squared error.

    Parameters
    ----------
    net
        From (n, 3, 64, 64) to the same shape. It is left in training mode.
    pictures : shape (n, 3, 64, 64), float32
        RGB in [0, 1].
    epochs
        Passes through the pictures; the paper has 80.
    seed
        Seed of the order of the pictures, one generator for the whole training. The weights net starts with are
        the caller's.
    batch
        Pictures in a batch. A last batch of one picture is skipped: the norms of LeNet-DCAE have no variance there.
    lr
        Learning rate.

    Returns
    -------
    list of float
        For each epoch, the sum over batches of mean squared error times pictures in the batch, divided by n. It is
        taken while the weights change. A skipped picture adds nothing to the sum and still counts in n.
    """
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    loss_function = nn.MSELoss()
    net.train()
    losses = []
    for _ in range(epochs):
        total = 0.0
        for indices in torch.randperm(len(pictures), generator=generator).split(batch):
            if len(indices) == 1:
                continue
            original = pictures[indices]
            loss = loss_function(net(original), original)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(indices)
        losses.append(total / len(pictures))
    return losses


def reconstruction_errors(net: nn.Module, pictures: torch.Tensor) -> NDArray[np.float32]:
    """Return the anomaly scores of pictures by an auto-encoder, which is left in evaluation mode.

    Parameters
    ----------
    net
        From (n, 3, 64, 64) to the same shape.
    pictures : shape (n, 3, 64, 64), float32
        RGB in [0, 1].

    Returns
    -------
    ndarray, shape (n,), float32
        Mean squared error over the colours and pixels of each picture.
    """
    net.eval()
    with torch.no_grad():
        errors = [((net(part) - part) ** 2).mean(dim=(1, 2, 3)) for part in pictures.split(BATCH)]
    return torch.cat(errors).numpy()
