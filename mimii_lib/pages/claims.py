"""The paper's statements on its results, each counted as the paper counts and tested on a table of AUCs.

Two questions are kept apart. Is a statement true of the table as printed? That is counted. And would it be true on
other clips of the same machines? Some row of any table is first, so each statement is put as one or more contrasts
(:mod:`mimii_lib.pages.contrasts`): 0 where there is no effect, positive where the statement is right. Their p-values
are corrected for the number of statements, and the verdict follows from the sign and the p-value.
"""

import html
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib.resources import files
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from numpy.typing import NDArray
from scipy.stats import binomtest, chi2

from mimii_lib import paper
from mimii_lib.pages import open_points, run_box, tables
from mimii_lib.pages.contrasts import Contrast, TableEstimates, published, reproduced
from mimii_lib.run import Run
from mimii_lib.uncertainty import corrected

CLAIMS = pd.read_csv(str(files("mimii_lib.pages") / "claims.csv"), index_col="number")
"""The statements of §6, and of §7 (3b), about Table 1, by number.

Columns: what the paper says, in our words, the same in short, and how it is tested and counted.
"""

TRUE, IN_PART, FALSE = "yes", "in part", "no"
"""Whether a statement is true of a table as printed: all that is counted for it agrees, some of it, or nothing."""

HOLDS, DOES_NOT, INCONCLUSIVE = "holds", "does not hold", "inconclusive"
"""Outcome of the test of a statement."""

MARKS = {TRUE: "✓", IN_PART: "◐", FALSE: "✗", HOLDS: "✓", DOES_NOT: "✗", INCONCLUSIVE: "?"}
SURVIVES = {HOLDS: TRUE, INCONCLUSIVE: FALSE, DOES_NOT: "no, the opposite does"}
"""Whether a statement survives the sampling error of a table, by the outcome of its test."""

IMAGENET = pd.Series({"AlexNet": 56.5, "SqueezeNet": 58.1, "ResNet18": 69.8, "ResNet34": 73.3})
"""Top-1 accuracy on ImageNet in percent that torchvision documents for its weights (SqueezeNet 1.0; 1.1 has 58.2)."""

NETWORKS, RESNETS, OTHER_NETWORKS = list(IMAGENET.index), ["ResNet18", "ResNet34"], ["AlexNet", "SqueezeNet"]
BEST_DETECTORS, OTHER_DETECTORS = ["GMM", "OC-SVM"], ["B-GMM", "IF", "KDE"]
RESNET34_TYPES, OTHER_TYPES = ["slider", "valve"], ["fan", "pump"]


def verdicts(estimates: TableEstimates, level: float = 0.05) -> pd.DataFrame:
    """Count and test every statement on the paper's rows of a table.

    Rows by number: counted (what the paper counts, counted on this table), as_printed (`TRUE`, `IN_PART` or `FALSE`),
    value, low and high of the contrast in points, p (corrected for the number of statements), verdict, and survives
    (the test agrees with a statement that is true as printed, at least in part). NaN and inconclusive where the table
    lacks the rows or columns.
    """
    estimates = estimates.of_the_paper().without_gaps()
    outcomes, counts = statement_contrasts(estimates), statement_counts(estimates)
    outcomes["p"] = corrected(outcomes.p)
    outcomes["verdict"] = np.where(outcomes.p > level, INCONCLUSIVE, np.where(outcomes.value > 0, HOLDS, DOES_NOT))
    outcomes["counted"] = [CLAIMS.counted[number].format(*counts[number][1:]) for number in outcomes.index]
    outcomes["as_printed"] = [_as_printed(counts[number][0]) for number in outcomes.index]
    outcomes["survives"] = (outcomes.verdict == HOLDS) & (outcomes.as_printed != FALSE)
    outcomes = outcomes.reindex(CLAIMS.index).fillna({"verdict": INCONCLUSIVE, "survives": False})
    return outcomes.astype({"survives": bool})


def verdicts_of(runs: Sequence[Run]) -> pd.DataFrame | None:
    """Return the verdicts on the results of runs; None if their recordings are not MIMII's."""
    if not run_box.comparable(runs):
        return None
    units = [(run, machine_id) for run in runs for machine_id in run.recordings.evaluable]
    ours = reproduced({(run.machine, machine_id): run.results.estimates(machine_id) for run, machine_id in units})
    return verdicts(replace(ours, reduced=tuple(map(reproduced, open_points.reduced(runs)))))


def _as_printed(parts: Sequence[bool]) -> str:
    return TRUE if all(parts) else IN_PART if any(parts) else FALSE


