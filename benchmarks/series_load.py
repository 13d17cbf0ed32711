"""Load a CT series whole: ours against SimpleITK's series reader and against just reading the bytes."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.timing import Comparison, compare

N_SLICES = 400
SIZE = 512


def make_series(folder: Path, n_slices: int = N_SLICES) -> list[Path]:
    """Write uncompressed CT slices of noise (so that nothing compresses away)."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    rng = np.random.default_rng(0)
    study, series, frame_of_reference = (generate_uid() for _ in range(3))
    paths = []
    for index in range(n_slices):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        ds.PatientName, ds.PatientID, ds.Modality = "Noise^Phantom", "NOISE", "CT"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, series, frame_of_reference
        ds.InstanceNumber = index + 1
        ds.ImagePositionPatient = [-200.0, -200.0, float(index)]
        ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        ds.PixelSpacing, ds.SliceThickness = [0.78125, 0.78125], 1
        ds.RescaleSlope, ds.RescaleIntercept = 1, -1024
        ds.Rows = ds.Columns = SIZE
        ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
        ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
        ds.PixelData = rng.integers(0, 4096, (SIZE, SIZE), dtype=np.uint16).tobytes()
        path = folder / f"{index:04d}.dcm"
        pydicom.dcmwrite(path, ds, enforce_file_format=True)
        paths.append(path)
    return paths


def load_ours(folder: Path) -> np.ndarray:
    """The whole series as one integer volume (slices, rows, columns), in order."""
    from medviewer.imaging.scan import scan
    from medviewer.imaging.volume import read_volume

    collection = scan([folder])
    return read_volume(collection.patients[0].studies[0].series[0].stacks[0]).stored


def first_of_ours(folder: Path) -> None:
    """The first image of a series: what the window waits for, while the scan goes on behind it."""
    from medviewer.domain.errors import Stopped
    from medviewer.domain.progress import StopToken
    from medviewer.domain.study import Collection
    from medviewer.imaging.decode import read_frame
    from medviewer.imaging.scan import images_of, scan

    stop = StopToken()

    def found(collection: Collection) -> None:
        read_frame(next(images_of(collection)))
        stop.stop()

    with contextlib.suppress(Stopped):
        scan([folder], on_found=found, stop=stop)


def memory_growth(folder: Path) -> float:
    """By how many times the pixels' own size this process grew at most while a series was read."""
    import psutil

    import medviewer.imaging.scan
    import medviewer.imaging.volume  # noqa: F401 - the program itself is no growth

    before = psutil.Process().memory_info().rss
    volume = load_ours(folder)
    # Not getrusage: its maximum is inherited from the process that started this one.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    return (peak - before) / volume.nbytes


def load_simpleitk(folder: Path) -> object:
    """The same with SimpleITK, as its documentation shows."""
    import SimpleITK as sitk  # noqa: N813 - the alias of its own documentation

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


def read_bytes(paths: Sequence[Path]) -> int:
    """The physical limit: every byte read once."""
    return sum(len(path.read_bytes()) for path in paths)


def run(rounds: int = 5) -> list[Comparison]:
    """Compare; the files are in the page cache for all alike."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_series(folder)
        whole = f"{N_SLICES} CT slices, scan and decode"
        simpleitk = "SimpleITK.ImageSeriesReader", lambda: load_simpleitk(folder)
        of_bytes = "reading the same bytes", lambda: read_bytes(paths)
        first = f"first of {N_SLICES} CT slices"
        return [
            compare(whole, lambda: load_ours(folder), simpleitk, rounds=rounds, warmup=1, target="<= 0.2"),
            compare(whole, lambda: load_ours(folder), of_bytes, rounds=rounds, warmup=1, target="<= 3"),
            compare(first, lambda: first_of_ours(folder), simpleitk, rounds=rounds, warmup=1, target="<= 0.08"),
        ]


if __name__ == "__main__":
    if len(sys.argv) == 2:  # the child of which the memory is measured
        sys.stdout.write(f"{memory_growth(Path(sys.argv[1])):.3f}\n")
        sys.exit()
    for row in run():
        sys.stdout.write(f"{row.name} vs {row.peer}: {row.ratio:.2f} ({row.ours_ms:.0f} ms / {row.peer_ms:.0f} ms)\n")
    with tempfile.TemporaryDirectory() as name:
        make_series(Path(name))
        child = [sys.executable, "-m", "benchmarks.series_load", name]
        grown = subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip()
        sys.stdout.write(f"memory grew by {grown} x the pixels (wanted <= 1.1)\n")
