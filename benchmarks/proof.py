"""Compare the library's results with the plain implementation's: same clips, same split, same weights.

Every claim is a number with a limit, measured on the miniature's fan and, where there are any, on real recordings of
a slider. Exits with 1 if a claim on float32, the default, does not hold; bfloat16 is listed beside it.

    python benchmarks/proof.py [--extractors squeezenet1_1 resnet18] [--normal 12] [--abnormal 4]
        [--data FOLDER] [--weights FOLDER] [--seed 0] [--quick] [--json FILE]

`--quick` prints every claim for a few clips and one extractor, and also exits with 1 if one is missing; the functions
above `main` measure one number each. `--json` keeps the claims with what they were measured on; the book's page on real
MIMII shows such a record.
"""

import argparse
import json
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import numpy as np
import reference
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits
from torch import nn

from mimii_lib import detectors, evaluation, imaging, paper
from mimii_lib.autoencoders import DCAE
from mimii_lib.data import miniature
from mimii_lib.data.files import atomic_write
from mimii_lib.run import Run, engines, provenance
from mimii_lib.settings import Detectors, Imaging

SHARED = Path(__file__).resolve().parents[2] / "shared"
"""Folder of reference files beside the checkout."""
ENGINES = ("openvino", "torch")
PRECISIONS = ("float32", "bfloat16")
"""Of the features and of the training."""
ARITHMETICS = ("float64", "float32")
"""Of the detectors."""
RANDOM = ("gmm", "b-gmm", "if")
"""Detectors that draw random numbers: they are compared with the plain implementation's spread."""
STARTS = range(10)
"""Random states of the spread."""
TRAINED = 150
"""Patches that the auto-encoders are trained on."""
QUICK_CLAIMS = 20
"""Claims of the quick form: one of colours, four of features, two of scores, ten of AUCs, two of training."""

MAX_PICTURE_ERROR = 1e-4
MAX_FEATURE_ERROR, SHARE = 1e-3, 0.99
MAX_SCORE_ERROR = 1e-6
MAX_NEAREST_ERROR = 1e-4
MAX_LOSS_ERROR = 0.02
AUC_TOLERANCE = {"float32": (0.005, 1), "bfloat16": (0.01, 2)}
"""By how much an AUC may differ: in [0, 1], or in pairs of clips that change places if that is more."""

Features = NDArray[np.floating]


# Features


def patches_of(path: Path | str) -> NDArray[np.uint8]:
    """Return the library's patches of the plain log-mel spectrogram of a clip: (18, 64, 64)."""
    return imaging.patches(reference.log_mel(reference.read(path)), Imaging())


def different_pixels(path: Path | str) -> int:
    """Return how many pixels of a clip's patches the library colours otherwise; 0 is expected."""
    ours = imaging.rgb_patches(patches_of(path), Imaging()).permute(0, 2, 3, 1).numpy()
    return int((ours != reference.pictures_of_clip(path).astype(np.float32)).any(axis=-1).sum())


def recordings(run: Run, machine_id: str) -> list[Path]:
    """Return the recordings of a machine ID in the order of the library's arrays."""
    return [run.recordings.data / path for path in run.recordings.clips_of(machine_id).path]


def expected_features(run: Run, machine_id: str, extractor: str) -> Features:
    """Return the plain implementation's features of a machine ID, from its recordings on: (clips, 18, d)."""
    net = reference.network(extractor, run.stages.weights(extractor).state())
    return reference.features(recordings(run, machine_id), net)


def relative_errors(features: Features, expected: Features) -> NDArray[np.float64]:
    """Return ‖features − expected‖ / ‖expected‖ of every row: (..., d) → (...)."""
    exact = np.asarray(expected, np.float64)
    return np.linalg.norm(features - exact, axis=-1) / np.linalg.norm(exact, axis=-1)


