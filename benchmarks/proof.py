"""Hold the library's results against the plain implementation's: same clips, same split, same weights.

Every claim is a number with a limit, found on the miniature's fan and, where there are any, on real recordings of
a slider. Exits with 1 if a claim on float32, the default, does not hold; bfloat16 is listed beside it.

    python benchmarks/proof.py [--extractors squeezenet1_1 resnet18] [--normal 12] [--abnormal 4]
        [--data FOLDER] [--weights FOLDER] [--seed 0]

The functions above `main` find one number each; they take a :class:`mimii_lib.run.Run`, files or features.
"""

import argparse
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
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
from mimii_lib.run import Run, engines
from mimii_lib.run.profiles import ROOT
from mimii_lib.settings import Detectors, Imaging

ENGINES = ("openvino", "torch")
PRECISIONS = ("float32", "bfloat16")
RANDOM = ("gmm", "b-gmm", "if")
"""Detectors that draw random numbers: they are held against the plain implementation's spread."""
STARTS = range(10)
"""Random states that make the spread."""
TRAINED = 150
"""Patches that the auto-encoders are trained on."""

PICTURES = 1e-4
RECORDINGS, SHARE = 1e-3, 0.99
SCORES = 1e-6
NEAREST = 1e-4
AREA = {"float32": (0.005, 1), "bfloat16": (0.01, 2)}
"""By how much an AUC may differ: in [0, 1], or in pairs of clips that change places if that is more."""
LOSS = 0.02

Features = NDArray[np.floating]


# Features


def entries_of(path: Path | str) -> NDArray[np.uint8]:
    """Return the library's patches of the plain log-mel spectrogram of a clip: (18, 64, 64)."""
    return imaging.patches(reference.log_mel(reference.read(path)), Imaging())


def pixels_off(path: Path | str) -> int:
    """Return how many pixels of a clip's patches the library colours otherwise; 0 is expected."""
    ours = imaging.rgb_patches(entries_of(path), Imaging()).permute(0, 2, 3, 1).numpy()
    return int((ours != reference.pictures_of_clip(path).astype(np.float32)).any(axis=-1).sum())


def files(run: Run, machine_id: str) -> list[Path]:
    """Return the recordings of a machine ID in the order of the library's arrays."""
    return [run.data / path for path in run.recordings.clips_of(machine_id).path]


def expected_features(run: Run, machine_id: str, extractor: str) -> Features:
    """Return the plain implementation's features of a machine ID, from its recordings on: (clips, 18, d)."""
    net = reference.network(extractor, run.stages.weights(extractor).state())
    return reference.features(files(run, machine_id), net)


def relative_errors(found: Features, expected: Features) -> NDArray[np.float64]:
    """Return ‖found − expected‖ / ‖expected‖ of every row: (..., d) → (...)."""
    exact = np.asarray(expected, np.float64)
    return np.linalg.norm(found - exact, axis=-1) / np.linalg.norm(exact, axis=-1)


def errors_from_pictures(run: Run, machine_id: str, extractor: str, expected: Features) -> NDArray[np.float64]:
    """Return the relative error of every patch's features, on the plain implementation's own pictures.

    Parameters
    ----------
    expected : shape (clips, 18, d)
        Of :func:`expected_features`. The run says engine and precision.
    """
    entries = np.concatenate([entries_of(path) for path in files(run, machine_id)])
    found = engines.extract(entries, run.stages.weights(extractor), run.settings.imaging, run.settings.features)
    return relative_errors(found, expected.reshape(len(found), -1))


def errors_from_recordings(run: Run, machine_id: str, extractor: str, expected: Features) -> NDArray[np.float64]:
    """Return the relative error of every patch's features, each side from the recordings on: (clips, 18)."""
    return relative_errors(run.features(machine_id, extractor), expected)


# Scores


def divided(run: Run, machine_id: str, features: Features, seed: int) -> tuple[Features, Features]:
    """Return the features of the training and of the test patches, both (patches, d), in the library's order."""
    train, test = (features[run.recordings.split_clips(machine_id, seed, role).index] for role in ("train", "test"))
    return train.reshape(-1, features.shape[-1]), test.reshape(-1, features.shape[-1])


