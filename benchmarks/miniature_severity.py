"""Measure how hard each machine ID of the miniature is for the simplest baseline.

Mean and standard deviation over time of the log-mel spectrogram, and the distance to the nearest training
clip on standardised features. Half of the normal clips train; the other half and all abnormal clips test.

    python benchmarks/miniature_severity.py [--normal 32] [--abnormal 8] [--snr -6]
"""

import argparse
import tempfile
from pathlib import Path

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from mimii_lib import paper
from mimii_lib.data import miniature

SPLITS = 5


def features(path: Path) -> NDArray[np.float64]:
    """Return mean and standard deviation over time of a clip's 64 log-mel bands, shape (128,)."""
    sound, rate = soundfile.read(path, dtype="float32")
    mel = librosa.feature.melspectrogram(y=sound, sr=rate, n_fft=1024, hop_length=256, n_mels=64)
    log_mel = librosa.power_to_db(mel, ref=np.max, top_db=80)
    return np.concatenate([log_mel.mean(axis=1), log_mel.std(axis=1)])


def auc(normal: NDArray[np.float64], abnormal: NDArray[np.float64], seed: int) -> float:
    """Return the AUC of one split; `normal` and `abnormal` have shape (clips, 128)."""
    train, test = np.split(np.random.default_rng(seed).permutation(normal), 2)
    scaler = StandardScaler().fit(train)
    neighbours = NearestNeighbors(n_neighbors=1).fit(scaler.transform(train))
    scores = neighbours.kneighbors(scaler.transform(np.concatenate([test, abnormal])))[0][:, 0]
    return float(roc_auc_score(np.repeat([0, 1], [len(test), len(abnormal)]), scores))


def main() -> None:
    """Make the miniature in a temporary folder and print a table of AUC × 100, one row per machine type."""
    parser = argparse.ArgumentParser(description="AUC of the simplest baseline on the miniature")
    parser.add_argument("--normal", type=int, default=32, help="normal clips per machine ID, an even number")
    parser.add_argument("--abnormal", type=int, default=8, help="abnormal clips per machine ID")
    parser.add_argument("--snr", type=int, default=-6, help="signal-to-noise ratio in dB")
    options = parser.parse_args()
    print(f"| AUC × 100 | {' | '.join(paper.IDS)} |")
    print(f"|---|{'---|' * len(paper.IDS)}")
    for machine in paper.MACHINES:
        with tempfile.TemporaryDirectory() as folder:
            miniature.make_miniature(Path(folder), machines=[machine], **vars(options))
            aucs = []
            for machine_id in tqdm(paper.IDS, desc=machine, leave=False, disable=None):
                top = Path(folder) / f"{options.snr}_dB_{machine}" / machine / machine_id
                normal, abnormal = (
                    np.array([features(path) for path in sorted((top / label).glob("*.wav"))])
                    for label in ("normal", "abnormal")
                )
                aucs.append(100 * np.mean([auc(normal, abnormal, seed) for seed in range(SPLITS)]))
        print(f"| {machine} | {' | '.join(f'{value:.1f}' for value in aucs)} |", flush=True)


if __name__ == "__main__":
    main()
