"""Open a folder of 10,000 small files: for the first time, and again with the index of known headers."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.timing import Comparison, compare

N_SERIES, N_SLICES = 100, 100


def make_folder(folder: Path) -> None:
    """Write series of 64 x 64 slices, two studies a patient."""
    import pydicom
    from pydicom.dataset import FileDataset
    from pydicom.uid import generate_uid

    from benchmarks.series_load import make_series

    (folder / "model").mkdir()
    dataset: FileDataset = pydicom.dcmread(make_series(folder / "model", 1)[0])
    rng = np.random.default_rng(0)
    for series in range(N_SERIES):
        (folder / f"{series:03d}").mkdir()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.PatientID = f"P{series // 2}"
        for index in range(N_SLICES):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            dataset.InstanceNumber, dataset.ImagePositionPatient = index + 1, [0, 0, float(index)]
            dataset.Rows = dataset.Columns = 64
            dataset.PixelData = rng.integers(0, 4096, (64, 64), dtype=np.uint16).tobytes()
            pydicom.dcmwrite(folder / f"{series:03d}" / f"{index:03d}.dcm", dataset, enforce_file_format=True)


def run(rounds: int = 3) -> list[Comparison]:
    """Compare; the files are in the page cache for both, which favours the first opening."""
    from medviewer.imaging.scan import scan

    with tempfile.TemporaryDirectory() as name:
        folder, index = Path(name) / "in", Path(name) / "headers.sqlite"
        folder.mkdir()
        make_folder(folder)
        scan([folder], index=index)

        def first() -> None:
            index.with_name("other.sqlite").unlink(missing_ok=True)
            scan([folder], index=index.with_name("other.sqlite"))

        return [
            compare(
                f"{N_SERIES * N_SLICES} files, opened again",
                lambda: scan([folder], index=index),
                ("opened for the first time", first),
                rounds=rounds,
                warmup=1,
            )
        ]


if __name__ == "__main__":
    for row in run():
        sys.stdout.write(f"{row.name} vs {row.peer}: {row.ratio:.2f} ({row.ours_ms:.0f} ms / {row.peer_ms:.0f} ms)\n")
