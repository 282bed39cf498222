"""Simulate whether the intervals cover what they promise: ``python benchmarks/intervals.py [--simulations 2000]``.

A machine ID with 1,000 normal and 89 to 150 abnormal clips is drawn from two normal distributions whose AUC is known.
Each of five seeds tests 150 of the normal clips and all abnormal ones. A clip's score is the sum of a part of its own,
the same for every seed, and a part that each seed draws anew, as another training set and start of a detector do. The
script prints the share of simulations whose 95 % interval holds the known AUC, beside that of an interval which treats
the seeds as independent.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from mimii_lib.evaluation import ClipScores
from mimii_lib.uncertainty import Z, bootstrap_aucs, weighted_aucs

NORMAL, TESTED, SEEDS = 1000, 150, 5
SYSTEM = (None, "simulated")
OWN = 0.8
"""Share of a score's variance that is the clip's own."""


def simulated(area: float, abnormal: int, random: np.random.Generator, seeds: int = SEEDS) -> list[ClipScores]:
    """Return the tested clips of one machine ID, whose expected AUC is `area`."""
    truth = np.arange(NORMAL + abnormal) >= NORMAL
    own = np.sqrt(OWN) * random.standard_normal(len(truth)) + np.sqrt(2) * norm.ppf(area) * truth
    names = np.char.add("clip ", np.arange(len(truth)).astype(str))
    tested = []
    for _ in range(seeds):
        kept = np.concatenate([random.choice(NORMAL, TESTED, replace=False), np.arange(NORMAL, len(truth))])
        scores = own[kept] + np.sqrt(1 - OWN) * random.standard_normal(len(kept))
        tested.append(ClipScores("simulated", SYSTEM, names[kept], truth[kept], scores))
    return tested


def covered(area: float, abnormal: int, simulations: int, draws: int, seed: int = 0) -> Iterator[tuple[bool, bool]]:
    """Yield for each simulation whether the interval holds the known AUC, and whether a naive one does."""
    random = np.random.default_rng(seed)
    for number in range(simulations):
        tested = simulated(area, abnormal, random)
        estimates = bootstrap_aucs(tested, draws=draws, seed=number)
        aucs = [weighted_aucs(clips.anomalous, clips.scores, np.ones((len(clips.scores), 1))) for clips in tested]
        naive = Z * np.std(aucs, ddof=1) / np.sqrt(SEEDS)
        yield area in estimates.interval(SYSTEM), bool(abs(np.mean(aucs) - area) <= naive)


def main() -> None:
    """Print the coverage over AUCs and numbers of abnormal clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=500)
    options = parser.parse_args()
    print("AUC   abnormal  covered  seeds treated as independent")
    for area in (0.55, 0.65, 0.75, 0.85, 0.95):
        for abnormal in (89, 120, 150):
            ours, naive = np.mean(list(covered(area, abnormal, options.simulations, options.draws)), axis=0)
            print(f"{area:.2f}  {abnormal:8d}  {ours:7.1%}  {naive:7.1%}", flush=True)


if __name__ == "__main__":
    main()
