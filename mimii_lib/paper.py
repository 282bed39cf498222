"""What is published, as data: the names, the clip counts of MIMII and the results that ours are compared with.

Conventions
-----------
AUCs are in percent, in the order of Table 1's columns: machine types, and within them machine IDs. The values that a
run uses are in :mod:`mimii_lib.settings`.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import pandas as pd

SNRS = (-6, 0, 6)
"""Signal-to-noise ratios of MIMII's recordings, in dB."""

MACHINES = ("fan", "pump", "slider", "valve")
"""Machine types, in the paper's order (§4)."""

IDS = ("id_00", "id_02", "id_04", "id_06")
"""Machine IDs, one per product model; the paper writes M0, M2, M4, M6."""

EXTRACTORS = MappingProxyType(
    {
        "alexnet": "AlexNet",
        "resnet18": "ResNet18",
        "resnet34": "ResNet34",
        "squeezenet1_0": "SqueezeNet",
        "squeezenet1_1": "SqueezeNet",
    }
)
"""Our extractor names and the paper's row groups (§5.1), which do not say which SqueezeNet was used."""

DETECTORS = MappingProxyType({"gmm": "GMM", "b-gmm": "B-GMM", "if": "IF", "kde": "KDE", "oc-svm": "OC-SVM"})
"""Our detector names and the paper's (§5.2), in the order of Table 1."""

AUTOENCODERS = MappingProxyType({"lenet-dcae": "LeNet-DCAE", "small-dcae": "Small-DCAE"})
"""Our names of the two baselines and the paper's (§5.2)."""

NO_FEATURES = "–"
"""The auto-encoders' entry in the column of the features in Table 1."""

_FEATURES = {"ResNet34": (7, 6), "ResNet18": (3, 5), "AlexNet": (3, 2), "SqueezeNet": (2, 2), "auto-encoders": (1, 0)}
_DETECTOR = {"GMM": (9, 8), "OC-SVM": (6, 2), "auto-encoders": (1, 0), "B-GMM": (0, 3), "IF": (0, 2), "KDE": (0, 0)}
RANKINGS = MappingProxyType({"features": _FEATURES, "detector": _DETECTOR})
"""Numbers of first and second places of the features and of the detectors, as counted in §6."""


@dataclass(frozen=True)
class ClipCount:
    """Number of 10 s clips of one machine ID of MIMII, the same at every SNR."""

    normal: int
    abnormal: int


def _counts(*pairs: tuple[int, int]) -> dict[str, ClipCount]:
    return {machine_id: ClipCount(*pair) for machine_id, pair in zip(IDS, pairs, strict=True)}


MIMII = MappingProxyType(
    {
        "fan": _counts((1011, 407), (1016, 359), (1033, 348), (1015, 361)),
        "pump": _counts((1006, 143), (1005, 111), (702, 100), (1036, 102)),
        "slider": _counts((1068, 356), (1068, 267), (534, 178), (534, 89)),
        "valve": _counts((991, 119), (708, 120), (1000, 120), (992, 120)),
    }
)
"""Clips per machine type and ID of MIMII (Zenodo record 3384388)."""

DENSE_AUTOENCODER = MappingProxyType(
    {
        6: (76.6, 98.4, 93.2, 99.8, 79.7, 48.5, 97.7, 93.6, 99.5, 82.2, 92.4, 68.7, 77.8, 66.6, 64.2, 63.0),
        0: (59.0, 87.2, 77.1, 98.7, 61.4, 49.3, 94.6, 88.5, 98.4, 82.4, 79.6, 52.7, 56.6, 55.6, 62.8, 65.1),
        -6: (56.3, 69.2, 59.5, 87.3, 60.4, 56.1, 91.6, 59.9, 94.9, 76.8, 67.4, 54.2, 67.4, 56.7, 45.4, 53.8),
    }
)
"""AUC of MIMII's official dense auto-encoder by SNR in dB: an independent re-run of the baseline (README of the public
repository yachuchi/mimii)."""


@cache
def table_1() -> pd.DataFrame:
    """Return Table 1 of the paper.

    Returns
    -------
    DataFrame, 22 rows x 16 columns
        AUC, the average of five seeds. Index: (features, detector) in the paper's names, where the auto-encoders have
        the features "–". Columns: (machine, id).
    """
    with (files("mimii_lib") / "paper_table1.csv").open() as file:
        table = pd.read_csv(file, keep_default_na=False).replace({"features": {"": NO_FEATURES}})
    table = table.set_index(["features", "detector"])
    columns = [tuple(name.split("_", 1)) for name in table.columns]
    table.columns = pd.MultiIndex.from_tuples(columns, names=["machine", "id"])
    return table.astype(float)
