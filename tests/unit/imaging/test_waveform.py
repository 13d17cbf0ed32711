"""A waveform's numbers are pydicom's; what lies about its size, its time or its height is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medviewer.domain.errors import InputError, TooLargeError, TruncatedError, UnsupportedError
from medviewer.domain.waveform import Waveform
from medviewer.imaging import waveform
from medviewer.imaging.waveform import read_waveform
from tests.document_maker import channel, code, multiplex_group, shipped, the_document, write_waveform


def read(path: Path) -> Waveform:
    return read_waveform(the_document(path))


def ramp(samples: int = 20, channels: int = 2, dtype: str = "<i2") -> np.ndarray:
    info = np.iinfo(dtype)
    step = (int(info.max) - int(info.min)) // (samples * channels)
    return (int(info.min) + step * np.arange(samples * channels)).reshape(samples, channels).astype(dtype)


def of(tmp_path: Path, stored: np.ndarray | None = None, interpretation: str = "SS", **attributes: Any) -> Waveform:
    """The waveform of one group with two channels."""
    group = multiplex_group(
        ramp() if stored is None else stored, [channel("I"), channel("II")], interpretation, **attributes
    )
    return read(write_waveform(tmp_path / "a.dcm", group))


def test_a_real_ecg_has_the_values_that_pydicom_gives() -> None:
    path = shipped("waveform_ecg.dcm")
    said, found = dcmread(path), read(path)
    assert len(found.groups) == len(said.WaveformSequence) == 2
    for index, group in enumerate(found.groups):
        written = said.WaveformSequence[index]
        np.testing.assert_allclose(group.samples.T, said.waveform_array(index), rtol=1e-6)
        assert group.sampling_frequency_hz == float(written.SamplingFrequency)
        assert group.label == written.MultiplexGroupLabel
        assert [one.label for one in group.channels] == [
            one.ChannelSourceSequence[0].CodeMeaning for one in written.ChannelDefinitionSequence
        ]
        assert {one.unit for one in group.channels} == {"uV"}
    assert found.groups[0].duration_s == 10.0
    texts = [one.text for one in found.annotations]
    assert len(texts) == len(said.WaveformAnnotationSequence)
    assert "QRS Duration: 75 ms" in texts


@pytest.mark.parametrize(
    ("interpretation", "dtype"),
    [("SB", "i1"), ("UB", "u1"), ("SS", "<i2"), ("US", "<u2"), ("SL", "<i4"), ("UL", "<u4")],
)
def test_every_kind_of_sample_is_read_as_pydicom_does(tmp_path: Path, interpretation: str, dtype: str) -> None:
    stored = ramp(dtype=dtype)
    channels = [
        channel("I", ChannelSensitivity="2.5", ChannelSensitivityCorrectionFactor="0.5", ChannelBaseline="-7"),
        channel("II", ChannelSensitivity="-0.125"),
    ]
    path = write_waveform(tmp_path / "a.dcm", multiplex_group(stored, channels, interpretation))
    found = read(path).groups[0].samples
    np.testing.assert_allclose(found.T, dcmread(path).waveform_array(0), rtol=1e-6)
    np.testing.assert_allclose(found[0], stored[:, 0] * 1.25 - 7, rtol=1e-6)
    np.testing.assert_allclose(found[1], stored[:, 1] * -0.125, rtol=1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_all_ways_of_writing_read_the_same(tmp_path: Path, syntax: str) -> None:
    stored = ramp()
    path = write_waveform(tmp_path / "a.dcm", multiplex_group(stored, [channel(), channel()], "SS"), syntax=syntax)
    np.testing.assert_array_equal(read(path).groups[0].samples.T, stored)


def test_samples_in_big_endian_files_are_in_that_order(tmp_path: Path) -> None:
    stored = ramp(dtype=">i2")
    group = multiplex_group(stored, [channel(), channel()], "SS")
    path = write_waveform(tmp_path / "a.dcm", group, syntax=ExplicitVRBigEndian)
    np.testing.assert_array_equal(read(path).groups[0].samples.T, stored)


def test_several_groups_have_their_own_rate_and_start(tmp_path: Path) -> None:
    slow = multiplex_group(
        ramp(5), [channel(), channel()], "SS", SamplingFrequency="125", MultiplexGroupTimeOffset="1500"
    )
    found = read(write_waveform(tmp_path / "a.dcm", multiplex_group(ramp(), [channel(), channel()], "SS"), slow))
    assert [(one.sampling_frequency_hz, one.start_s, one.duration_s) for one in found.groups] == [
        (500.0, 0.0, 0.04),
        (125.0, 1.5, 0.04),
    ]


def test_skews_are_seconds(tmp_path: Path) -> None:
    channels = [channel(ChannelTimeSkew="0.25"), channel(ChannelSampleSkew="10", ChannelOffset="0.5")]
    found = read(write_waveform(tmp_path / "a.dcm", multiplex_group(ramp(), channels, "SS")))
    assert [one.skew_s for one in found.groups[0].channels] == [0.25, 10 / 500 + 0.5]


def test_padding_is_no_value(tmp_path: Path) -> None:
    stored = np.array([[1, 2], [-32768, 4], [5, -32768]], "<i2")
    found = of(tmp_path, stored, WaveformPaddingValue=(-32768).to_bytes(2, "little", signed=True)).groups[0].samples
    np.testing.assert_array_equal(np.isnan(found.T), stored == -32768)
    assert found[0, 2] == 5


def test_without_a_sensitivity_the_numbers_have_no_unit(tmp_path: Path) -> None:
    bare = channel(ChannelSensitivity=None)
    found = read(write_waveform(tmp_path / "a.dcm", multiplex_group(ramp(), [bare, channel()], "SS")))
    assert [one.unit for one in found.groups[0].channels] == ["", "uV"]


def test_annotations_are_placed_in_time(tmp_path: Path) -> None:
    note, peak, stretch, lost = Dataset(), Dataset(), Dataset(), Dataset()
    note.UnformattedTextValue = "Sinus rhythm"
    peak.ConceptNameCodeSequence = [code("R peak")]
    peak.ReferencedWaveformChannels, peak.TemporalRangeType, peak.ReferencedSamplePositions = [1, 2], "POINT", [11]
    stretch.ConceptNameCodeSequence = [code("QT Interval")]
    stretch.NumericValue, stretch.MeasurementUnitsCodeSequence = "368", [code("millisecond", "ms", "UCUM")]
    stretch.ReferencedWaveformChannels, stretch.TemporalRangeType = [1, 0], "SEGMENT"
    stretch.ReferencedTimeOffsets = ["0.01", "0.02"]
    lost.UnformattedTextValue, lost.ReferencedWaveformChannels = "Elsewhere", [9, 1]
    group = multiplex_group(ramp(), [channel(), channel()], "SS")
    path = write_waveform(tmp_path / "a.dcm", group, WaveformAnnotationSequence=[note, peak, stretch, lost])
    found = read(path).annotations
    assert [(one.text, one.group, one.channels, one.moments_s, one.is_segment) for one in found] == [
        ("Sinus rhythm", None, (), (), False),
        ("R peak", 0, (1,), (10 / 500,), False),
        ("QT Interval: 368 ms", 0, (), (0.01, 0.02), True),
        ("Elsewhere", None, (), (), False),
    ]


@pytest.mark.parametrize(
    ("attributes", "kind", "words"),
    [
        ({"NumberOfWaveformSamples": 21}, TruncatedError, "fewer samples than it says"),
        ({"NumberOfWaveformSamples": 4_000_000_000}, TooLargeError, "claims more than"),
        ({"NumberOfWaveformSamples": 0}, InputError, "how many channels and samples"),
        ({"NumberOfWaveformSamples": None}, InputError, "how many channels and samples"),
        ({"NumberOfWaveformChannels": 3}, InputError, "says that it has 3 channels and describes 2"),
        ({"NumberOfWaveformChannels": 60_000}, TooLargeError, "more than 512 channels"),
        ({"SamplingFrequency": "0.001", "NumberOfWaveformSamples": 700}, TooLargeError, "more than 7 days"),
        ({"SamplingFrequency": "0"}, InputError, "how often it was sampled"),
        ({"SamplingFrequency": "-500"}, InputError, "how often it was sampled"),
        ({"SamplingFrequency": None}, InputError, "how often it was sampled"),
        ({"WaveformSampleInterpretation": "MB"}, UnsupportedError, "of a kind that is not read"),
        ({"WaveformBitsAllocated": 8}, UnsupportedError, "of a kind that is not read"),
        ({"WaveformData": None}, InputError, "holds none of its samples"),
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
def test_a_group_that_makes_no_sense_is_refused(
    tmp_path: Path, attributes: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        of(tmp_path, **attributes)


@pytest.mark.parametrize("value", ["0", "1e300"])
@pytest.mark.parametrize("name", ["ChannelSensitivity", "ChannelSensitivityCorrectionFactor", "ChannelBaseline"])
def test_a_height_that_means_nothing_is_refused(tmp_path: Path, name: str, value: str) -> None:
    path = write_waveform(tmp_path / "a.dcm", multiplex_group(ramp(), [channel(), channel(**{name: value})], "SS"))
    if (name, value) == ("ChannelBaseline", "0"):
        assert read(path).groups
        return
    with pytest.raises(InputError, match="no usable sensitivity"):
        read(path)


def test_a_channel_far_from_the_others_is_refused(tmp_path: Path) -> None:
    path = write_waveform(
        tmp_path / "a.dcm", multiplex_group(ramp(), [channel(), channel(ChannelTimeSkew="4000")], "SS")
    )
    with pytest.raises(InputError, match="hours from the others"):
        read(path)


def test_groups_that_are_too_large_together_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group = multiplex_group(ramp(), [channel(), channel()], "SS")
    path = write_waveform(tmp_path / "a.dcm", group, group)
    monkeypatch.setattr(waveform, "MOST_VALUES", 79)
    with pytest.raises(TooLargeError):
        read(path)
    monkeypatch.setattr(waveform, "MOST_VALUES", 80)
    assert len(read(path).groups) == 2


def test_a_file_without_a_waveform_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no waveform"):
        read(write_waveform(tmp_path / "a.dcm"))
