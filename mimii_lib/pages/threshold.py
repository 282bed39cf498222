"""An interactive figure: from anomaly scores to alarms, with a threshold to move and the pooling to switch.

It is drawn here, and ``book/_static/threshold.js`` moves the threshold; without it the figure stands still and
its controls stay hidden. A clip raises an alarm if its score is above the threshold, which has `STEPS` + 1 positions.
"""

import html
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from IPython.display import HTML
from matplotlib.ticker import MaxNLocator
from sklearn.metrics import roc_curve

from mimii_lib import evaluation
from mimii_lib.pages import explanations, tables
from mimii_lib.run import Run

STEPS = 200
MOST_FALSE_ALARMS = 0.1
"""Share of the normal test clips that may raise an alarm at the start: a choice that needs no abnormal clip."""
POOLINGS = ("mean", "max")
WIDTH, ROW, SIDE = 332.0, 62.0, 150.0
"""Width of the axis of the scores, height of a row of clips, and side of the ROC curve's square, in SVG units."""
MARK = 4.0  # width of the columns that marks are stacked in


def figure(run: Run, machine_id: str | None = None, system: evaluation.System | None = None) -> HTML:
    """Show the threshold of a system, in its first seed, on the test clips of a machine ID.

    Without a system: the isolation forest with the highest mean AUC, since its scores lie between 0 and 1, where those
    of other detectors span powers of ten; without a forest the best system. Without an ID: that of the AUC closest to
    85 %, where a threshold has both kinds of errors.
    """
    aucs = run.auc()
    forests = aucs[aucs.detector == "if"]
    system = system or explanations.best_system(aucs if forests.empty else forests)
    seed = run.results.seeds(system[1])[0]
    areas = run.auc([system], [seed]).set_index("id").auc
    machine_id = machine_id or str((areas - 0.85).abs().idxmin())
    clips = {pooling: run.clip_scores(machine_id, *system, seed, pooling=pooling) for pooling in POOLINGS}
    return drawn(f"{run.machine} {machine_id}, {tables.name_of(system)}, seed {seed}", clips)


def positions(clips: evaluation.ClipScores) -> dict[str, Any]:
    """Return the scores by label, ascending, and the positions of a threshold over them.

    Position i is the threshold ``low + i * step``: the first is below every score, the last above every score, and
    ``start`` the lowest with at most `MOST_FALSE_ALARMS` of the normal clips. With ``auc`` in percent, and the
    ``digits`` after the point that a threshold is shown with.
    """
    span, auc = float(np.ptp(clips.scores)) or 1.0, evaluation.auc(clips.anomalous, clips.scores)
    facts: dict[str, Any] = {"low": float(clips.scores.min()) - 0.02 * span, "step": 1.04 * span / STEPS}
    facts |= {"auc": f"{100 * auc:.1f}", "digits": max(0, 2 - int(np.floor(np.log10(span))))}
    groups = {"normal": ~clips.anomalous, "abnormal": clips.anomalous}
    facts |= {label: sorted(map(float, clips.scores[group])) for label, group in groups.items()}
    allowed = MOST_FALSE_ALARMS * len(facts["normal"])
    return facts | {"start": next(i for i in range(STEPS + 1) if errors(facts, i)[0] <= allowed)}


def errors(facts: Mapping[str, Any], position: int) -> tuple[int, int]:
    """Return the number of false alarms and that of missed abnormal clips at a position."""
    threshold = facts["low"] + position * facts["step"]
    return sum(score > threshold for score in facts["normal"]), sum(score <= threshold for score in facts["abnormal"])


def drawn(title: str, clips: Mapping[str, evaluation.ClipScores]) -> HTML:
    """Return the figure for the scores of the same clips by pooling; the first pooling is shown at the start."""
    poolings, title = {pooling: positions(scores) for pooling, scores in clips.items()}, html.escape(title)
    (pooling, facts), *_ = poolings.items()
    data = json.dumps({"steps": STEPS, "width": WIDTH, "side": SIDE, "poolings": poolings})
    button = '<label><input type="radio" name="pooling" value="{0}" autocomplete="off"> {0}</label> '.format
    buttons = "".join(map(button, poolings)).replace("<input", "<input checked", 1)
    return HTML(f"""<figure class="threshold"><div class="panels"><div>{_score_panel(title, poolings)}
<label class="controls" hidden>Threshold <input type="range" max="{STEPS}" value="{facts["start"]}" autocomplete="off">
</label></div>{_roc_panel(title, poolings)}</div>
<fieldset class="controls" hidden><legend>Pooling</legend> {buttons}of the patch scores</fieldset>
<p role="status" aria-atomic="true">{_sentence(pooling, facts)}</p><script type="application/json">{data}</script>
<figcaption>{title}. A mark is a test clip; those right of the line raise an alarm. The threshold starts where at most
{MOST_FALSE_ALARMS:.0%} of the normal clips raise one. It is set on the normal test clips here,
so its false-alarm rate is optimistic; on a machine of your own, set it on normal clips that neither train nor test.
</figcaption>
</figure>""")