def expected_scores(train: Features, test: Features, detector: str, seed: int) -> NDArray[np.float64]:
    """Return the plain anomaly scores, those of the kernel density from a tree of one leaf."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the paper's limit of iterations ends a fit
        return reference.anomaly_scores(train, test, detector, seed, leaf_size=max(40, len(train)))


def score_error(train: Features, test: Features, detector: str, seed: int = 0) -> float:
    """Return the largest |ours − plain| / |plain| of a detector's scores on the same features.

    Both sides run on one thread, as the library's detectors do: what is summed by several has no fixed order.
    80 mixture components need 80 training patches or more.
    """
    ours = make_pipeline(
        detectors.preprocessor(Detectors(), seed), detectors.build_detector(detector, Detectors(), seed)
    )
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        found = evaluation.anomaly_scores(ours.fit(train).score_samples(test))
        expected = expected_scores(train, test, detector, seed)
    return largest_difference(found, expected)


def largest_difference(found: ArrayLike, expected: ArrayLike) -> float:
    """Return the largest |found − expected| / |expected|; equal numbers differ by 0, also where both are 0."""
    delta, size = np.abs(np.subtract(found, expected)), np.abs(np.asarray(expected))
    return float(np.max(np.divide(delta, size, out=np.where(delta == 0, 0.0, np.inf), where=size > 0)))


def leaf_error(train: Features, test: Features) -> float:
    """Return how far scikit-learn's kernel density is off at its own leaf size, relative to the exact scores."""
    exact = expected_scores(train, test, "kde", 0)
    return largest_difference(reference.anomaly_scores(train, test, "kde", 0), exact)


def nearest_neighbour_error(train: Features, test: Features) -> tuple[int, float]:
    """Hold the kernel density at bandwidth h against the distance d to the nearest training patch.

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
    front = detectors.preprocessor(settings, 0).fit(train)
    train, test = front.transform(train), front.transform(test)
    found = evaluation.anomaly_scores(detectors.build_detector("kde", settings, 0).fit(train).score_samples(test))
    squared = cdist(test, train, "sqeuclidean").min(axis=1)
    constant = np.log(len(train)) + train.shape[1] * np.log(settings.bandwidth * np.sqrt(2 * np.pi))
    expected = constant + squared / (2 * settings.bandwidth**2)
    misplaced = int((np.argsort(found, kind="stable") != np.argsort(squared, kind="stable")).sum())
    return misplaced, largest_difference(found, expected)


# AUC


def expected_area(run: Run, machine_id: str, features: Features, detector: str, seed: int, start: int) -> float:
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
    scores = expected_scores(*divided(run, machine_id, features, seed), detector, start)
    anomalous = (run.recordings.split_clips(machine_id, seed, "test").label == "abnormal").to_numpy()
    return reference.auc(anomalous, reference.clip_scores(scores.reshape(len(anomalous), -1)))


def expected_areas(run: Run, machine_id: str, features: Features, detector: str, seed: int) -> list[float]:
    """Return the plain AUCs over ten starts, or the one AUC of a detector that is not random."""
    starts = STARTS if detector in RANDOM else [seed]
    return [expected_area(run, machine_id, features, detector, seed, start) for start in starts]


def areas(run: Run, machine_id: str, extractor: str, seed: int) -> dict[str, float]:
    """Return the library's AUC of every detector, from the recordings on."""
    table = run.auc([(extractor, name) for name in paper.DETECTORS], [seed])
    return dict(table[table.id == machine_id].set_index("detector").auc)


def allowance(run: Run, machine_id: str, seed: int, precision: str) -> float:
    """Return by how much an AUC in [0, 1] may differ: so many points, or a pair or two of clips changing places."""
    anomalous = run.recordings.split_clips(machine_id, seed, "test").label == "abnormal"
    least, pairs = AREA[precision]
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


