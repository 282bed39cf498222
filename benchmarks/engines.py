"""Compare the engines OpenVINO and torch on one machine, in float32: features and AUCs of the same recordings.

    python benchmarks/engines.py [--machines fan] [--ids id_02] [--extractors squeezenet1_1] [--json FILE]

On the miniature, and on real recordings of a slider where there are any. All else is the same: weights, split and seed.
The page of the book that reports on a run shows the record.
"""

import argparse
import json
import os
from collections.abc import Iterator
from datetime import date
from itertools import product
from pathlib import Path
from typing import Any

from proof import ENGINES, SHARED, relative_errors

from mimii_lib import paper
from mimii_lib.data.files import atomic_write
from mimii_lib.run import Run, provenance

RECORD = Path(__file__).with_suffix(".json")
SEED = 0

Row = dict[str, Any]


def compare(run: Run, recordings: str) -> Iterator[Row]:
    """Yield for every machine ID, network and detector the AUCs in percent by engine, and how far features differ.

    `features` is the largest relative difference of a patch's features: ‖torch − openvino‖ / ‖openvino‖.
    """
    runs = {name: run.with_overrides(settings={"features.engine": name}) for name in ENGINES}
    systems = list(product(run.stages.extractors, paper.DETECTORS))
    keys = ["id", "extractor", "detector"]
    aucs = {name: 100 * one.auc(systems, [SEED]).set_index(keys).auc for name, one in runs.items()}
    for machine_id, extractor in product(run.ids, run.stages.extractors):
        features = {name: one.features(machine_id, extractor) for name, one in runs.items()}
        difference = float(relative_errors(features["torch"], features["openvino"]).max())
        for detector in paper.DETECTORS:
            row = {"recordings": recordings, "machine": run.machine, "id": machine_id, "extractor": extractor}
            row |= {"detector": detector, "features": difference}
            yield row | {name: float(of_engine[machine_id, extractor, detector]) for name, of_engine in aucs.items()}


def main() -> None:
    """Compare, and write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", nargs="+", choices=paper.MACHINES, default=list(paper.MACHINES))
    parser.add_argument("--extractors", nargs="+", default=["squeezenet1_1"])
    parser.add_argument("--ids", nargs="+", default=["id_02"], help="machine IDs of the miniature")
    parser.add_argument("--data", type=Path, default=SHARED / "real_mimii", help="folder of real recordings")
    parser.add_argument("--json", type=Path, default=RECORD, help="the record (default: the committed one)")
    options = parser.parse_args()
    parameters = {"profile": "miniature", "extractors": options.extractors, "seeds": SEED}
    places = [("miniature", Run(machine, ids=options.ids, **parameters)) for machine in options.machines]
    if (options.data / "-6_dB_slider").is_dir():
        places.append(("real recordings", Run("slider", data=options.data, ids="id_00", **parameters)))
    engines = [places[0][1].with_overrides(settings={"features.engine": name}).stages.engine for name in ENGINES]
    machine = {"processor": provenance.processor(), "cores": os.cpu_count()}
    record = {"date": f"{date.today()}", "machine": machine, **provenance.describe(), "engines": [*map(str, engines)]}
    record["rows"] = []
    for recordings, run in places:
        record["rows"] += compare(run, recordings)
        print(f"{recordings}, {run.machine}: compared", flush=True)
        with atomic_write(options.json) as file:  # after each place: an interrupted comparison keeps what it has
            file.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
