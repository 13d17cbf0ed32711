"""Networks that read word pieces: BERT's encoder, a bidirectional LSTM, and counted pieces.

All take ``ids`` and ``mask`` ``(N, T)`` int64, as :mod:`medviewer.inference.inputs.text` encodes them: [CLS], pieces,
[SEP], padding. What is masked counts for nothing, so that the same text may be padded to any length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from medviewer.domain.frozen import dataclass

_FAR = 1e4  # beyond every activation


@dataclass(frozen=True, slots=True)
class EncoderShape:
    """How large an encoder is; ``places`` is the most tokens that it reads."""

    pieces: int
    width: int
    layers: int
    heads: int
    inner: int
    places: int


class Embeddings(nn.Module):
    """What each piece means by itself, and where it stands."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(shape.pieces, shape.width)
        self.position_embeddings = nn.Embedding(shape.places, shape.width)
        self.token_type_embeddings = nn.Embedding(2, shape.width)
        self.LayerNorm = nn.LayerNorm(shape.width, eps=1e-12)

    def forward(self, ids: Tensor) -> Tensor:
        """Return ``(N, T, width)``; all is one text."""
        where = self.position_embeddings.weight[: ids.shape[1]] + self.token_type_embeddings.weight[0]
        found: Tensor = self.LayerNorm(self.word_embeddings(ids) + where)
        return found


class Layer(nn.Module):
    """One layer of a transformer, normalised after each half (Vaswani et al. 2017), under BERT's names."""

    def __init__(self, shape: EncoderShape, dropout: float) -> None:
        super().__init__()
        width, self.heads = shape.width, shape.heads
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict({name: nn.Linear(width, width) for name in ("query", "key", "value")}),
                "output": _Rest(width, width),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, shape.inner)})
        self.output = _Rest(shape.inner, width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Return ``(N, T, width)``; ``bias`` ``(N, 1, 1, T)`` is 0 at tokens and far below at padding."""
        n, t, width = x.shape
        maps: Any = self.attention["self"]
        query, key, value = (part(x).view(n, t, self.heads, -1).transpose(1, 2) for part in maps.values())
        weights = query @ key.transpose(2, 3) * (width // self.heads) ** -0.5 + bias
        seen = (self.drop(weights.softmax(3)) @ value).transpose(1, 2).reshape(n, t, width)
        x = self.attention["output"](self.drop, seen, x)
        found: Tensor = self.output(self.drop, functional.gelu(self.intermediate["dense"](x)), x)
        return found


class _Rest(nn.Module):
    """The end of a half layer: mapped back, and added to what came in."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.LayerNorm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, drop: nn.Module, x: Tensor, before: Tensor) -> Tensor:
        found: Tensor = self.LayerNorm(drop(self.dense(x)) + before)
        return found


class Encoder(nn.Module):
    """BERT's encoder without its pooler (Devlin et al. 2019); its weights have the usual names."""

    def __init__(self, shape: EncoderShape, dropout: float = 0.1) -> None:
        super().__init__()
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(Layer(shape, dropout) for _ in range(shape.layers))})

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return what the last layer makes of each token, ``(N, T, width)``."""
        x: Tensor = self.embeddings(ids)
        for layer in self.layers:
            x = layer(x, bias_of(mask))
        return x

    @property
    def layers(self) -> list[Layer]:
        """Return the layers, from the embeddings up."""
        layers: Any = self.encoder["layer"]
        return list(layers)


def bias_of(mask: Tensor) -> Tensor:
    """Return what is added before a softmax over tokens, ``(N, 1, 1, T)``."""
    return (mask[:, None, None, :].float() - 1) * _FAR


def pooled(x: Tensor, mask: Tensor) -> Tensor:
    """Return mean and greatest over the tokens, ``(N, 2 * width)``."""
    real = mask[:, :, None].float()
    mean = (x * real).sum(1) / real.sum(1).clamp(min=1)
    return torch.cat([mean, (x - (1 - real) * _FAR).amax(1)], 1)


class Bottom(nn.Module):
    """What is not taught: the embeddings and the first layers of an encoder."""

    def __init__(self, encoder: Encoder, n_taught: int) -> None:
        super().__init__()
        self.embeddings = encoder.embeddings
        self.layers = nn.ModuleList(encoder.layers[: encoder.shape.layers - n_taught])

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the last two layers' tokens, pooled ``(N, 4 * width)``, and the last one's ``(N, T, width)``."""
        x: Tensor = self.embeddings(ids)
        before = x
        for layer in self.layers:
            before, x = x, layer(x, bias_of(mask))
        return torch.cat([pooled(before, mask), pooled(x, mask)], 1), x


