"""A sample of MIMII for a profile: downloaded clip by clip before anything is computed on it."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import requests

from mimii_lib.data import download
from mimii_lib.data.remote import without_password
from mimii_lib.data.weights import OFFLINE
from mimii_lib.errors import MimiiError

TIMEOUT = 10.0  # seconds in which a server has to answer before a download is begun


def fetch_sample(
    dest: Path,
    *,
    snr: int,
    machine: str,
    ids: Sequence[str] | None,
    normal: int,
    abnormal: int,
    seed: int,
    mirror: str | None,
    registry: Path | None,
) -> None:
    """Download the clips of a machine type that are not there yet; without a network, raise MimiiError at once.

    `normal` and `abnormal` are numbers of clips of each machine ID; for the other parameters see
    :func:`mimii_lib.data.download.fetch`, which is patient where a server fails later on.
    """
    download.fetch(
        dest,
        snr=snr,
        machines=[machine],
        ids=ids,
        clips=normal,
        abnormal=abnormal,
        seed=seed,
        mirror=mirror,
        registry=registry,
        first_contact=partial(_check_network, dest),
        report=_report,
    )


def _report(message: str) -> None:
    """Print what is fetched; a page that finds everything there shows nothing."""
    if not message.endswith(download.THERE):
        print(message, file=sys.stderr, flush=True)


def _check_network(dest: Path, url: str) -> None:
    """Raise MimiiError if downloads are forbidden, or the server of an address does not answer at all."""
    reason = f"{OFFLINE} forbids downloads" if os.environ.get(OFFLINE) else ""
    try:
        if not reason:
            requests.head(url, timeout=TIMEOUT)
    except requests.RequestException as error:
        reason = f"{without_password(url.partition('?')[0])} is not reached ({type(error).__name__})"
    if reason:
        raise MimiiError(
            f"{dest}: the sample of MIMII is not there, and {reason}; connect to a network and repeat the command, or "
            "make the book of the miniature, which needs none: make book"
        )