def errors_from_pictures(run: Run, machine_id: str, extractor: str, expected: Features) -> NDArray[np.float64]:
    """Return the relative error of every patch's features, on the plain implementation's own pictures.

    Parameters
    ----------
    expected : shape (clips, 18, d)
        Of :func:`expected_features`. The run says engine and precision.
    """
    patches = np.concatenate([patches_of(path) for path in recordings(run, machine_id)])
    features = engines.extract(patches, run.stages.weights(extractor), run.settings.imaging, run.settings.features)
    return relative_errors(features, expected.reshape(len(features), -1))


def errors_from_recordings(run: Run, machine_id: str, extractor: str, expected: Features) -> NDArray[np.float64]:
    """Return the relative error of every patch's features, each side from the recordings on: (clips, 18)."""
    return relative_errors(run.features(machine_id, extractor), expected)


# Scores


def split_features(run: Run, machine_id: str, features: Features, seed: int) -> tuple[Features, Features]:
    """Return the features of the training and of the test patches, both (patches, d), in the library's order."""
    train, test = (features[run.recordings.split_clips(machine_id, seed, role).index] for role in ("train", "test"))
    return train.reshape(-1, features.shape[-1]), test.reshape(-1, features.shape[-1])


def expected_scores(
    train: Features, test: Features, detector: str, seed: int, precision: str = "float64"
) -> NDArray[np.floating]:
    """Return the plain anomaly scores, those of the kernel density from a tree of one leaf."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the paper's limit of iterations ends a fit
        return reference.anomaly_scores(train, test, detector, seed, max(40, len(train)), precision)


def score_error(train: Features, test: Features, detector: str, seed: int = 0, precision: str = "float64") -> float:
    """Return the largest |ours − plain| / |plain| of a detector's scores on the same features, in one arithmetic.

    Both sides run on one thread, as the library's detectors do: what is summed by several has no fixed order.
    80 mixture components need 80 training patches or more.
    """
    settings = Detectors.model_validate({"precision": precision})
    ours = make_pipeline(detectors.preprocessor(settings, seed), detectors.build_detector(detector, settings, seed))
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        scores = evaluation.anomaly_scores(ours.fit(train).score_samples(test))
        expected = expected_scores(train, test, detector, seed, precision)
    return largest_difference(scores, expected)


def largest_difference(values: ArrayLike, expected: ArrayLike) -> float:
    """Return the largest |values − expected| / |expected|; equal numbers differ by 0, also where both are 0."""
    delta, size = np.abs(np.subtract(values, expected)), np.abs(np.asarray(expected))
    return float(np.max(np.divide(delta, size, out=np.where(delta == 0, 0.0, np.inf), where=size > 0)))


def leaf_error(train: Features, test: Features) -> float:
    """Return how far scikit-learn's kernel density is off at its own leaf size, relative to the exact scores."""
    exact = expected_scores(train, test, "kde", 0)
    return largest_difference(reference.anomaly_scores(train, test, "kde", 0), exact)


def nearest_neighbour_error(train: Features, test: Features) -> tuple[int, float]:
    """Compare the kernel density at bandwidth h with the distance d to the nearest training patch.

    Returns
    -------
    misplaced
        Test patches that do not have the same rank by score and by distance.
    error
        The largest relative error of log n + D log(h √(2π)) + d² / 2h² as the anomaly score, with n training
        patches of D dimensions. It is not 0 where a second neighbour is hardly further away than the first, which
        takes up to log 2 from the score.
    """
    settings = Detectors()
    preprocessor = detectors.preprocessor(settings, 0).fit(train)
    train, test = preprocessor.transform(train), preprocessor.transform(test)
    scores = evaluation.anomaly_scores(detectors.build_detector("kde", settings, 0).fit(train).score_samples(test))
    squared = cdist(test, train, "sqeuclidean").min(axis=1)
    constant = np.log(len(train)) + train.shape[1] * np.log(settings.bandwidth * np.sqrt(2 * np.pi))
    expected = constant + squared / (2 * settings.bandwidth**2)
    misplaced = int((np.argsort(scores, kind="stable") != np.argsort(squared, kind="stable")).sum())
    return misplaced, largest_difference(scores, expected)


# AUC


