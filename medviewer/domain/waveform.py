"""Signals over time: an ECG, a pressure, a respiration curve. Values in their unit, times in seconds."""

from __future__ import annotations

import numpy as np

from medviewer.domain.frozen import dataclass


@dataclass(frozen=True, slots=True)
class Channel:
    """One signal of a multiplex group.

    Attributes:
        label: what it is called: "Lead II"; "" where the file does not say.
        unit: UCUM ("mV", "mm[Hg]"); "" where the file gives none: the values are then what was stored.
        skew_s: by how much its first sample is later than the group's.
    """

    label: str
    unit: str
    skew_s: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class MultiplexGroup:
    """Signals that were sampled together (PS3.3 C.10.9).

    Attributes:
        label: "RHYTHM"; "" where the file does not say.
        sampling_frequency_hz: above 0.
        start_s: of the first sample, from the start of the acquisition.
        channels: in the order of ``samples``.
        samples: (channels, samples) float32 in each channel's unit; NaN where there is no value.
    """

    label: str
    sampling_frequency_hz: float
    start_s: float
    channels: tuple[Channel, ...]
    samples: np.ndarray

    @property
    def duration_s(self) -> float:
        """From the first sample to the end of the last one."""
        return float(self.samples.shape[1] / self.sampling_frequency_hz)


@dataclass(frozen=True, slots=True)
class WaveformAnnotation:
    """What the file says of a waveform or of a place in it. The text is of the file: show it as plain text.

    Attributes:
        text: words, or a number with its unit.
        group: index of the multiplex group that it is about; None: of all.
        channels: indices in that group; empty: all of them.
        moments_s: from the group's first sample; empty: the whole time. Two of one ``is_segment`` are its ends.
    """

    text: str
    group: int | None = None
    channels: tuple[int, ...] = ()
    moments_s: tuple[float, ...] = ()
    is_segment: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """All signals of one object."""

    groups: tuple[MultiplexGroup, ...]
    annotations: tuple[WaveformAnnotation, ...] = ()
