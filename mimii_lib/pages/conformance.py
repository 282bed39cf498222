"""What the paper's sections 3 to 5 state, beside what holds it here: a setting, a function, a test.

The statements are in our words. Names are checked when the table is made: a function or a test that is gone, or a
setting that is no longer what the paper states, is an error and not a line that nobody believes any more.
"""

import ast
import importlib
import inspect
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any

import pandas as pd

from mimii_lib.errors import MimiiError
from mimii_lib.settings import ROOT, Profile, Settings

TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Statement:
    """One statement of the paper that can be checked.

    Attributes
    ----------
    section
        Where the paper makes it.
    says
        What it says, in our words.
    function
        What does it here, below ``mimii_lib``.
    test
        What would fail if it were not so: file and name.
    setting, value
        The setting that holds it and the stated value; empty where the code has no choice.
    remark
        Where we cannot follow, or read the statement in one of several ways.
    """

    section: str
    says: str
    function: str
    test: str
    setting: str = ""
    value: Any = None
    remark: str = ""


def _said(section: str, *rows: tuple[Any, ...]) -> list[Statement]:
    return [Statement(section, *row) for row in rows]


_SCORES = "detectors.build_detector"
_MIXTURES = "test_detectors.py::test_mixtures_have_the_papers_parameters"
_LAYERS = "test_autoencoders.py::test_layers_are_the_papers"
_TRAINING = "test_autoencoders.py::test_the_papers_training"
_PENULTIMATE = "test_extractors.py::test_features_are_what_the_last_layer_sees"
_SIZES = "test_dataset.py::test_the_sizes_of_a_split"