def loss_curves(
    paths: Sequence[Path | str],
    precisions: Sequence[str] = PRECISIONS,
    patches: int = TRAINED,
    epochs: int = 3,
    batch: int = 32,
    seed: int = 0,
) -> tuple[list[float], dict[str, list[float]]]:
    """Train LeNet-DCAE on the first patches of recordings, from the same weights and in the same order.

    Returns
    -------
    plain
        The plain implementation's mean loss of each epoch.
    ours
        The library's, for every precision.
    """
    pictures = np.concatenate([reference.pictures_of_clip(path) for path in paths])[:patches]
    entries = np.concatenate([entries_of(path) for path in paths])[:patches]
    tensors = torch.from_numpy(pictures.astype(np.float32)).permute(0, 3, 1, 2).contiguous()
    plain = reference.train(plain_autoencoder(seed), tensors, epochs, seed, batch)
    ours = {}
    for precision in precisions:
        model = DCAE(epochs=epochs, batch_size=batch, precision=precision, random_state=seed)
        ours[precision] = model.fit(entries.reshape(len(entries), -1)).losses_
    return plain, ours


# The table


Row = tuple[str, str, str, str, bool]
"""Claim, what it was tried with, limit, what was found, and whether it holds."""


def proven(run: Run, machine_id: str, seed: int = 0) -> Iterator[Row]:
    """Yield every claim for one machine ID and all extractors of a run."""
    paths = files(run, machine_id)
    off = sum(map(pixels_off, paths))
    yield "the same colours", f"{len(paths)} clips", "0 pixels off", f"{off}", off == 0
    for extractor in run.stages.extractors:
        expected = expected_features(run, machine_id, extractor)
        yield from proven_features(run, machine_id, extractor, expected)
        train, test = divided(run, machine_id, expected, seed)
        yield from proven_scores(extractor, train, test, seed)
        yield from proven_areas(run, machine_id, extractor, expected, seed)
    plain, ours = loss_curves(paths, seed=seed)
    for precision, losses in ours.items():
        error = largest_difference(losses, plain)
        yield "LeNet-DCAE: loss of every epoch", precision, f"≤ {LOSS:.0%}", f"{error:.2%}", error <= LOSS


def proven_features(run: Run, machine_id: str, extractor: str, expected: Features) -> Iterator[Row]:
    """Yield the claims on features, for both engines in float32."""
    for engine in ENGINES:
        other = run.with_overrides(settings={"features.engine": engine, "features.precision": "float32"})
        what = f"{extractor}, {other.stages.engine}"
        largest = errors_from_pictures(other, machine_id, extractor, expected).max()
        limit = f"every patch ≤ {PICTURES:.0e}"
        yield "features of the same pictures", what, limit, f"{largest:.1e}", bool(largest <= PICTURES)
        errors = errors_from_recordings(other, machine_id, extractor, expected)
        share = float(np.mean(errors <= RECORDINGS))
        found = f"{share:.2%}, largest {errors.max():.1e}"
        yield "features from wav", what, f"{SHARE:.0%} of patches ≤ {RECORDINGS:.0e}", found, share >= SHARE


def proven_scores(extractor: str, train: Features, test: Features, seed: int) -> Iterator[Row]:
    """Yield the claims on scores of the same features."""
    what = f"{extractor}, {len(train):,} + {len(test):,} patches"
    found = {name: score_error(train, test, name, seed) for name in paper.DETECTORS}
    said = ", ".join(f"{paper.DETECTORS[name]} {error:.0e}" for name, error in found.items())
    said += f" (scikit-learn's KDE with its own leaves: {leaf_error(train, test):.0e})"
    holds = all(error <= SCORES for error in found.values())
    yield "scikit-learn's scores on the same features", what, f"relative ≤ {SCORES:.0e}", said, holds
    misplaced, error = nearest_neighbour_error(train, test)
    limit, said = f"same ranks, ≤ {NEAREST:.0e}", f"{misplaced} patches misplaced, {error:.0e}"
    yield "KDE is the nearest neighbour's distance", what, limit, said, misplaced == 0 and error <= NEAREST


