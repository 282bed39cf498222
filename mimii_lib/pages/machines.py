"""What distinguishes the machine types, for the page on the recordings of each."""

from pathlib import Path

import yaml
from IPython.display import Markdown


def character(machine: str) -> Markdown:
    """Show what is special about the sounds of a machine type and its faults in MIMII."""
    return Markdown(yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())[machine])
