"""Waveforms as numbers: stored samples into each channel's unit, with times; what lies about its size is refused.

Source: PS3.3 C.10.9 (waveform module), C.10.10 (annotations), PS3.5 8.3 (waveform data).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from medviewer.domain.errors import InputError, TooLargeError, TruncatedError, UnsupportedError
from medviewer.domain.study import Document
from medviewer.domain.waveform import Channel, MultiplexGroup, Waveform, WaveformAnnotation
from medviewer.imaging import tags
from medviewer.imaging.dataset import UNDEFINED_LENGTH, DataSet
from medviewer.imaging.document import opened_document, payload
from medviewer.imaging.report_text import code_words, unit_words
from medviewer.imaging.source import ByteSource

MOST_VALUES = 50_000_000
MOST_CHANNELS = 512
MOST_DAYS = 7
_MOST_ANNOTATIONS = 2_000
_MOST_TEXT_BYTES = 16 * 2**10
_MOST_MOMENTS = 1_000
# Waveform Sample Interpretation and Bits Allocated (PS3.3 C.10.9.1.5) -> NumPy type.
_TYPES: Mapping[tuple[str, int], str] = MappingProxyType(
    {("SB", 8): "i1", ("UB", 8): "u1", ("SS", 16): "i2", ("US", 16): "u2", ("SL", 32): "i4", ("UL", 32): "u4"}
)
_MOST_FACTOR = 1e12
_MOST_SKEW_S = 3600.0
_SEGMENTS = frozenset({"SEGMENT", "MULTISEGMENT"})


def read_waveform(document: Document) -> Waveform:
    """Give the signals of a waveform object in their units.

    Raises:
        InputError: it cannot be read, or what it says of its signals makes no sense.
        TruncatedError: it holds fewer samples than it says.
        TooLargeError: it claims more than is read.
        UnsupportedError: its samples are coded in a way that is not read.
    """
    with opened_document(document) as (header, source):
        items = header.dataset.items(tags.WAVEFORM_SEQUENCE)
        if not items:
            raise InputError("The file holds no waveform; ask for it to be sent again.")
        if sum(math.prod(_shape(item)) for item in items) > MOST_VALUES:
            raise TooLargeError(f"The waveform claims more than {MOST_VALUES:,} values; it is not opened.")
        is_little = header.encoding.is_little_endian
        groups = tuple(_group(item, source, is_little=is_little) for item in items)
    annotations = header.dataset.items(tags.WAVEFORM_ANNOTATION_SEQUENCE)[:_MOST_ANNOTATIONS]
    return Waveform(groups, tuple(made for one in annotations if (made := _annotation(one, groups)).text))


def _shape(item: DataSet) -> tuple[int, int]:
    channels = item.integer(tags.NUMBER_OF_WAVEFORM_CHANNELS)
    samples = item.integer(tags.NUMBER_OF_WAVEFORM_SAMPLES)
    if channels is None or samples is None or channels < 1 or samples < 1:
        raise InputError("The waveform does not say how many channels and samples it has; it cannot be drawn.")
    if channels > MOST_CHANNELS:
        raise TooLargeError(f"The waveform claims more than {MOST_CHANNELS} channels; it is not opened.")
    return channels, samples


def _group(item: DataSet, source: ByteSource, *, is_little: bool) -> MultiplexGroup:
    count, length = _shape(item)
    frequency = item.number(tags.SAMPLING_FREQUENCY)
    if frequency is None or not 1e-3 <= frequency <= 1e9:
        raise InputError("The waveform does not say how often it was sampled, so that it has no time; it is not drawn.")
    if length / frequency > MOST_DAYS * 86_400:
        raise TooLargeError(f"The waveform claims to last more than {MOST_DAYS} days; it is not opened.")
    definitions = item.items(tags.CHANNEL_DEFINITION_SEQUENCE)
    if len(definitions) != count:
        raise InputError(
            f"The waveform says that it has {count} channels and describes {len(definitions)}; which is which is not "
            "known, so it is not drawn."
        )
    stored = _stored(item, source, (count, length), is_little=is_little)
    samples = np.empty((count, length), np.float32)
    for index, definition in enumerate(definitions):
        samples[index] = _values(stored[:, index], definition)
    padding = item.raw(tags.WAVEFORM_PADDING_VALUE)
    if len(padding) >= stored.dtype.itemsize:
        samples[(stored == np.frombuffer(padding, stored.dtype, count=1)[0]).T] = np.nan
    return MultiplexGroup(
        label=item.text(tags.MULTIPLEX_GROUP_LABEL),
        sampling_frequency_hz=frequency,
        start_s=(item.number(tags.MULTIPLEX_GROUP_TIME_OFFSET) or 0.0) / 1000,  # the file has ms
        channels=tuple(_channel(definition, frequency) for definition in definitions),
        samples=samples,
    )


def _stored(item: DataSet, source: ByteSource, shape: tuple[int, int], *, is_little: bool) -> np.ndarray:
    """Give the stored samples as (samples, channels); channels follow each other in the file."""
    bits = item.integer(tags.WAVEFORM_BITS_ALLOCATED)
    interpretation = item.text(tags.WAVEFORM_SAMPLE_INTERPRETATION)
    code = _TYPES.get((interpretation, bits or 0))
    if code is None:
        raise UnsupportedError(
            f"The waveform's samples are of a kind that is not read ({interpretation or 'none named'}, {bits} bits)."
        )
    place = item.payloads.get(tags.WAVEFORM_DATA)
    if place is None or place.length == UNDEFINED_LENGTH:
        raise InputError("The file describes a waveform, but holds none of its samples; ask for it to be sent again.")
    dtype = np.dtype(code).newbyteorder("<" if is_little else ">")
    channels, samples = shape
    needed = channels * samples * dtype.itemsize
    if place.length < needed:
        raise TruncatedError(
            "The waveform holds fewer samples than it says; it is incomplete, ask for it to be sent again."
        )
    data = payload(source, place._replace(length=needed))
    return np.frombuffer(data, dtype).reshape(samples, channels)


def _values(stored: np.ndarray, definition: DataSet) -> np.ndarray:
    """Give a channel's values in its unit: stored x sensitivity x correction factor + baseline."""
    sensitivity = _factor(definition, tags.CHANNEL_SENSITIVITY)
    correction = _factor(definition, tags.CHANNEL_SENSITIVITY_CORRECTION_FACTOR)
    has_baseline = definition.number(tags.CHANNEL_BASELINE) != 0
    baseline = _factor(definition, tags.CHANNEL_BASELINE, absent=0.0) if has_baseline else 0.0
    values: np.ndarray = stored * (sensitivity * correction) + baseline
    return values


