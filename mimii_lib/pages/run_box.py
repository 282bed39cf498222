"""The box at the top of a page: which data, weights, engine, seeds, profile and commit its numbers rest on."""

from collections.abc import Mapping, Sequence
from html import escape

from IPython.display import HTML

from mimii_lib.run import Run, provenance
from mimii_lib.settings import Autoencoders

RECORDING_KINDS = {
    "miniature": "the miniature, synthesised by this project: its numbers say nothing about MIMII",
    "sample": "a sample of MIMII, fewer clips than its whole machine IDs",
    "MIMII": "MIMII, whole machine IDs",
    "other recordings": "recordings that are not whole machine IDs of MIMII",
}
"""Description of each kind of recordings, by the values of ``Run.recordings.kind``."""


def comparable(runs: Sequence[Run]) -> bool:
    """Return whether results can be compared with the paper's: whether all recordings are MIMII's."""
    return all(run.recordings.kind in ("MIMII", "sample") for run in runs)


def scope(runs: Sequence[Run]) -> str:
    """Return the words that limit what comparable results say: "on a sample", or none."""
    return "on a sample" if any(run.recordings.kind == "sample" for run in runs) else ""


def by_machine(facts: Mapping[str, str]) -> str:
    """Join a fact per machine type into one text; a fact shared by all machine types is stated once."""
    different = dict.fromkeys(facts.values())
    return "; ".join(different if len(different) == 1 else (f"{name}: {fact}" for name, fact in facts.items()))


def seeds_of(runs: Sequence[Run]) -> str:
    """Return the seeds of runs as text."""
    return by_machine({run.machine: ", ".join(map(str, run.profile.seeds)) for run in runs})


def training_of(runs: Sequence[Run]) -> str:
    """Return how the auto-encoders of runs are trained, as text: epochs, seeds, and batches where not the paper's."""
    return by_machine({run.machine: _training_of(run) if run.results.autoencoders else "not run" for run in runs})


def _training_of(run: Run) -> str:
    size = run.settings.autoencoders.batch_size
    return run.results.training + f", batches of {size}" * (size != Autoencoders().batch_size)


def _data_of(run: Run) -> str:
    return f"{RECORDING_KINDS[run.recordings.kind]}, {run.profile.snr} dB".replace("-", "−")


def _weights_of(run: Run) -> str:
    return ", ".join(map(str, run.stages.weights_used.values())) or "none could be reached"


def facts(runs: Sequence[Run]) -> HTML:
    """Show what the numbers of a page rest on; the runs are of one profile, one per machine type."""
    n_unusable = sum(len(run.recordings.left_out) for run in runs)
    lines = {
        "Machine": "; ".join(f"{run.machine}: {', '.join(map(str, run.clips.id.unique()))}" for run in runs),
        "Data": by_machine({run.machine: _data_of(run) for run in runs}),
        "Licence": by_machine({run.machine: run.recordings.licence for run in runs}),
        "Left out": f"{n_unusable} clip{'s' * (n_unusable > 1)} that cannot be used" if n_unusable else "",
        "Weights": by_machine({run.machine: _weights_of(run) for run in runs}),
        "Engine": by_machine({run.machine: str(run.stages.engine) for run in runs}),
        "Seeds": seeds_of(runs),
        "Auto-encoders": training_of(runs),
        "Profile": runs[0].profile.name,
        "Commit": provenance.short(provenance.commit()),
    }
    items = "".join(f"<div><dt>{name}</dt><dd>{escape(fact)}</dd></div>" for name, fact in lines.items() if fact)
    return HTML(f'<dl class="run">{items}</dl>')