STATEMENTS = (
    *_said(
        "§3",
        (
            "a higher score means a more anomalous recording",
            "evaluation.anomaly_scores",
            "test_evaluation.py::test_anomaly_scores_turn_normality_round",
        ),
        ("no anomalous recording is seen in training", "dataset.split", "test_dataset.py::test_a_split_never_leaks"),
        (
            "patches are cut from the spectrogram along time by a sliding window",
            "imaging.patches",
            "test_imaging.py::test_patches_are_windows_of_the_spectrogram",
        ),
        (
            "an extractor turns each patch into a vector",
            "engines.extract",
            "test_extractors.py::test_dimension_of_the_features",
        ),
        (
            "a clip's score is the mean over its patches (Equation 1)",
            "evaluation.pool",
            "test_evaluation.py::test_mean_pooling_is_equation_1",
            "evaluation.pooling",
            "mean",
        ),
    ),
    *_said(
        "§4",
        (
            "MIMII: four machine types, four product models each",
            "dataset.clips",
            "test_paper.py::test_mimii_has_18019_clips",
        ),
        (
            "recordings at “6dB”",
            "dataset.trees",
            "test_dataset.py::test_what_is_not_there_is_named",
            "snr",
            -6,
            "the text has lost its minus signs; open point 1",
        ),
        (
            "single-channel",
            "dataset.read",
            "test_dataset.py::test_the_channel_of_an_8_channel_file",
            "imaging.channel",
            0,
            "the files have eight; open point 4",
        ),
        (
            "10 s long",
            "dataset.read",
            "test_dataset.py::test_a_clip_that_cannot_be_used_is_named",
            "imaging.seconds",
            10,
        ),
        (
            "16 kHz",
            "dataset.read",
            "test_dataset.py::test_a_clip_that_cannot_be_used_is_named",
            "imaging.sample_rate",
            16_000,
        ),
    ),
    *_said(
        "§5",
        ("64 Mel bands", "imaging.log_mel", "test_imaging.py::test_log_mel_is_librosas", "imaging.n_mels", 64),
        ("Hann window of 1024", "imaging.log_mel", "test_imaging.py::test_log_mel_is_librosas", "imaging.window", 1024),
        ("hop length of 256", "imaging.log_mel", "test_imaging.py::test_a_hop_lasts_16_ms", "imaging.hop", 256),
        (
            "patches of 64 × 64, “2s”",
            "imaging.patches",
            "test_imaging.py::test_ten_seconds_are_626_frames_and_18_patches",
            "imaging.patch_frames",
            64,
            "64 frames last 1.02 s; open point 5",
        ),
        (
            "an offset of 32 between patches, “1s”",
            "imaging.patch_starts",
            "test_imaging.py::test_patches_start_32_frames_apart",
            "imaging.patch_offset",
            32,
            "32 frames last 0.51 s; open point 5",
        ),
        (
            "RGB images in the viridis colour map",
            "imaging.rgb_patches",
            "test_imaging.py::test_pictures_are_matplotlibs",
            "imaging.colormap",
            "viridis",
        ),
        (
            "up-scaled to 224 × 224",
            "imaging.extractor_input",
            "test_imaging.py::test_extractor_input_is_torchvisions",
            "imaging.image_size",
            224,
        ),
        (
            "standardised by the values of ImageNet",
            "imaging.standardised_colours",
            "test_imaging.py::test_extractor_input_is_torchvisions",
        ),
        (
            "the aspect ratio stays as it is",
            "imaging.extractor_input",
            "test_imaging.py::test_the_aspect_ratio_is_kept",
        ),
        (
            "features are standardised",
            "detectors.Standardiser",
            "test_detectors.py::test_standardisation_knows_the_training_patches_only",
            "detectors.variance_floor",
            0.0,
            "over the training patches; open point 14",
        ),
        ("150 normal clips are taken out for testing", "dataset.split", _SIZES, "split.test_clips", 150),
        (
            "as many abnormal clips are added",
            "dataset.split",
            _SIZES,
            "split.balanced",
            False,
            "most IDs have fewer; open point 2",
        ),
        (
            "five seeds, each with its own split",
            "dataset.split",
            "test_dataset.py::test_each_seed_is_another_split",
            "seeds",
            (0, 1, 2, 3, 4),
        ),
        ("results are areas under the ROC curve", "evaluation.auc", "test_evaluation.py::test_auc_is_a_probability"),
    ),
    *_said(
        "§5.1",
        (
            "networks that were trained on ImageNet",
            "weights.find_weights",
            "test_weights.py::test_a_pretrained_network_recognises_photos",
        ),
        (
            "AlexNet: the last layer but one, 4096 numbers",
            "extractors.get",
            "test_extractors.py::test_alexnets_features_are_penultimate_activations",
            "features.alexnet_relu",
            True,
            "“two stream” is not followed: torchvision's has one; open point 12",
        ),
        ("ResNet18: 512 numbers after the average pooling", "extractors.get", _PENULTIMATE),
        ("ResNet34: 512 numbers after the average pooling", "extractors.get", _PENULTIMATE),
        (
            "SqueezeNet: the last map, averaged to 2 × 2, 2048 numbers",
            "extractors.get",
            "test_extractors.py::test_squeezenets_features_are_its_last_map_pooled",
            "",
            None,
            "1.0 or 1.1; open point 13",
        ),
    ),
    *_said(
        "§5.2",
        (
            "isolation forest: 128 trees",
            _SCORES,
            "test_detectors.py::test_the_forest_has_128_trees",
            "detectors.n_trees",
            128,
        ),
        ("GMM: 80 components, diagonal covariances", _SCORES, _MIXTURES, "detectors.n_components", 80),
        ("GMM: started by k-means", _SCORES, _MIXTURES, "detectors.init_params", "kmeans"),
        ("GMM: at most 150 iterations", _SCORES, _MIXTURES, "detectors.max_iter", 150),
        (
            "GMM: the score is the log-probability",
            "run.Run.scores",
            "test_detectors.py::test_far_away_is_less_normal",
        ),
        ("B-GMM: the same parameters", _SCORES, _MIXTURES),
        (
            "OC-SVM: ν = 10⁻⁴",
            _SCORES,
            "test_detectors.py::test_the_svms_parameters",
            "detectors.nu",
            1e-4,
            "the text has lost the minus sign",
        ),
        (
            "KDE: Gaussian kernel, bandwidth 0.1",
            "detectors.KDE",
            "test_detectors.py::test_kde_is_scikit_learns",
            "detectors.bandwidth",
            0.1,
        ),
        (
            "KDE: the density is the score",
            "detectors.KDE",
            "test_detectors.py::test_the_density_itself_is_zero",
            "",
            None,
            "its logarithm: the density is 0 in double precision; open point 18",
        ),
        ("LeNet-DCAE: 32, 64 and 128 channels, kernel 5, ELU", "autoencoders.LeNetDCAE", _LAYERS),
        (
            "LeNet-DCAE: batch normalisation",
            "autoencoders.LeNetDCAE",
            "test_autoencoders.py::test_lenet_normalises_and_small_does_not",
        ),
        (
            "LeNet-DCAE: a bottleneck of 128",
            "autoencoders.LeNetDCAE",
            "test_autoencoders.py::test_lenets_code_has_128_numbers",
        ),
        ("Small-DCAE: 12, 24 and 48 channels, kernel 4, ReLU", "autoencoders.SmallDCAE", _LAYERS),
        ("decoders mirror encoders", "autoencoders.SmallDCAE", _LAYERS),
        (
            "Adam with a learning rate of 10⁻⁴",
            "autoencoders.DCAE.fit",
            _TRAINING,
            "autoencoders.learning_rate",
            1e-4,
            "the text has lost the minus sign",
        ),
        ("batches of 128", "autoencoders.DCAE.fit", _TRAINING, "autoencoders.batch_size", 128),
        ("80 epochs", "autoencoders.DCAE.fit", _TRAINING, "autoencoders.epochs", 80),
        (
            "the mean squared error is loss and score",
            "autoencoders.DCAE.score_samples",
            "test_autoencoders.py::test_the_score_is_the_reconstruction_error",
        ),
    ),
)
"""The statements, in the paper's order."""


