"""Fixtures of downloads."""

import time

import pytest
from archives import FILES, register

from mimii_lib.data import download, remote


@pytest.fixture
def waits(monkeypatch):
    """Return the waits between attempts, which take no time; connections are given up soon."""
    waits = []
    monkeypatch.setattr(time, "sleep", waits.append)
    monkeypatch.setattr(remote, "TIMEOUT", 0.3)
    return waits


@pytest.fixture
def get(tmp_path, waits):
    """Return a function that downloads the fan from a server or a folder; it returns the messages."""

    def fetch(mirror, *, files=FILES, machines=("fan",), dest=tmp_path / "data", **how):
        if "registry" not in how:
            how["registry"] = register(files, tmp_path / "registry.csv")
        messages = []
        how = {"snr": -6, "report": messages.append} | how
        download.fetch(dest, machines=machines, mirror=mirror and str(getattr(mirror, "url", mirror)), **how)
        return messages

    return fetch
