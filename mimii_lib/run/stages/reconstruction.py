"""Stage: patches → a trained auto-encoder → reconstruction errors of patches (§5.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mimii_lib import autoencoders, evaluation
from mimii_lib.autoencoders import DCAE
from mimii_lib.run.stages.patches import Rows, patch_rows


def train_autoencoder(autoencoder: DCAE, patches: NDArray[np.uint8], train: Rows) -> dict[str, Any]:
    """Train an auto-encoder on patches (clips, patches, n_mels, patch_frames) of the training clips.

    Returns
    -------
    dict
        Tensors and numbers, as :func:`restore_autoencoder` takes them.
    """
    pictures = patch_rows(patches, train)
    autoencoder.fit(pictures)
    losses = torch.tensor(autoencoder.losses_, dtype=torch.float64)
    return {"network": autoencoder.net_.state_dict(), "losses": losses, "n_pixels": pictures.shape[1]}


def restore_autoencoder(autoencoder: DCAE, state: Mapping[str, Any]) -> DCAE:
    """Return an untrained auto-encoder with the state that :func:`train_autoencoder` returned."""
    side = autoencoders.picture_side(state["n_pixels"], autoencoder.width)
    network = autoencoders.initial_network(autoencoder.network, autoencoder.channels, side, 0)  # replaced at once
    network.load_state_dict(state["network"])
    autoencoder.net_ = network.to(memory_format=torch.channels_last).eval()
    autoencoder.losses_ = state["losses"].tolist()
    autoencoder.n_features_in_ = state["n_pixels"]
    return autoencoder


def autoencoder_scores(autoencoder: DCAE, patches: NDArray[np.uint8], test: Rows) -> NDArray[np.float64]:
    """Return the anomaly scores of the test clips: (clips, patches)."""
    scores = evaluation.anomaly_scores(autoencoder.score_samples(patch_rows(patches, test)))
    return scores.reshape(len(test), -1)