def _factor(definition: DataSet, tag: int, *, absent: float = 1.0) -> float:
    """Give a number that the height of the signal rests on; ``absent`` where the file has none.

    Raises:
        InputError: it has one that is no number, 0 or beyond all measure, so that the height is not known.
    """
    if not definition.raw(tag).strip(b" \0"):
        return absent
    number = definition.number(tag)
    if number is None or not 1 / _MOST_FACTOR <= abs(number) <= _MOST_FACTOR:
        raise InputError("The waveform has no usable sensitivity; as its height would mean nothing, it is not drawn.")
    return number


def _channel(definition: DataSet, frequency: float) -> Channel:
    label = definition.text(tags.CHANNEL_LABEL) or code_words(definition.item(tags.CHANNEL_SOURCE_SEQUENCE))
    has_sensitivity = bool(definition.raw(tags.CHANNEL_SENSITIVITY).strip(b" \0"))
    unit = unit_words(definition.item(tags.CHANNEL_SENSITIVITY_UNITS_SEQUENCE)) if has_sensitivity else ""
    skew = definition.number(tags.CHANNEL_TIME_SKEW)
    if skew is None:
        skew = (definition.number(tags.CHANNEL_SAMPLE_SKEW) or 0.0) / frequency
    skew += definition.number(tags.CHANNEL_OFFSET) or 0.0
    if abs(skew) > _MOST_SKEW_S:
        raise InputError("A channel of the waveform is said to begin hours from the others; it is not drawn.")
    return Channel(label, unit, skew)


def _annotation(item: DataSet, groups: tuple[MultiplexGroup, ...]) -> WaveformAnnotation:
    # Pairs of multiplex group and channel, both counted from 1; channel 0 is all of the group (PS3.3 C.10.10.1.1).
    pairs = [n if math.isfinite(n) else 0 for n in item.numbers(tags.REFERENCED_WAVEFORM_CHANNELS)[: 2 * MOST_CHANNELS]]
    numbers = [(int(group) - 1, int(channel) - 1) for group, channel in zip(pairs[::2], pairs[1::2], strict=False)]
    named = {group for group, _ in numbers}
    group = named.pop() if len(named) == 1 else None
    if group is None or not 0 <= group < len(groups):
        return WaveformAnnotation(_words(item))
    own = groups[group]
    channels = tuple(channel for _, channel in numbers if 0 <= channel < len(own.channels))
    positions = item.numbers(tags.REFERENCED_SAMPLE_POSITIONS)[:_MOST_MOMENTS]
    # Sample positions count from 1.
    moments = tuple((n - 1) / own.sampling_frequency_hz for n in positions if 1 <= n <= own.samples.shape[1])
    if not positions:
        offsets = item.numbers(tags.REFERENCED_TIME_OFFSETS)[:_MOST_MOMENTS]
        moments = tuple(s for s in offsets if math.isfinite(s) and 0 <= s <= own.duration_s)
    is_segment = item.text(tags.TEMPORAL_RANGE_TYPE) in _SEGMENTS
    return WaveformAnnotation(_words(item), group, channels, moments, is_segment)


def _words(item: DataSet) -> str:
    """Give what an annotation says: free text, or a concept with its number or code."""
    free = item.paragraphs(tags.UNFORMATTED_TEXT_VALUE, _MOST_TEXT_BYTES)
    concept = code_words(item.item(tags.CONCEPT_NAME_CODE_SEQUENCE))
    number = " \\ ".join(item.texts(tags.NUMERIC_VALUE))
    unit = unit_words(item.item(tags.MEASUREMENT_UNITS_CODE_SEQUENCE))
    code = code_words(item.item(tags.CONCEPT_CODE_SEQUENCE))
    said = " ".join(part for part in (number, unit if number else "") if part) or code
    coded = ": ".join(part for part in (concept, said) if part)
    return "\n".join(part for part in (free, coded) if part)