def expected_auc(run: Run, machine_id: str, features: Features, detector: str, seed: int, start: int) -> float:
    """Return the plain AUC.

    Parameters
    ----------
    features : shape (clips, 18, d)
        Of :func:`expected_features`.
    seed
        Of the split.
    start
        Of the detector.
    """
    scores = expected_scores(*split_features(run, machine_id, features, seed), detector, start)
    anomalous = (run.recordings.split_clips(machine_id, seed, "test").label == "abnormal").to_numpy()
    return reference.auc(anomalous, reference.clip_scores(scores.reshape(len(anomalous), -1)))


def expected_aucs(run: Run, machine_id: str, features: Features, detector: str, seed: int) -> list[float]:
    """Return the plain AUCs over ten starts, or the one AUC of a detector that is not random."""
    starts = STARTS if detector in RANDOM else [seed]
    return [expected_auc(run, machine_id, features, detector, seed, start) for start in starts]


def aucs(run: Run, machine_id: str, extractor: str, seed: int) -> dict[str, float]:
    """Return the library's AUC of every detector, from the recordings on."""
    table = run.auc([(extractor, name) for name in paper.DETECTORS], [seed])
    return dict(table[table.id == machine_id].set_index("detector").auc)


def allowance(run: Run, machine_id: str, seed: int, precision: str) -> float:
    """Return by how much an AUC in [0, 1] may differ: so many points, or a pair or two of clips changing places."""
    anomalous = run.recordings.split_clips(machine_id, seed, "test").label == "abnormal"
    least, pairs = AUC_TOLERANCE[precision]
    return max(least, pairs / (anomalous.sum() * (~anomalous).sum()))


def outside(area: float, expected: Sequence[float]) -> float:
    """Return by how much an AUC lies outside the range of others; 0 inside."""
    return max(0.0, min(expected) - area, area - max(expected))


# Training


def plain_autoencoder(seed: int) -> nn.Module:
    """Return the plain LeNet-DCAE with the weights that the library's starts from, position by position."""
    ours = DCAE(epochs=0, random_state=seed).fit(np.zeros((2, 64 * 64), np.uint8)).net_
    plain = reference.LeNetDCAE()
    with torch.no_grad():
        for mine, theirs in zip(plain.parameters(), ours.parameters(), strict=True):
            if mine.shape != theirs.shape:
                raise ValueError(f"LeNet-DCAE: a weight of shape {tuple(theirs.shape)} found, expected {mine.shape}")
            mine.copy_(theirs)
    return plain


def training_pictures(paths: Sequence[Path | str], n: int) -> tuple[torch.Tensor, NDArray[np.uint8]]:
    """Return the first patches of recordings as both sides train on them: (n, 3, 64, 64) RGB and (n, 4096) indices."""
    pictures = np.concatenate([reference.pictures_of_clip(path) for path in paths])[:n]
    patches = np.concatenate([patches_of(path) for path in paths])[:n]
    tensors = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    return tensors, patches.reshape(len(patches), -1)


def loss_errors(paths: Sequence[Path | str], epochs: int = 3, batch: int = 32, seed: int = 0) -> dict[str, float]:
    """Train LeNet-DCAE by both implementations, from the same weights and in the same order.

    Returns
    -------
    dict
        For every precision, the largest relative difference of an epoch's mean loss.
    """
    tensors, patches = training_pictures(paths, TRAINED)
    expected, errors = reference.train(plain_autoencoder(seed), tensors, epochs, seed, batch), {}
    for precision in PRECISIONS:
        ours = DCAE(epochs=epochs, batch_size=batch, precision=precision, random_state=seed).fit(patches)
        errors[precision] = largest_difference(ours.losses_, expected)
    return errors


# The table


Row = tuple[str, str, str, str, bool]
"""Claim, what it was measured with, limit, measured value, and whether the claim holds."""


