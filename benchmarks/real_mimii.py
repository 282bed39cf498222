"""Compute what per-clip tables of real MIMII say of its machine IDs under the paper's protocol (§5).

    python benchmarks/real_mimii.py FOLDER [--out benchmarks/real_mimii.json] [--splits FILE]

FOLDER holds `iaia` and `egemaps`, two tables that others computed from every clip and published. They have no time
axis, so the paper's pictures cannot be made of them; systems that take one vector a clip can be run, each on the
features of a table, standardised: the Mahalanobis distance, three nearest neighbours, the nearest one with local
density normalisation, a mixture of eight components, a one-class SVM, an isolation forest, and the level alone. The
book's page on real MIMII shows the record, a list with a row for each machine ID, SNR and system: the AUC in [0, 1],
the mean of five seeds, with its 95 % interval.

A seed draws the split, and starts the mixture and the forest. `--splits` writes the splits of all seeds (seed, path,
role), with MIMII's names of the clips: row k of a table is the clip k of its folder.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.fft import idct
from sklearn.pipeline import Pipeline, make_pipeline
from threadpoolctl import threadpool_limits

from mimii_lib import detectors, paper
from mimii_lib.data.files import atomic_write
from mimii_lib.dataset import LABELS, split
from mimii_lib.errors import MimiiError
from mimii_lib.evaluation import ClipScores, anomaly_scores
from mimii_lib.settings import CLIP_SYSTEMS, Detectors, Settings
from mimii_lib.systems import catalogue
from mimii_lib.uncertainty import bootstrap_aucs

SYSTEMS = ("mahalanobis", "knn", "spectrum-density", "gmm", "oc-svm", "if", "level")
"""The library's names of the systems."""
SETTINGS = Detectors(n_components=8)
"""The paper's settings, but for the mixture: 80 components have too few of some 850 clips each."""
SEEDS = range(5)
SPECTRUM_MACHINES = ("fan", "pump", "slider")
"""Machine types of the table `iaia`."""
SPECTRUM_SNRS = {-6: "snr_6", 0: "snr0", 6: "snr6"}
"""Beginnings of the names of the files of `iaia`, by SNR in dB."""
BANDS, RMS = 128, 128
"""In a row of `iaia`: the number of mel bands, whose cosine transform comes first, and the place of the level."""
FUNCTIONALS_SNR = 6
"""SNR of `egemaps` in dB, which its source does not state: see :func:`level_correlations`."""


@dataclass(frozen=True)
class Unit:
    """The clips of one machine ID at one SNR, as one table describes them.

    Attributes
    ----------
    source
        Name of the table: iaia or egemaps.
    clips : DataFrame
        The clip table (see :mod:`mimii_lib.dataset`), with MIMII's paths.
    features : array of shape (clips, dimension)
    levels : array of shape (clips, 1)
        In dB.
    """

    source: str
    snr: int
    machine: str
    machine_id: str
    clips: pd.DataFrame
    features: NDArray[np.float64]
    levels: NDArray[np.float64]


def read_spectra(folder: Path, snr: int, machine: str, machine_id: str) -> Unit:
    """Return a machine ID of `iaia`: the time-mean log-mel spectrum of every clip, (clips, 128), and its level.

    A file holds the cosine transform of the spectrum, row k that of the clip named by the number k.
    """
    files = [folder / "iaia" / machine / f"{SPECTRUM_SNRS[snr]}_{machine_id}_{label}.npy" for label in LABELS]
    tables = [_found(file, np.load).astype(np.float64) for file in files]
    rows = np.concatenate(tables)
    numbers = [range(len(table)) for table in tables]
    levels = 20 * np.log10(rows[:, [RMS]])
    spectra = idct(rows[:, :BANDS], norm="ortho", axis=1)
    return Unit("iaia", snr, machine, machine_id, _clip_table(snr, machine, machine_id, numbers), spectra, levels)


def read_functionals(folder: Path, machine: str, machine_id: str) -> Unit:
    """Return a machine ID of `egemaps`: the functionals of every clip, (clips, 88), of which the last is the level.

    A row names its clip: the order of the rows does not matter.
    """
    name = "opensmileFeatureSet.eGeMAPSv02-{}-{}-{}.csv"
    files = [folder / "egemaps" / name.format(machine, machine_id, label) for label in LABELS]
    tables = [_found(file, pd.read_csv) for file in files]
    numbers = [table.pop("filename").str.extract(r"(\d+)\.wav$")[0].astype(int) for table in tables]
    values = pd.concat(tables).astype(np.float64)
    levels = values[["equivalentSoundLevel_dBp"]].to_numpy()
    clips = _clip_table(FUNCTIONALS_SNR, machine, machine_id, numbers)
    return Unit("egemaps", FUNCTIONALS_SNR, machine, machine_id, clips, values.to_numpy(), levels)


def _found(file: Path, read: Any) -> Any:
    if not file.is_file():
        raise MimiiError(f"{file}: no such file; expected a table of the folders iaia and egemaps, whole")
    return read(file)


