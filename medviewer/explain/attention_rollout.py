"""Attention rollout: how far attention leads from each part of the image to the answer of a transformer.

Each block mixes the tokens; multiplied through all blocks, the mixing says how much of
each part of the image is in the end. The network gives it as an output of its
forward pass (``rollout``).

It knows no finding: the map is the same for each, and has no sign. Attention says what was
mixed, not what spoke for or against anything.

Source: Abnar and Zuidema, "Quantifying attention flow in transformers", ACL 2020,
section 3; see also Jain and Wallace, "Attention is not explanation", NAACL 2019.
"""

from __future__ import annotations

import numpy as np

from medviewer.explain.question import Question, Saliency


def attention_rollout(question: Question) -> Saliency:
    """Return the parts of the image's squares in the answer, ``(rows, columns)`` of squares, summing to 1."""
    flow = question.run(question.tensor[None], "model", ["rollout"])["rollout"][0]
    return Saliency(np.asarray(flow, np.float32))