def check(statement: Statement) -> tuple[str, str, str]:
    """Return what holds a statement: setting with its value, and what function and test say of themselves.

    Raises
    ------
    MimiiError
        If the setting has another value by default, or the function or the test is not there.
    """
    held = ""
    if statement.setting:
        *group, name = statement.setting.split(".")
        found = getattr(attrgetter(*group)(Settings()) if group else Profile(), name)
        if found != statement.value or type(found) is not type(statement.value):
            raise MimiiError(f"{statement.setting}: is {found!r}, and the statement rests on {statement.value!r}")
        held = f"{statement.setting} = {found}"
    return held, _first_line(_function(statement.function).__doc__), _first_line(_test(statement.test))


def table() -> pd.DataFrame:
    """Return all statements, each beside what holds it, checked."""
    rows = []
    for each in STATEMENTS:
        setting, does, tells = check(each)
        rows.append((each.section, each.says, setting, each.function, does, each.test, tells, each.remark))
    columns = ["section", "statement", "setting", "function", "does", "test", "tells", "remark"]
    return pd.DataFrame(rows, columns=columns)


def _function(name: str) -> Any:
    module, *path = name.split(".")
    found: Any = importlib.import_module(f"mimii_lib.{module}")
    for part in path:
        found = getattr(found, part, None)
        if found is None:
            raise MimiiError(f"mimii_lib.{name}: no such function; the list of statements names it")
    return inspect.unwrap(found)


def _test(name: str) -> str | None:
    file, _, test = name.partition("::")
    docstrings = _docstrings(file)
    if test not in docstrings:
        raise MimiiError(f"tests/{name}: no such test; the list of statements names it")
    return docstrings[test]


@cache
def _docstrings(file: str) -> dict[str, str | None]:
    path = TESTS / file
    if not path.is_file():
        raise MimiiError(f"tests/{file}: no such file; the list of statements names it")
    tree = ast.parse(path.read_text())
    return {node.name: ast.get_docstring(node) for node in tree.body if isinstance(node, ast.FunctionDef)}


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
