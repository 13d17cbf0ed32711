"""Reads back what was written for TensorBoard."""

from __future__ import annotations

import struct
from pathlib import Path


def scalars(folder: Path, tag: str) -> dict[int, float]:
    """Return a curve by step, of the one event file in a folder."""
    from tensorboardX.proto import event_pb2

    (path,) = folder.glob("events.*")
    data, found = path.read_bytes(), {}
    while data:  # TFRecord: length, its checksum, content, its checksum
        (length,) = struct.unpack("<Q", data[:8])
        event = event_pb2.Event.FromString(data[12 : 12 + length])
        for value in event.summary.value:
            if value.tag == tag:
                found[event.step] = value.simple_value
        data = data[16 + length :]
    return found