def _sentence(pooling: str, facts: Mapping[str, Any]) -> str:
    alarms, misses = errors(facts, facts["start"])
    threshold = f"{facts['low'] + facts['start'] * facts['step']:.{facts['digits']}f}".replace("-", "−")
    values = {"pooling": pooling, "threshold": threshold, "alarms": alarms, "misses": misses, "auc": facts["auc"]}
    return (
        "Threshold {threshold} on the {pooling} of the patch scores: {alarms} of {n_normal} normal clips are false "
        "alarms, and {misses} of {n_abnormal} abnormal clips are missed. Over all thresholds the AUC is {auc}&nbsp;%."
    ).format(
        **{name: f'<strong data-value="{name}">{value}</strong>' for name, value in values.items()},
        n_normal=len(facts["normal"]),
        n_abnormal=len(facts["abnormal"]),
    )


def _layers(poolings: Mapping[str, Any], draw: Any) -> str:
    """Return a drawing for each pooling, of which only the first is displayed."""
    drawings = "".join(f'<g data-pooling="{name}" display="none">{draw(facts)}</g>' for name, facts in poolings.items())
    return drawings.replace(' display="none"', "", 1)


def _marks(facts: Mapping[str, Any]) -> str:
    """Return the clips over the axis of their scores, abnormal clips in the upper row, and the ticks of the axis."""
    low, span, content = facts["low"], STEPS * facts["step"], ""
    for row, label in enumerate(("abnormal", "normal")):
        places, stacked = [(score - low) / span * WIDTH for score in facts[label]], Counter[int]()
        spacing = min(1.6 * MARK, (ROW - 22) / max(Counter(int(x / MARK) for x in places).values()))
        for x in places:
            y = (row + 1) * ROW - 5 - spacing * stacked[int(x / MARK)]
            stacked[int(x / MARK)] += 1
            cross = f'<path class="abnormal" d="M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6"/>'
            content += f'<circle class="normal" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' if row else cross
    for tick in filter(lambda tick: low <= tick <= low + span, MaxNLocator(4).tick_values(low, low + span)):
        text = f'<text y="{2 * ROW + 16}">{tick:.6g}</text>'.replace(">-", ">−")
        content += f'<g transform="translate({(tick - low) / span * WIDTH:.1f} 0)"><path d="M0 {2 * ROW}v4"/>{text}</g>'
    return content


def _score_panel(title: str, poolings: Mapping[str, Any]) -> str:
    start = next(iter(poolings.values()))["start"]
    return f"""<svg class="drawing" role="img" viewBox="-14 0 {WIDTH + 28} {2 * ROW + 38}"
aria-label="Anomaly scores of {title}: a row of abnormal and a row of normal test clips, and the threshold">
<g data-moves="threshold" transform="translate({start * WIDTH / STEPS} 0)"><rect width="{WIDTH}" height="{2 * ROW}"/>
<path d="M0 0v{2 * ROW}"/></g><path d="M0 {ROW}h{WIDTH}M0 {2 * ROW}h{WIDTH}"/>{_layers(poolings, _marks)}
<text class="head" y="12">× abnormal clips</text><text class="head" y="{ROW + 12}">● normal clips</text>
<text x="{WIDTH / 2}" y="{2 * ROW + 33}">anomaly score of a clip; right of the line: alarm →</text></svg>"""


def _curve(facts: Mapping[str, Any]) -> str:
    labels = [False] * len(facts["normal"]) + [True] * len(facts["abnormal"])
    false_alarms, detected, _ = roc_curve(labels, facts["normal"] + facts["abnormal"])
    points = map("{:.1f} {:.1f}".format, SIDE * false_alarms, SIDE * (1 - detected))
    return f'<path class="curve" d="M{"L".join(points)}"/>'


def _roc_panel(title: str, poolings: Mapping[str, Any]) -> str:
    facts = next(iter(poolings.values()))
    alarms, misses = errors(facts, facts["start"])
    tick = '<text x="{0}" y="{1}">{2}</text><text class="left" x="-6" y="{3}">{2}</text>'.format
    ticks = "".join(tick(SIDE * part / 100, SIDE + 16, part, SIDE * (1 - part / 100) + 4) for part in (0, 50, 100))
    return f"""<svg class="drawing roc" role="img" viewBox="-58 -8 {SIDE + 72} {SIDE + 46}"
aria-label="The ROC curve of {title}, and the point of the threshold on it"><path d="M0 0v{SIDE}h{SIDE}"/>
<path class="chance" d="M0 {SIDE}L{SIDE} 0"/>{_layers(poolings, _curve)}{ticks}<circle data-moves="point" r="5"
cx="{SIDE * alarms / len(facts["normal"])}" cy="{SIDE * misses / len(facts["abnormal"])}"/>
<text x="{SIDE / 2}" y="{SIDE + 33}">false alarms (%)</text>
<text transform="translate(-38 {SIDE / 2}) rotate(-90)">abnormal detected (%)</text></svg>"""