def claims(run: Run, machine_id: str, seed: int = 0, epochs: int = 3) -> Iterator[Row]:
    """Yield every claim for one machine ID and all extractors of a run."""
    paths = recordings(run, machine_id)
    off = sum(map(different_pixels, paths))
    yield "the same colours", f"{len(paths)} clips", "0 pixels off", f"{off}", off == 0
    for extractor in run.stages.extractors:
        expected = expected_features(run, machine_id, extractor)
        yield from feature_claims(run, machine_id, extractor, expected)
        train, test = split_features(run, machine_id, expected, seed)
        yield from score_claims(extractor, train, test, seed)
        yield from auc_claims(run, machine_id, extractor, expected, seed)
    for precision, error in loss_errors(paths, epochs, seed=seed).items():
        limit, holds = f"≤ {MAX_LOSS_ERROR:.0%}", error <= MAX_LOSS_ERROR
        yield "LeNet-DCAE: loss of every epoch", precision, limit, f"{error:.2%}", holds


def feature_claims(run: Run, machine_id: str, extractor: str, expected: Features) -> Iterator[Row]:
    """Yield the claims on features, for both engines in float32."""
    for engine in ENGINES:
        other = run.with_overrides(settings={"features.engine": engine, "features.precision": "float32"})
        what = f"{extractor}, {other.stages.engine}"
        largest = float(errors_from_pictures(other, machine_id, extractor, expected).max())
        limit, holds = f"every patch ≤ {MAX_PICTURE_ERROR:.0e}", largest <= MAX_PICTURE_ERROR
        yield "features of the same pictures", what, limit, f"{largest:.1e}", holds
        errors = errors_from_recordings(other, machine_id, extractor, expected)
        share, limit = float(np.mean(errors <= MAX_FEATURE_ERROR)), f"{SHARE:.0%} of patches ≤ {MAX_FEATURE_ERROR:.0e}"
        yield "features from wav", what, limit, f"{share:.2%}, largest {errors.max():.1e}", share >= SHARE


def score_claims(extractor: str, train: Features, test: Features, seed: int) -> Iterator[Row]:
    """Yield the claims on scores of the same features."""
    what = f"{extractor}, {len(train):,} + {len(test):,} patches"
    for arithmetic in ARITHMETICS:
        errors = {name: score_error(train, test, name, seed, arithmetic) for name in paper.DETECTORS}
        measured = ", ".join(f"{paper.DETECTORS[name]} {error:.0e}" for name, error in errors.items())
        if arithmetic == "float64":
            measured += f" (scikit-learn's KDE with its own leaves: {leaf_error(train, test):.0e})"
        limit, holds = f"relative ≤ {MAX_SCORE_ERROR:.0e}", max(errors.values()) <= MAX_SCORE_ERROR
        yield "scikit-learn's scores on the same features", f"{what}, {arithmetic}", limit, measured, holds
    misplaced, error = nearest_neighbour_error(train, test)
    limit, measured = f"same ranks, ≤ {MAX_NEAREST_ERROR:.0e}", f"{misplaced} patches misplaced, {error:.0e}"
    holds = misplaced == 0 and error <= MAX_NEAREST_ERROR
    yield "KDE is the nearest neighbour's distance", what, limit, measured, holds