def proven_areas(run: Run, machine_id: str, extractor: str, expected: Features, seed: int) -> Iterator[Row]:
    """Yield the claims on AUC, from wav: in float32 against the plain one, in bfloat16 against both."""
    runs = {precision: run.with_overrides(settings={"features.precision": precision}) for precision in PRECISIONS}
    exact, reduced = (areas(runs[precision], machine_id, extractor, seed) for precision in PRECISIONS)
    for detector, title in paper.DETECTORS.items():
        plain = expected_areas(run, machine_id, expected, detector, seed)
        slack = allowance(run, machine_id, seed, "float32") if detector not in RANDOM else 0.0
        wide = allowance(run, machine_id, seed, "bfloat16")
        seen = f"{100 * min(plain):.1f}" + (f" to {100 * max(plain):.1f}" if len(plain) > 1 else "")
        limit = f"{seen}" + (f" ± {100 * slack:.1f}" if slack else "")
        holds = outside(exact[detector], plain) <= slack + 1e-9
        what = f"{extractor}, {runs['float32'].engine}"
        yield f"AUC × 100 from wav: {title}", what, limit, f"{100 * exact[detector]:.1f}", holds
        limit = f"{100 * exact[detector]:.1f} ± {100 * wide:.1f}"
        holds = outside(reduced[detector], [exact[detector]]) <= wide + 1e-9
        if detector in RANDOM:
            limit += f" or {seen} ± {100 * wide:.1f}"
            holds |= outside(reduced[detector], plain) <= wide + 1e-9
        what = f"{extractor}, {runs['bfloat16'].engine}"
        yield f"AUC × 100 from wav: {title}", what, limit, f"{100 * reduced[detector]:.1f}", holds


def main() -> int:
    """Print a table for the miniature and one for real recordings; return 1 if a float32 claim fails, else 0."""
    shared = ROOT.parent / "shared"
    parser = argparse.ArgumentParser(description="the library's results against the plain implementation's")
    parser.add_argument("--extractors", nargs="+", default=list(paper.EXTRACTORS), help="those that can be reached run")
    parser.add_argument("--normal", type=int, default=12, help="normal clips of the miniature, 10 or more")
    parser.add_argument("--abnormal", type=int, default=4, help="abnormal clips of the miniature")
    parser.add_argument("--data", type=Path, default=shared / "real_mimii", help="folder of real recordings")
    parser.add_argument("--weights", type=Path, default=shared / "weights", help="folder of weight files")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split, the detectors and the training")
    given = parser.parse_args()
    weights = given.weights if given.weights.is_dir() else None
    if unknown := set(given.stages.extractors) - set(paper.EXTRACTORS):
        parser.error(f"--extractors: {', '.join(unknown)} found, expected some of {', '.join(paper.EXTRACTORS)}")
    count, failed = 0, []
    with tempfile.TemporaryDirectory() as folder:
        made, profile = Path(folder) / "miniature", Path(folder) / "proof.yaml"
        profile.write_text("weight_sources: [folder, package]\n")
        miniature.make_miniature(made, snr=-6, normal=given.normal, abnormal=given.abnormal, machines=("fan",))
        sources = {"the miniature": ("fan", made), "real recordings": ("slider", given.data)}
        for title, (machine, data) in sources.items():
            print(f"\n## {title[0].upper()}{title[1:]}: {machine} id_00, −6 dB\n")
            if not (data / f"-6_dB_{machine}").is_dir():
                print(f"Not there (no folder -6_dB_{machine} in {data.name}): nothing was tried on {title}.")
                continue
            run = Run(
                machine,
                profile=profile,
                data=data,
                ids="id_00",
                extractors=given.stages.extractors,
                seeds=given.seed,
                weights=weights,
                cache=Path(folder) / "cache",
            )
            for extractor in run.stages.unavailable_extractors:
                print(f"Not tried, its weights are not reachable: {extractor}.")
            print("\n| claim | tried with | limit | found | holds |\n|---|---|---|---|---|", flush=True)
            for *said, holds in proven(run, "id_00", given.seed):
                print(f"| {' | '.join(said)} | {'yes' if holds else '**no**'} |", flush=True)
                count += 1
                failed += [] if holds else [f"{title}: {said[0]} ({said[1]})"]
    print(f"\n{count - len(failed)} of {count} claims hold.")
    for each in failed:
        print(f"- does not hold: {each}")
    return int(any("bfloat16" not in each for each in failed))


if __name__ == "__main__":
    sys.exit(main())