def statement_contrasts(estimates: TableEstimates) -> pd.DataFrame:
    """Return the contrast, p not corrected, of each statement whose rows and columns a table without gaps has."""
    mean = estimates.weights

    def positive(*weights: NDArray[np.float64]) -> Contrast:
        return decisive(map(estimates.contrast, weights))

    rest = ["ResNet18", *OTHER_NETWORKS]
    lead = mean(features=["ResNet34"], machine=RESNET34_TYPES) - mean(features=rest, machine=RESNET34_TYPES)
    other_lead = mean(features=["ResNet34"], machine=OTHER_TYPES) - mean(features=rest, machine=OTHER_TYPES)
    accuracy = IMAGENET[IMAGENET.index.isin(estimates.table.index.unique("features"))]
    slope = (accuracy - accuracy.mean()) / ((accuracy - accuracy.mean()) ** 2).sum()
    best = [mean(features=RESNETS, detector=[detector]) for detector in BEST_DETECTORS]
    others = [row for row in paper.table_1().index if row[0] not in RESNETS or row[1] not in BEST_DETECTORS]
    other_means = [mean(features=[features], detector=[detector]) for features, detector in others]
    contrasts = {
        "1a": _autoencoder_share(estimates.table),
        "1b": positive(mean(detector=["LeNet-DCAE"]) - mean(detector=["Small-DCAE"])),
        "1c": positive(mean(features=NETWORKS) - mean(features=[paper.NO_FEATURES])),
        "2a": _resnet_lead(estimates),
        "2b": positive(*(mean(features=[name]) - mean(features=["SqueezeNet"]) for name in ["AlexNet", *RESNETS])),
        "2c": positive(lead - other_lead),
        "2d": positive(sum((slope[name] * mean(features=[name]) for name in slope.index), 0 * mean(features=NETWORKS))),
        "2e": decisive(map(_resnet_lead, estimates.reduced)),
        "3a": positive(mean(detector=BEST_DETECTORS) - mean(detector=OTHER_DETECTORS)),
        "3b": positive(*(group - row for group, row in product(best, other_means))),
        "3c": positive(mean(detector=["GMM"]) - mean(detector=["B-GMM"])),
        "4a": _spread(estimates, ["machine"]),
        "4b": _spread(estimates, ["machine", "id"]),
        "4c": positive(mean(machine=["fan"], id=["id_06"]) - mean(machine=["fan"], id=["id_04"])),
        "4d": positive(mean(machine=["fan", "pump", "slider"]) - mean(machine=["valve"])),
    }
    return pd.DataFrame.from_dict(contrasts, orient="index", columns=Contrast._fields).dropna(subset="p")


def statement_counts(estimates: TableEstimates) -> dict[str, tuple[Any, ...]]:
    """Return which counts of each statement agree with it, and the numbers that `CLAIMS.counted` names.

    The table must have no gaps. An entry is meaningless where the table lacks rows or columns.
    """
    table, n_columns = estimates.table, estimates.table.shape[1]
    features, detector = (table.index.get_level_values(level) for level in ("features", "detector"))
    network, best, first = features != paper.NO_FEATURES, detector.isin(BEST_DETECTORS), table.eq(table.max())
    ahead = table.columns[table[~network].max() > table[network].max()]
    named = ", ".join(map(" ".join, ahead)) or "–"
    gains = np.sign((table[detector == "LeNet-DCAE"].to_numpy() - table[detector == "Small-DCAE"].to_numpy()).round(1))
    wins, losses, ties = (int((gains == sign).sum()) for sign in (1, -1, 0))
    better = table[network].gt(table[~network].max()).mean(axis=None)
    firsts = first.groupby("features", sort=False).any().sum(axis=1).rename({paper.NO_FEATURES: "auto-encoders"})
    resnet34 = first[features == "ResNet34"].any()
    there = resnet34[resnet34.index.isin(RESNET34_TYPES, level="machine")].sum()
    networks = table[network].mean(axis=1).groupby("features", sort=False).mean()
    rising = networks[IMAGENET.index.intersection(networks.index, sort=False)]
    leads = [lead.value for lead in map(_resnet_lead, estimates.reduced)]
    won, means = first[best].any().sum(), table.mean(axis=1)
    ranks = means.rank(ascending=False)[features.isin(RESNETS) & best]
    leading = (ranks <= len(ranks)).groupby("detector").all()
    gain = means[detector == "GMM"].droplevel("detector") - means[detector == "B-GMM"].droplevel("detector")
    types, top = table.mean().groupby("machine", sort=False), table.max().groupby("machine", sort=False).max()
    fan = table.T[table.columns.get_level_values("machine") == "fan"].droplevel("machine").T
    fan_best = fan.max().reindex(["id_04", "id_06"])
    fan_gain, fan_percent = fan_best.diff().iloc[1], 100 * fan_best.pct_change().iloc[1]
    quoted = np.isclose(fan.max(), fan.mean(), atol=0.05).all(), 30 in np.round([fan_gain, fan_percent])
    of_networks = firsts[firsts.index != "auto-encoders"]
    reliable = (of_networks.idxmin() == "SqueezeNet", networks.idxmin() == "SqueezeNet")
    return {
        "1a": ([len(ahead) <= 1], len(ahead), n_columns, named, (~network).mean() * n_columns),
        "1b": ([wins > gains.size / 2], wins, losses, ties),
        "1c": ([better > 0.5], 100 * better),
        "2a": ([2 * firsts[firsts.index.isin(RESNETS)].sum() > firsts.sum()], _listed(firsts, "")),
        "2b": (reliable, _listed(of_networks, ""), _listed(networks)),
        "2c": ([there > resnet34.sum() / 2], there, resnet34.sum()),
        "2d": ([rising.is_monotonic_increasing], _listed(rising.rename(lambda name: f"{name} ({IMAGENET[name]} %)"))),
        "2e": ([lead > 0 for lead in leads], ", ".join(map(tables.signed, leads))),
        "3a": ([won > n_columns / 2], won, n_columns),
        "3b": (leading, _listed(ranks.set_axis(ranks.index.map(" ".join)), ".0f")),
        "3c": (gain > 0, _listed(gain, "+.1f")),
        "4a": ([np.ptp(types.mean()) > 0], _listed(types.mean())),
        "4b": ([(types.max() > types.min()).any()], _listed(types.max() - types.min())),
        "4c": (quoted, _listed(fan.max()), _listed(fan.mean()), fan_gain, fan_percent),
        "4d": ([top.get("valve", np.nan) < top.drop("valve", errors="ignore").min()], _listed(top)),
    }