class Top(nn.Module):
    """What is taught of a transformer: its last layers, and a linear map from mean and greatest to the classes."""

    def __init__(self, encoder: Encoder, n_taught: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(encoder.layers[encoder.shape.layers - n_taught :])
        self.norm = nn.LayerNorm(2 * encoder.shape.width)
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(2 * encoder.shape.width, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``(N, classes)`` of what :class:`Bottom` gives."""
        for layer in self.layers:
            x = layer(x, bias_of(mask))
        logits: Tensor = self.linear(self.drop(self.norm(pooled(x, mask))))
        return logits


class TwoWayLstm(nn.Module):
    """Long short-term memories forwards and backwards over what each piece means (Graves and Schmidhuber 2005).

    Two networks of one direction each: the second reads the text turned round within its own length, so that padding
    never comes first, and an exported graph runs at any length.
    """

    def __init__(self, width: int, hidden: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.read = nn.Linear(width, hidden)
        self.there = nn.LSTM(hidden, hidden, batch_first=True)
        self.back = nn.LSTM(hidden, hidden, batch_first=True)
        self.drop = nn.Dropout(dropout)
        self.linear = nn.Linear(4 * hidden, n_classes)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Return logits ``(N, classes)`` of embeddings ``(N, T, width)``."""
        x = torch.tanh(self.read(self.drop(x)))
        # Of n tokens, the t-th from the end; padding keeps to itself, wherever it goes.
        turned = (mask.sum(1, keepdim=True) - 1 - torch.arange(x.shape[1], device=x.device)).clamp(min=0)
        index = turned[:, :, None].expand(-1, -1, x.shape[2])
        states = torch.cat([self.there(x)[0], self.back(x.gather(1, index))[0].gather(1, index)], 2)
        logits: Tensor = self.linear(self.drop(pooled(states, mask)))
        return logits


class PieceWeights(nn.Module):
    """TF-IDF of word pieces (Salton and Buckley 1988), and a linear map to the classes, from token numbers alone.

    A piece that stands there c times weighs (1 + log c) idf, and a text has the length 1, as scikit-learn has it with
    ``sublinear_tf``. Each of the c places carries its share. Pieces with the weight 0 are not there at all: padding,
    and [MASK], so that a hidden word is a missing one.
    """

    def __init__(self, n_pieces: int, n_classes: int) -> None:
        super().__init__()
        self.idf = nn.Parameter(torch.zeros(n_pieces), requires_grad=False)
        self.map = nn.Embedding(n_pieces, n_classes)
        self.bias = nn.Parameter(torch.zeros(n_classes))

    def forward(self, ids: Tensor) -> Tensor:
        """Return logits ``(N, classes)`` of ``ids`` ``(N, T)``."""
        times = (ids[:, :, None] == ids[:, None, :]).float().sum(2)
        weight = (1 + times.log()) * self.idf[ids]
        length = (weight**2 / times).sum(1, keepdim=True).sqrt().clamp(min=1e-9)
        logits: Tensor = ((weight / times / length)[:, :, None] * self.map(ids)).sum(1) + self.bias
        return logits


class NoteNetwork(nn.Module):
    """Everything in one graph: each chosen part's logits, and their mean.

    Args:
        bottom: the embeddings, and what is below ``transformer``.
        parts: one or more of ``linear``, ``probe`` (of what is pooled), ``lstm``, ``transformer``.
        window: how many tokens the networks read; ``linear`` counts all.
    """

    def __init__(self, bottom: Bottom, parts: dict[str, nn.Module], window: int) -> None:
        super().__init__()
        self.bottom, self.parts, self.window = bottom, nn.ModuleDict(parts), window

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``logits`` ``(N, classes)`` and ``parts`` ``(N, parts, classes)``."""
        seen, real = ids[:, : self.window], mask[:, : self.window]
        whole, tokens = self.bottom(seen, real)
        given = {
            "linear": (ids,),
            "probe": (whole,),
            "lstm": (self.bottom.embeddings.word_embeddings(seen), real),
            "transformer": (tokens, real),
        }
        each = torch.stack([part(*given[name]) for name, part in self.parts.items()], 1)
        return each.mean(1), each
