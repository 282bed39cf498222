"""Measure what the arithmetic of the detectors changes: float64, the default, against float32 (open point 26).

    python benchmarks/precision.py [--only "real recordings"] [--starts 0 1 2] [--folder FOLDER]

Each AUC is that of one detector on one split, in one arithmetic, from one random start; all else is the same. The
places: the miniature, real recordings of a slider with 12 and with all training clips, and two fans of MIMII's size
(`full_size.py`), one whose fault these systems detect and one at chance level. The record is a list of rows; `auc` is
null where float32 leaves a mixture without variance. What is not measured keeps the row that it has in the record.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from full_size import make_full_size
from proof import ARITHMETICS, RANDOM, SHARED, STARTS
from threadpoolctl import threadpool_limits

from mimii_lib import evaluation, paper
from mimii_lib.data import miniature
from mimii_lib.data.files import atomic_write
from mimii_lib.dataset import MARKER
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

KEY = ("where", "id", "extractor", "n_train", "detector", "start", "precision")
"""What a row is known by."""

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
    folder.mkdir(parents=True, exist_ok=True)
    profile = folder / "precision.yaml"
    profile.write_text("weight_sources: [folder, package]\n")
    parameters |= {"profile": profile, "weights": options.weights if options.weights.is_dir() else None}
    if "miniature" in options.only:
        miniature.make_miniature(folder / "miniature", machines=("fan",))
        yield "miniature", Run("fan", data=folder / "miniature", **parameters), "id_00", [0]
    if "real recordings" in options.only and options.data.is_dir():
        yield "real recordings", Run("slider", data=options.data, **parameters), "id_00", [FEW, 0]
    for machine_id in options.ids if "full size" in options.only else ():
        tree = folder / machine_id
        if not (tree / MARKER).is_file():
            make_full_size(tree, stock=STOCK, machines=("fan",), ids=(machine_id,))
        yield "full size", Run("fan", data=tree, ids=machine_id, **parameters), machine_id, [0]


def measure(options: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Yield a row for each place, number of training clips, network, detector, arithmetic and start."""
    for place, run, machine_id, sizes in places(options, folder):
        for reason in run.stages.unavailable_extractors.values():
            print(reason)
        for size, extractor, detector in product(sizes, run.stages.extractors, options.detectors):
            starts = options.starts if detector in RANDOM else [0]
            n_clips = size or len(run.recordings.split_clips(machine_id, SEED, "train"))
            for start, precision in product(starts, ARITHMETICS):
                row = auc(run, machine_id, extractor, detector, precision, start, n_clips)
                print(f"{place}, {n_clips} clips, {extractor}, {detector}, start {start}, {precision}: {row['auc']}")
                yield {"where": place} | row


def main() -> None:
    """Measure in a temporary folder, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["miniature", "real recordings", "full size"]
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="places (default: all)")
    parser.add_argument("--extractors", nargs="+", choices=list(paper.EXTRACTORS), default=["squeezenet1_1"])
    parser.add_argument("--detectors", nargs="+", choices=list(paper.DETECTORS), default=list(paper.DETECTORS))
    parser.add_argument("--ids", nargs="+", choices=paper.IDS, default=["id_00", "id_04"], help="fans of full size")
    parser.add_argument("--starts", nargs="+", type=int, default=list(STARTS), help="of random detectors (0 to 9)")
    parser.add_argument("--data", type=Path, default=SHARED / "real_mimii", help="folder of real recordings")
    parser.add_argument("--weights", type=Path, default=SHARED / "weights", help="folder of weight files")
    parser.add_argument("--json", type=Path, default=RECORD, help="record to add to (default: the committed one)")
    parser.add_argument("--folder", type=Path, help="where recordings and features stay (default: nowhere)")
    options = parser.parse_args()
    kept = json.loads(options.json.read_text()) if options.json.is_file() else []
    rows = {tuple(row[name] for name in KEY): row for row in kept}
    with tempfile.TemporaryDirectory() as temporary:
        for row in measure(options, options.folder or Path(temporary)):
            rows[tuple(row[name] for name in KEY)] = row
            ordered = sorted(rows.values(), key=lambda row: names.index(row["where"]))
            with atomic_write(options.json) as part:  # after each row: an interrupted measurement keeps what it has
                part.write_text("[\n" + ",\n".join(map(json.dumps, ordered)) + "\n]\n")


if __name__ == "__main__":
    main()