def _listed(values: "pd.Series[float]", form: str = ".1f") -> str:
    return ", ".join(f"{name} {format(value, form).replace('-', '−')}" for name, value in values.items())


def decisive(contrasts: Iterable[Contrast]) -> Contrast:
    """Return the contrast that decides a statement which requires all of them to be positive; NaN is left out.

    If all are positive the largest p-value decides; otherwise the most significant negative one, Bonferroni-corrected.
    """
    ordered = sorted((contrast for contrast in contrasts if contrast.p >= 0), key=lambda contrast: contrast.p)
    negative = [contrast for contrast in ordered if contrast.value <= 0]
    if negative:
        return negative[0]._replace(p=min(1.0, len(ordered) * negative[0].p))
    return ordered[-1] if ordered else Contrast()


def _resnet_lead(estimates: TableEstimates) -> Contrast:
    estimates = estimates.of_the_paper().without_gaps()
    return estimates.contrast(estimates.weights(features=RESNETS) - estimates.weights(features=OTHER_NETWORKS))


def _autoencoder_share(table: pd.DataFrame) -> Contrast:
    """Test how far the auto-encoders' share of first places is below that of as many equal rows (binomial)."""
    network = table.index.get_level_values("features") != paper.NO_FEATURES
    if network.all() or not network.any():
        return Contrast()
    first, expected = table[~network].max() > table[network].max(), float((~network).mean())
    test = binomtest(int(first.sum()), len(first), expected)
    low, high = test.proportion_ci()
    return Contrast._make([*(100 * (expected - share) for share in (first.mean(), high, low)), test.pvalue])


def _spread(estimates: TableEstimates, levels: list[str]) -> Contrast:
    """Test with Cochran's Q whether means differ: those of machine types, or of the machine IDs within each type."""
    means = estimates.table.mean().groupby(levels, sort=False)
    variances = pd.DataFrame(estimates.covariances.mean(axis=(2, 3)).T, estimates.table.columns)
    values, weights = means.mean(), means.size() ** 2 / variances.groupby(levels, sort=False).sum().max(axis=1)
    groups = values.index.get_level_values("machine") if "id" in levels else np.zeros(len(values))
    freedom = len(values) - len(set(groups))
    if freedom < 1:
        return Contrast()
    centres = (weights * values).groupby(groups).transform("sum") / weights.groupby(groups).transform("sum")
    q = (weights * (values - centres) ** 2).sum()
    return Contrast(values.groupby(groups).agg(np.ptp).max(), p=float(chi2.sf(q, freedom)))


