"""What a reader of a page is told of the runs that its numbers rest on."""

from collections.abc import Mapping, Sequence
from html import escape

from mimii_lib.run import Run, provenance

KINDS = {
    "miniature": "the miniature, synthesised by this project: its numbers say nothing about MIMII",
    "MIMII": "MIMII (Hitachi, CC BY-SA 4.0), whole machine IDs",
    "other recordings": "recordings that are not whole machine IDs of MIMII",
}
"""What a reader is told of each kind of recordings."""


def by_machine(said: Mapping[str, str]) -> str:
    """Return what is said of machine types for a reader: once if it is the same of all."""
    different = dict.fromkeys(said.values())
    return "; ".join(different if len(different) == 1 else (f"{name}: {fact}" for name, fact in said.items()))


def seeds_of(runs: Sequence[Run]) -> str:
    """Return the seeds of runs for a reader."""
    return by_machine({run.machine: ", ".join(map(str, run.profile.seeds)) for run in runs})


def training_of(runs: Sequence[Run]) -> str:
    """Return how far the auto-encoders of runs are trained, for a reader."""
    return by_machine({run.machine: run.results.training if run.results.autoencoders else "not run" for run in runs})


def facts_box(said: Mapping[str, str]) -> str:
    """Return a box of facts, as HTML."""
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in said.items())
    return f'<dl class="run">{items}</dl>'


def facts(runs: Sequence[Run]) -> str:
    """Tell a reader of a page what its numbers rest on: a box of facts, as HTML, on runs of one profile."""
    first = runs[0]
    lost = sum(len(run.recordings.left_out) for run in runs)
    return facts_box(
        {
            "Machine": "; ".join(f"{run.machine}: {', '.join(map(str, run.clips.id.unique()))}" for run in runs),
            "Data": f"{KINDS[first.recordings.kind]}, {first.profile.snr} dB".replace("-", "−"),
            **({"Left out": f"{lost} clip{'s' * (lost > 1)} that cannot be used"} if lost else {}),
            "Weights": ", ".join(map(str, first.stages.weights_used.values())) or "none could be reached",
            "Engine": str(first.stages.engine),
            "Seeds": seeds_of(runs),
            "Auto-encoders": training_of(runs),
            "Profile": first.profile.name,
            "Commit": provenance.short(provenance.commit()),
        }
    )
