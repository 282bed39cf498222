"""Measure what the arithmetic of the detectors changes: float64, the default, against float32 (open point 26).

    python benchmarks/precision.py [--only "real recordings"] [--starts 10] [--json benchmarks/precision.json]

Each AUC is that of one detector on one split, in one arithmetic, from one random start; all else is the same. The
places: the miniature, real recordings of a slider with 12 and with all training clips, and a machine ID of
MIMII's size (`full_size.py`). The record is a list of rows; `auc` is null where float32 leaves a mixture without
variance. With `--only`, the other places keep the rows that they have in the record.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from full_size import make_full_size
from proof import ARITHMETICS, RANDOM, SHARED
from threadpoolctl import threadpool_limits

from mimii_lib import evaluation, paper
from mimii_lib.data import miniature
from mimii_lib.data.files import atomic_write
from mimii_lib.errors import MimiiError
from mimii_lib.run import Run
from mimii_lib.run.stages import detection

RECORD = Path(__file__).with_suffix(".json")
SEED = 0
"""Of the split: only the start and the arithmetic change."""
FEW = 12
"""Training clips that hardly suffice for 80 components: 216 patches."""
STOCK = 256
"""Synthesised sounds of the machine and of the noise that the clips at full size are mixed from."""

Row = dict[str, Any]


def auc(run: Run, machine_id: str, extractor: str, detector: str, precision: str, start: int, n_clips: int) -> Row:
    """Return the AUC of a detector on a split, fitted on its first `n_clips` training clips, and what it rests on."""
    train, test = (run.recordings.split_clips(machine_id, SEED, role) for role in ("train", "test"))
    train = train.head(n_clips)
    settings = run.settings.detectors.model_copy(update={"precision": precision})
    rows, features = (clips.index.to_numpy() for clips in (train, test)), run.features(machine_id, extractor)
    area, anomalous = None, (test.label == "abnormal").to_numpy()
    with threadpool_limits(limits=1):  # one thread, as in a run
        inputs = detection.preprocess(features, *rows, settings, start)
        try:
            scores = detection.detector_scores(detector, inputs, len(test), settings, start)
            area = evaluation.auc(anomalous, evaluation.pool(scores, run.settings.evaluation))
        except MimiiError as error:
            print(error)
    return {
        "machine": run.machine,
        "id": machine_id,
        "extractor": extractor,
        "weights": run.stages.weights(extractor).sha256[:12],
        "detector": detector,
        "precision": precision,
        "start": start,
        "n_train": len(inputs.train),
        "n_normal": int((~anomalous).sum()),
        "n_abnormal": int(anomalous.sum()),
        "auc": area,
    }


def places(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, Run, str, list[int]]]:
    """Yield each place with its run, the machine ID and the numbers of training clips: 0 for all."""
    parameters: dict[str, Any] = {"extractors": options.extractors, "seeds": SEED, "cache": folder / "cache"}
    profile = folder / "precision.yaml"
    profile.write_text("weight_sources: [folder, package]\n")
    parameters |= {"profile": profile, "weights": options.weights if options.weights.is_dir() else None}
    if "miniature" in options.only:
        miniature.make_miniature(folder / "miniature", machines=("fan",))
        yield "miniature", Run("fan", data=folder / "miniature", **parameters), "id_00", [0]
    if "real recordings" in options.only and options.data.is_dir():
        yield "real recordings", Run("slider", data=options.data, **parameters), "id_00", [FEW, 0]
    if "full size" in options.only:
        make_full_size(folder / "full", stock=STOCK, machines=("fan",), ids=("id_04",))
        yield "full size", Run("fan", data=folder / "full", **parameters), "id_04", [0]


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Yield a row for each place, number of training clips, network, detector, arithmetic and start."""
    for place, run, machine_id, sizes in places(options, folder):
        for reason in run.stages.unavailable_extractors.values():
            print(reason)
        for size, extractor, detector in product(sizes, run.stages.extractors, options.detectors):
            starts = range(options.starts if detector in RANDOM else 1)
            n_clips = size or len(run.recordings.split_clips(machine_id, SEED, "train"))
            for precision in ARITHMETICS:
                rows = [auc(run, machine_id, extractor, detector, precision, start, n_clips) for start in starts]
                yield from ({"where": place} | row for row in rows)
                areas = [100 * row["auc"] for row in rows if row["auc"] is not None] or [np.nan]
                what = f"{place}, {n_clips} clips, {extractor}, {detector}, {precision}"
                print(f"{what}: {np.mean(areas):.2f} ± {np.std(areas):.2f}, {len(rows)} starts", flush=True)


def main() -> None:
    """Measure in a temporary folder, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["miniature", "real recordings", "full size"]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="places (default: all)")
    parser.add_argument("--extractors", nargs="+", choices=list(paper.EXTRACTORS), default=["squeezenet1_1"])
    parser.add_argument("--detectors", nargs="+", choices=list(paper.DETECTORS), default=list(paper.DETECTORS))
    parser.add_argument("--starts", type=int, default=10, help="starts of the random detectors (default 10)")
    parser.add_argument("--data", type=Path, default=SHARED / "real_mimii", help="folder of real recordings")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights", help="folder of weight files")
    parser.add_argument("--json", type=Path, default=RECORD, help="record to write (default: the committed one)")
    options = parser.parse_args()
    kept = json.loads(options.json.read_text()) if options.json.is_file() else []
    with tempfile.TemporaryDirectory() as folder:
        rows = list(measure(options, Path(folder)))
    measured = {(row["where"], row["extractor"], row["detector"]) for row in rows}
    rows += [row for row in kept if (row["where"], row["extractor"], row["detector"]) not in measured]
    with atomic_write(options.json) as part:
        part.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


if __name__ == "__main__":
    main()