def place_counts(estimates: TableEstimates, level: str) -> pd.DataFrame:
    """Count first and second places of features or detectors as the paper does, and the ties it does not mention.

    Columns: first, second, and shared, the number of these places that are shared with another row. AUCs are rounded to
    one decimal, as Table 1 is printed, and the two auto-encoders count as one.
    """
    table = estimates.without_gaps().table.round(1)
    network = table.index.get_level_values("features") != paper.NO_FEATURES
    names = table.index.get_level_values(level).where(network, "auto-encoders").rename(level)
    ranks = table.rank(ascending=False, method="min")
    tied = ranks.apply(lambda column: column.duplicated(keep=False))
    places = {"first": ranks == 1, "second": ranks == 2, "shared": tied & (ranks <= 2)}
    counted = pd.DataFrame({name: place.sum(axis=1).to_numpy() for name, place in places.items()})
    return counted.groupby(names, sort=False).sum().sort_values(["first", "second"], ascending=False)


def place_table(level: str) -> pd.DataFrame:
    """Return the first and second places of the published Table 1 beside those that the paper's text counts."""
    text = pd.DataFrame.from_dict(paper.RANKINGS[level], orient="index", columns=["first", "second"])
    return pd.concat({"in the text": text, "in its table": place_counts(published(), level)}, axis=1).rename_axis(level)


def summary(outcomes: pd.DataFrame) -> str:
    """State in a sentence which statements survive, which do not, which are not true as printed, and which are open."""
    untested, false = outcomes.value.isna(), outcomes.as_printed == FALSE
    groups = {
        "{} of the statements survive": outcomes.survives,
        "{} do not survive": ~outcomes.survives & ~false & ~untested,
        "not true as printed: {}": false,
        "not tested: {}": untested & ~false,
    }
    parts = []
    for text, chosen in groups.items():
        if chosen.any():
            names = ", ".join(f"{CLAIMS.in_short[number]} ({number})" for number in outcomes.index[chosen])
            number = int(chosen.sum())
            parts.append(text.format(names) if text.endswith("{}") else f"{text.format(number)}: {names}")
    return "; ".join(parts) + "."


def verdict_table(
    in_paper: pd.DataFrame, in_ours: pd.DataFrame | None = None, scope: str = "", seeds: str = ""
) -> HTML:
    """Show count, test, tolerance and verdict of each statement on the paper's table, and on ours where there is one.

    `scope` limits our verdicts, such as "on a sample"; `seeds` are ours.
    """
    heads = ["the paper says", "counted in its table", "measured in its table", "tolerance", "survives?"]
    caption, rows = "The paper’s statements; seeds: the paper’s five", []
    for number, claim in CLAIMS.map(html.escape).iterrows():
        outcome = in_paper.loc[number]
        rows.append([f"{number} {claim.says}", _count_text(outcome), _value_text(outcome, claim.tested_as)])
        rows[-1] += [_tolerance_text(outcome), _survival_text(outcome)]
        if in_ours is not None:
            ours = in_ours.loc[number]
            parts = [_marked(ours.verdict, scope), _count_text(ours, ""), _value_text(ours), _tolerance_text(ours)]
            rows[-1].append("<br>".join(parts))
    caption += f", ours {html.escape(seeds)}" * (in_ours is not None)
    return tables.word_table(caption, heads + ["in our results"] * (in_ours is not None), rows)


def _marked(answer: str, more: str = "") -> str:
    return f'<strong class="verdict">{f"{MARKS.get(answer, MARKS[FALSE])} {answer} {more}".strip()}</strong>'


def _count_text(outcome: "pd.Series[Any]", answer: str | None = None) -> str:
    if not isinstance(outcome.as_printed, str):
        return "– cannot be counted: the table lacks the numbers"
    answer = f"{_marked(outcome.as_printed)}<br>" if answer is None else answer
    return f"{answer}{html.escape(outcome.counted)}"


def _survival_text(outcome: "pd.Series[Any]") -> str:
    if np.isnan(outcome.value):
        return "– cannot be tested"
    return "– not true as printed" if outcome.as_printed == FALSE else _marked(SURVIVES[outcome.verdict])


def _value_text(outcome: "pd.Series[Any]", tested_as: str = "") -> str:
    return "–" if np.isnan(outcome.value) else f"{tested_as}: {tables.signed(outcome.value)} points".removeprefix(": ")


def _tolerance_text(outcome: "pd.Series[Any]") -> str:
    if np.isnan(outcome.value):
        return "–"
    low, high = map(tables.signed, outcome[["low", "high"]].fillna(0))
    interval = "no interval" if np.isnan(outcome.low) else f"{low} to {high} points"
    return f"{interval}; p {'&lt; 0.001' if outcome.p < 0.001 else f'= {outcome.p:.3f}'}"