def _clip_table(snr: int, machine: str, machine_id: str, numbers: Sequence[Sequence[int]]) -> pd.DataFrame:
    """Return the clip table of the numbers of the normal and of the abnormal clips."""
    folder = f"{snr}_dB_{machine}/{machine}/{machine_id}"
    rows = [
        (machine_id, label, f"{folder}/{label}/{number:08d}.wav")
        for label, of_label in zip(LABELS, numbers, strict=True)
        for number in of_label
    ]
    return pd.DataFrame(rows, columns=["id", "label", "path"])


def units(folder: Path) -> Iterator[Unit]:
    """Yield every machine ID of both tables."""
    for snr, machine, machine_id in product(SPECTRUM_SNRS, SPECTRUM_MACHINES, paper.IDS):
        yield read_spectra(folder, snr, machine, machine_id)
    for machine, machine_id in product(paper.MACHINES, paper.IDS):
        yield read_functionals(folder, machine, machine_id)


def build(system: str, seed: int) -> Pipeline:
    """Return a system, not fitted, behind the standardisation."""
    if system in CLIP_SYSTEMS:
        return catalogue.estimator(catalogue.SYSTEMS[system], Settings(detectors=SETTINGS), ())
    return make_pipeline(detectors.preprocessor(SETTINGS, seed), detectors.build_detector(system, SETTINGS, seed))


def tested(unit: Unit, splits: pd.DataFrame) -> Iterator[ClipScores]:
    """Yield the scores of the test clips of every seed and system, trained on the training clips of the seed."""
    anomalous = (unit.clips.label == "abnormal").to_numpy()
    paths = unit.clips.path.to_numpy(str)
    for seed, of_seed in splits.groupby("seed"):
        roles = unit.clips.path.map(of_seed.set_index("path").role)
        train, test = (roles == "train").to_numpy(), (roles == "test").to_numpy()
        for system in SYSTEMS:
            values = unit.levels if system == "level" else unit.features
            with threadpool_limits(limits=1):  # what is summed by several threads has no fixed order
                fitted = build(system, seed).fit(values[train])
                scores = anomaly_scores(fitted.score_samples(values[test]))
            yield ClipScores(f"{unit.machine} {unit.machine_id}", system, paths[test], anomalous[test], scores)


def rows(unit: Unit, splits: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Yield the rows of the record of one machine ID, one for each system."""
    estimates = bootstrap_aucs(list(tested(unit, splits)))
    n_train = int((splits.role == "train").groupby(splits.seed).sum().min())
    named = {"source": unit.source, "snr": unit.snr, "machine": unit.machine, "id": unit.machine_id}
    counts = {"n_train": n_train, "n_normal": estimates.n_normal, "n_abnormal": estimates.n_abnormal}
    for system in SYSTEMS:
        interval = estimates.interval(system)
        area = {"auc": interval.value, "low": interval.low, "high": interval.high}
        yield named | {"system": system} | {name: round(value, 6) for name, value in area.items()} | counts


def level_correlations(folder: Path) -> pd.DataFrame:
    """Return how the level of the clips in `egemaps` follows that in `iaia` at each SNR.

    Returns
    -------
    DataFrame
        Pearson's correlation; rows (machine, id, label), a column for each SNR in dB.
    """
    table = {}
    for machine, machine_id in product(SPECTRUM_MACHINES, paper.IDS):
        functionals = read_functionals(folder, machine, machine_id)
        levels = pd.Series(functionals.levels[:, 0], functionals.clips.path.str.partition("/")[2])
        for snr in SPECTRUM_SNRS:
            spectra = read_spectra(folder, snr, machine, machine_id)
            others = pd.Series(spectra.levels[:, 0], spectra.clips.path.str.partition("/")[2])
            for label, of_label in others.groupby(spectra.clips.label.to_numpy()):
                table.setdefault((machine, machine_id, label), {})[snr] = of_label.corr(levels[of_label.index])
    return pd.DataFrame.from_dict(table, orient="index")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the record and print the mean AUC of every system; return 2 if a table is missing, else 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder that holds iaia and egemaps")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"), help="the record")
    parser.add_argument("--splits", type=Path, help="CSV file to write the splits to")
    options = parser.parse_args(arguments)
    record, drawn = [], []
    try:
        for unit in units(options.folder):
            drawn.append(split(unit.clips, SEEDS))
            record += rows(unit, drawn[-1])
            print(f"{unit.source} {unit.snr:+d} dB {unit.machine} {unit.machine_id}", file=sys.stderr, flush=True)
        with atomic_write(options.out) as file:
            file.write_text("[\n" + ",\n".join(map(json.dumps, record)) + "\n]\n")
        if options.splits:
            with atomic_write(options.splits) as file:  # both tables hold clips at +6 dB, with the same splits
                pd.concat(drawn).drop_duplicates().to_csv(file, index=False)
        correlations = level_correlations(options.folder)
    except MimiiError as error:
        print(error, file=sys.stderr)
        return 2
    areas = pd.DataFrame(record).pivot_table("auc", "system", ["source", "snr"], sort=False)
    print((100 * areas).round(1))
    nearest = correlations.idxmax(axis=1).value_counts().to_dict()
    print(f"files of egemaps by the SNR at which their level follows that of iaia best: {nearest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
