"""The words of which structured reports and other results are made: the model as algorithm, remarks, our own codes."""

from __future__ import annotations

from highdicom import sr
from pydicom.sr.codedict import codes

from medviewer.domain.answer import Provenance

SCHEME = "99MEDVIEWER"


def own_code(value: str, meaning: str) -> sr.CodedConcept:
    """A code of our own scheme, for what no one else has a code for."""
    return sr.CodedConcept(value, SCHEME, meaning)


NETWORK_OUTPUT = own_code("network-output", "Output of the network, not calibrated")


def comment(text: str) -> sr.TextContentItem:
    """One sentence beside what it is about."""
    return sr.TextContentItem(codes.DCM.Comment, text, "CONTAINS")


def algorithm_of(made_by: Provenance) -> sr.AlgorithmIdentification:
    """Name the model as the algorithm of a measurement group."""
    return sr.AlgorithmIdentification(
        name=made_by.model_id,
        version=made_by.model_version,
        parameters=parameters_of(made_by),
    )


def parameters_of(made_by: Provenance) -> list[str]:
    """Say, one text a fact, what makes a result the result of this very model on this very input."""
    return [
        f"model sha256: {made_by.model_sha256}",
        f"input sha256: {made_by.input_sha256}",
        f"runtime: {made_by.runtime}, {made_by.provider}",
        "model signature: verified" if made_by.is_verified else "model signature: unverified",
    ]
