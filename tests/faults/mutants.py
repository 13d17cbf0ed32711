"""Damaged copies of DICOM files, made the same way each time, and what happens to one of them.

Run as a program it reads a list of mutants in a process of its own, so that a crash or a
memory limit ends that process and not the tests.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pydicom.data

SEED = 20_260_722
MAX_BYTES = 400_000


def seeds() -> list[Path]:
    """Small files of many kinds: every transfer syntax that pydicom's test files have."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return sorted(p for p in folder.glob("*.dcm") if p.stat().st_size <= MAX_BYTES)


def mutate(data: bytes, random_: random.Random) -> bytes:
    """One to three kinds of damage: flipped bytes, a cut, inserted bytes, a broken length field."""
    damaged = bytearray(data)
    for _ in range(random_.randint(1, 3)):
        kind = random_.choice(("flip", "flip", "cut", "insert", "length"))
        # Headers are small beside pixels: half of the damage is done to the first two kilobytes.
        reach = len(damaged) if random_.random() < 0.5 else min(len(damaged), 2048)
        at = random_.randrange(max(1, reach))
        if kind == "flip":
            for _ in range(random_.randint(1, 16)):
                damaged[min(at + random_.randrange(64), len(damaged) - 1)] = random_.randrange(256)
        elif kind == "cut":
            del damaged[max(1, at) :]
        elif kind == "insert":
            damaged[at:at] = random_.randbytes(random_.randint(1, 64))
        else:
            size = random_.choice((2, 4))
            value = random_.choice((0, 1, 0x7F, 0xFFFF, 0xFFFE, 0x7FFFFFFF, 0xFFFFFFFF, random_.randrange(1 << 32)))
            damaged[at : at + size] = (value % (1 << 8 * size)).to_bytes(size, "little")
        if not damaged:
            damaged = bytearray(b"\0")
    return bytes(damaged)


def mutants(numbers: range, files: list[Path]) -> Iterator[tuple[int, Path, bytes]]:
    for number in numbers:
        random_ = random.Random(SEED + number)  # noqa: S311 - the same damage every time is the point
        path = files[number % len(files)]
        yield number, path, mutate(path.read_bytes(), random_)


def _own_peak_mb() -> float:
    """The most memory that this process had. ``ru_maxrss`` also remembers the one that it was forked from."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():
        line = next(row for row in status.read_text(encoding="ascii").splitlines() if row.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(numbers: range, folder: Path, files: list[Path]) -> dict[str, object]:
    """Read the mutants one by one; give what went wrong and the figures."""
    import resource

    from medviewer.domain.errors import MedViewerError
    from medviewer.imaging import decode, display
    from medviewer.imaging.scan import images_of, scan

    logging.disable(logging.CRITICAL)
    wrong: list[str] = []
    longest_scan = longest_read = 0.0
    shown = drawn = 0
    for number, source, data in mutants(numbers, files):
        path = folder / f"{number}.dcm"
        path.write_bytes(data)
        name = f"mutant {number} of {source.name}"
        begin = time.monotonic()
        collection = scan([path])
        longest_scan = max(longest_scan, time.monotonic() - begin)
        if sorted([*collection.shown, *(problem.path for problem in collection.problems)]) != [path]:
            wrong.append(f"{name}: not exactly once in shown or problems")
        wrong += [f"{name}: {p.reason}" for p in collection.problems if p.reason.startswith("Unexpected")]
        images = list(images_of(collection))
        shown += bool(images)
        for image in images[:1] + images[1:][-1:]:
            begin = time.monotonic()
            try:
                frame = decode.read_frame(image)
                picture = display.to_display(frame)
                drawn += 1
                if picture.shape[:2] != (image.description.rows, image.description.columns):
                    wrong.append(f"{name}: a picture of another size")
            except MedViewerError:
                pass
            except Exception as error:  # noqa: BLE001 - anything else is a bug, which the test reports
                wrong.append(f"{name}: {type(error).__name__}: {error}")
            longest_read = max(longest_read, time.monotonic() - begin)
        path.unlink()
    decode.shutdown()
    usage = [_own_peak_mb(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024]
    return {
        "wrong": wrong,
        "n": len(numbers),
        "shown": shown,
        "drawn": drawn,
        "longest_scan_s": round(longest_scan, 3),
        "longest_read_s": round(longest_read, 3),
        "peak_mb": [round(value) for value in usage],
    }


if __name__ == "__main__":
    first, last, target = sys.argv[1:4]
    chosen = [Path(line) for line in sys.argv[4:]] or seeds()
    report = main(range(int(first), int(last)), Path(target), chosen)
    sys.stdout.write(json.dumps(report))