def auc_claims(run: Run, machine_id: str, extractor: str, expected: Features, seed: int) -> Iterator[Row]:
    """Yield the claims on AUC, from wav: in float32 against the plain one, in bfloat16 against both."""
    runs = {precision: run.with_overrides(settings={"features.precision": precision}) for precision in PRECISIONS}
    exact, reduced = (aucs(runs[precision], machine_id, extractor, seed) for precision in PRECISIONS)
    for detector, title in paper.DETECTORS.items():
        plain = expected_aucs(run, machine_id, expected, detector, seed)
        slack = allowance(run, machine_id, seed, "float32") if detector not in RANDOM else 0.0
        wide = allowance(run, machine_id, seed, "bfloat16")
        spread = f"{100 * min(plain):.1f}" + (f" to {100 * max(plain):.1f}" if len(plain) > 1 else "")
        limit = spread + (f" ± {100 * slack:.1f}" if slack else "")
        holds = outside(exact[detector], plain) <= slack + 1e-9
        what = f"{extractor}, {runs['float32'].stages.engine}"
        yield f"AUC × 100 from wav: {title}", what, limit, f"{100 * exact[detector]:.1f}", holds
        limit = f"{100 * exact[detector]:.1f} ± {100 * wide:.1f}"
        holds = outside(reduced[detector], [exact[detector]]) <= wide + 1e-9
        if detector in RANDOM:
            limit += f" or {spread} ± {100 * wide:.1f}"
            holds |= outside(reduced[detector], plain) <= wide + 1e-9
        what = f"{extractor}, {runs['bfloat16'].stages.engine}"
        yield f"AUC × 100 from wav: {title}", what, limit, f"{100 * reduced[detector]:.1f}", holds


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table for the miniature and one for real recordings; return 1 if a float32 claim fails, or is missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extractors", nargs="+", choices=list(paper.EXTRACTORS), default=list(paper.EXTRACTORS))
    parser.add_argument("--normal", type=int, default=12, help="normal clips of the miniature, 10 or more")
    parser.add_argument("--abnormal", type=int, default=4, help="abnormal clips of the miniature")
    parser.add_argument("--data", type=Path, default=SHARED / "real_mimii", help="folder of real recordings")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights", help="folder of weight files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, the detectors and the training")
    parser.add_argument("--quick", action="store_true", help="one extractor, few clips of the miniature alone")
    parser.add_argument("--json", type=Path, help="record of the claims")
    options = parser.parse_args(arguments)
    if options.quick:
        options.extractors, options.normal, options.abnormal = ["squeezenet1_1"], 10, 3
    record = {"date": f"{date.today()}", "processor": provenance.processor()} | provenance.describe() | {"claims": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        profile = folder / "proof.yaml"
        profile.write_text("weight_sources: [folder, package]\n")
        miniature.make_miniature(
            folder / "miniature", snr=-6, normal=options.normal, abnormal=options.abnormal, machines=("fan",)
        )
        sources = {"miniature": ("fan", folder / "miniature"), "real recordings": ("slider", options.data)}
        for title, (machine, data) in list(sources.items())[: 1 if options.quick else 2]:
            print(f"\n## {title.capitalize()}: {machine} id_00, −6 dB\n")
            if not (data / f"-6_dB_{machine}").is_dir():
                print(f"Not compared: {data.name} has no folder -6_dB_{machine}.")
                continue
            weights = options.weights if options.weights.is_dir() else None
            parameters = {"extractors": options.extractors, "seeds": options.seed, "weights": weights}
            run = Run(machine, profile=profile, data=data, ids="id_00", cache=folder / "cache", **parameters)
            for reason in run.stages.unavailable_extractors.values():
                print(f"Not compared: {reason}")
            print("\n| claim | measured with | limit | value | holds |\n|---|---|---|---|---|", flush=True)
            clips = run.recordings.clips_of("id_00").label.value_counts().to_dict()
            measured = {"recordings": title, "machine": machine, "clips": clips}
            measured["data_sha256"] = run.recordings.digest("id_00")
            for *cells, holds in claims(run, "id_00", options.seed, 1 if options.quick else 3):
                print(f"| {' | '.join(cells)} | {'yes' if holds else '**no**'} |", flush=True)
                named = dict(zip(("claim", "measured with", "limit", "value"), cells, strict=True))
                record["claims"].append(measured | named | {"holds": bool(holds)})
    if options.json:
        with atomic_write(options.json) as file:
            file.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    failed = [claim for claim in record["claims"] if not claim["holds"]]
    print(f"\n{len(record['claims']) - len(failed)} of {len(record['claims'])} claims hold.")
    for claim in failed:
        print(f"- does not hold: {claim['recordings']}: {claim['claim']} ({claim['measured with']})")
    missing = options.quick and len(record["claims"]) < QUICK_CLAIMS
    return int(missing or any("bfloat16" not in claim["measured with"] for claim in failed))


if __name__ == "__main__":
    sys.exit(main())
