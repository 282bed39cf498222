"""Set the severities of the miniature's faults by their level alone, without any detector.

    python benchmarks/miniature_severity.py [--json FILE]

Of each machine type, the machine ID whose fault is loudest at severity 1 gets the highest step of `STEPS`, the next one
the next step. The severities of its clips are those at which :func:`mimii_lib.data.fault_level.fault_level` is `SPREAD`
below and above that step, found by bisection. `FAULTS` of `mimii_lib.data.synthesis` holds them.
"""

import argparse
import json
from pathlib import Path

from scipy.optimize import bisect
from tqdm import tqdm

from mimii_lib import paper
from mimii_lib.data.fault_level import fault_level
from mimii_lib.data.files import atomic_write
from mimii_lib.data.synthesis import FAULTS

STEPS = (3.0, -1.0, -5.0, -9.0)  # dB
SPREAD = 1.5  # dB
DRAWS = 8
RECORD = Path(__file__).with_suffix(".json")


def dealt(reach: dict[str, float]) -> dict[str, float]:
    """Return the step of each machine ID of a type from the level, in dB, that its fault has at severity 1."""
    return dict(zip(sorted(reach, key=reach.__getitem__, reverse=True), STEPS, strict=True))


def severity_at(level: float, machine: str, machine_id: str) -> float:
    """Return the severity, to three digits, at which a fault has this level in dB."""

    def excess(exponent: float) -> float:
        return fault_level(machine, machine_id, 10**exponent, draws=DRAWS) - level

    return float(f"{10 ** bisect(excess, -2, 0, xtol=0.004):.3g}")


def main() -> None:
    """Print the severity and the level of every fault, and write them down if asked to."""
    parser = argparse.ArgumentParser(description="Severities of the miniature's faults, by level alone")
    parser.add_argument("--json", type=Path, help="file of the record")
    options = parser.parse_args()
    rows = []
    for machine in tqdm(paper.MACHINES, leave=False, disable=None):
        reach = {name: fault_level(machine, name, 1, draws=DRAWS) for name in paper.IDS}
        steps = dealt(reach)
        for name in paper.IDS:
            severity = [severity_at(steps[name] + spread, machine, name) for spread in (-SPREAD, SPREAD)]
            row = {
                "machine": machine,
                "id": name,
                "shares": FAULTS[machine, name].shares,
                "reach": round(reach[name], 2),
                "step": steps[name],
                "severity": severity,
                "level": [round(fault_level(machine, name, value, draws=DRAWS), 2) for value in severity],
            }
            rows.append(row)
            print(json.dumps(row), flush=True)
    if options.json:
        record = {"steps": STEPS, "spread": SPREAD, "draws": DRAWS, "snr": -6}
        with atomic_write(options.json) as file:
            file.write_text(json.dumps(record | {"faults": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
