"""Durations and sizes formatted for a reader."""

from math import ceil


def duration(seconds: float) -> str:
    """Return a duration such as ``3 h 20 min``."""
    if seconds < 60:
        return f"{ceil(seconds)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60} min"


def gigabytes(size: float) -> str:
    """Return a number of bytes as a size such as ``9.3 GB``."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e8 else f"{ceil(size / 1e6)} MB"
