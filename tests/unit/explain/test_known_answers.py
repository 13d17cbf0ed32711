"""Each method on networks so simple that its map can be written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import pytest

from medviewer.domain.errors import ModelError, Stopped
from medviewer.domain.progress import StopToken, no_progress
from medviewer.explain import gradient_shap as shap
from medviewer.explain import rise as rise_module
from medviewer.explain.attention_rollout import attention_rollout
from medviewer.explain.grad_cam_plus_plus import grad_cam_plus_plus
from medviewer.explain.gradient_shap import gradient_shap
from medviewer.explain.input_x_gradient import input_x_gradient
from medviewer.explain.methods import METHODS
from medviewer.explain.question import Question, Saliency
from medviewer.explain.rise import draw_masks, rise
from medviewer.explain.saliency import saliency
from medviewer.explain.sampling import chance_of
from medviewer.explain.smooth_grad import COPIES, disagreement, draw_noise, smooth_grad
from medviewer.inference.card import Card, read_card
from tests import fakes

SIZE = 28
CHANCE = np.random.default_rng(3)
WEIGHTS = CHANCE.normal(size=(SIZE, SIZE)).astype(np.float32)
IMAGE = CHANCE.normal(size=(1, SIZE, SIZE)).astype(np.float32)
CONSTANT = 2.5


class Formula:
    """An engine whose network is a formula: the logit of images ``(n, rows, columns)``, its gradient, and its maps."""

    def __init__(self, score: Callable[[np.ndarray], np.ndarray], gradient: Any = None, **outputs: np.ndarray) -> None:
        self.score, self.gradient, self.outputs = score, gradient, outputs
        self.sizes: list[int] = []

    def run(self, model_id: str, inputs: Mapping[str, np.ndarray], **rest: Any) -> dict[str, np.ndarray]:
        assert model_id == fakes.MODEL_ID
        x = inputs["x"][:, 0]
        self.sizes.append(len(x))
        found = {name: np.repeat(value[None], len(x), axis=0) for name, value in self.outputs.items()}
        found["logits"] = self.score(x)[:, None].astype(np.float32)
        if self.gradient is not None:
            found["d_x"] = self.gradient(x)[:, None].astype(np.float32)
        return {name: found[name] for name in rest["outputs"]}


def linear(x: np.ndarray) -> np.ndarray:
    return np.tensordot(x.astype(np.float64), WEIGHTS, axes=2) + CONSTANT


def slope(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(WEIGHTS, x.shape)


def square(x: np.ndarray) -> np.ndarray:
    return (WEIGHTS * x.astype(np.float64) ** 2).sum(axis=(1, 2))


def slope_of_square(x: np.ndarray) -> np.ndarray:
    return 2 * WEIGHTS * x


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return read_card(fakes.make_model(tmp_path_factory.mktemp("models") / "fake"))


def ask(card: Card, engine: Formula, image: np.ndarray = IMAGE, stop: StopToken | None = None) -> Question:
    return Question(cast("Any", engine), card, image, 0, stop, no_progress)


def test_saliency_is_the_size_of_the_slope(card: Card) -> None:
    assert np.array_equal(saliency(ask(card, Formula(linear, slope))).values, np.abs(WEIGHTS))


def test_input_x_gradient_of_a_line_adds_up_to_the_logit(card: Card) -> None:
    found = input_x_gradient(ask(card, Formula(linear, slope))).values
    np.testing.assert_allclose(found, WEIGHTS * IMAGE[0], rtol=1e-6)
    assert found.sum() + CONSTANT == pytest.approx(linear(IMAGE)[0], rel=1e-4)


def test_smooth_grad_of_a_line_is_its_slope_with_its_sign(card: Card) -> None:
    found = smooth_grad(ask(card, Formula(linear, slope)))
    np.testing.assert_allclose(found.values, WEIGHTS, atol=1e-5)
    assert found.error == pytest.approx(0, abs=1e-9)


def test_smooth_grad_of_a_square_is_the_slope_at_the_mean_of_the_noisy_copies(card: Card) -> None:
    question = ask(card, Formula(square, slope_of_square))
    copies = IMAGE + draw_noise(IMAGE, chance_of(question, "smooth-grad"), COPIES)
    found = smooth_grad(question)
    np.testing.assert_allclose(found.values, 2 * WEIGHTS * copies.mean(axis=0)[0], atol=1e-4)
    assert found.error is not None
    assert 0 < found.error < 0.5
    spread = (copies - IMAGE).std() / np.ptp(IMAGE)
    assert spread == pytest.approx(0.15, rel=0.05)


def test_gradient_shap_of_a_line_is_the_weight_times_the_distance_from_the_mean_grey_drawn(card: Card) -> None:
    question = ask(card, Formula(linear, slope))
    greys = shap.draw(question, shap.SAMPLES).greys
    found = gradient_shap(question)
    np.testing.assert_allclose(found.values, WEIGHTS * (IMAGE[0] - greys.mean()), atol=1e-4)
    assert found.error == pytest.approx(0, abs=1e-4)


def test_gradient_shap_of_a_square_nearly_adds_up_and_says_how_far_it_does_not(card: Card) -> None:
    question = ask(card, Formula(square, slope_of_square))
    found = gradient_shap(question)
    greys = shap.draw(question, shap.SAMPLES).greys
    exact = WEIGHTS * (IMAGE[0] ** 2 - (greys**2).mean())
    assert np.corrcoef(found.values.ravel(), exact.ravel())[0, 1] > 0.99
    rise_of_logit = exact.sum()
    assert found.error == pytest.approx(abs(found.values.sum() - rise_of_logit) / abs(rise_of_logit), rel=1e-3)


def test_greys_and_places_lie_evenly_over_both(card: Card) -> None:
    """Each of 16 fields of pairs has its share of 48, for any image, and over images each pair is as likely as any."""
    all_greys, all_places = [], []
    for seed in range(40):
        image = np.random.default_rng(seed).normal(size=IMAGE.shape).astype(np.float32)
        drawn = shap.draw(ask(card, Formula(linear), image), 48)
        greys = (drawn.greys - image.min()) / np.ptp(image)
        assert np.array_equal((greys * 48).astype(int), np.arange(48))
        fields = np.histogram2d(greys, drawn.places, bins=4, range=[[0, 1], [0, 1]])[0]
        assert set(fields.ravel()) <= {2, 3, 4}
        all_greys.extend(greys)
        all_places.extend(drawn.places)
    fields = np.histogram2d(all_greys, all_places, bins=8, range=[[0, 1], [0, 1]])[0]
    assert fields.min() > 0.7 * fields.mean()
    assert fields.max() < 1.3 * fields.mean()


@pytest.mark.parametrize(
    "method", ["saliency", "input-x-gradient", "integrated-gradients", "smooth-grad", "gradient-shap"]
)
def test_what_averages_over_noise_or_greys_asks_for_exact_gradients(method: str, card: Card) -> None:
    """One of so many samples lies within rounding of a kink; a single gradient is not worth twice the time."""
    asked: list[tuple[str, bool]] = []

    class Noting(Formula):
        def run(self, model_id: str, inputs: Mapping[str, np.ndarray], **rest: Any) -> dict[str, np.ndarray]:
            asked.append((rest["role"], rest["is_exact"]))
            return super().run(model_id, inputs, **rest)

    next(row.run for row in METHODS if row.id == method)(ask(card, Noting(square, slope_of_square)))
    exact = {is_exact for role, is_exact in asked if role == "explain"}
    assert exact == {method in {"smooth-grad", "gradient-shap"}}
    assert not any(is_exact for role, is_exact in asked if role == "model")


def test_grad_cam_plus_plus_is_the_formula_of_the_paper(card: Card) -> None:
    """Two channels by hand: one rises at two places with different slopes, one falls and must not count."""
    feature_map = np.array([[[1.0, 0.0], [0.0, 3.0]], [[5.0, 5.0], [5.0, 5.0]]], np.float32)
    gradient = np.array([[[0.5, 0.0], [0.0, 0.25]], [[-1.0, -1.0], [-1.0, -1.0]]], np.float32)
    engine = Formula(linear, feature_map=feature_map, d_feature_map=gradient)
    # alpha = g^2 / (2 g^2 + sum(A) g^3): 0.25 / (0.5 + 4 * 0.125), 0.0625 / (0.125 + 4 * 0.015625)
    weight = 0.25 * 0.5 + 0.0625 / 0.1875 * 0.25
    np.testing.assert_allclose(grad_cam_plus_plus(ask(card, engine)).values, weight * feature_map[0], rtol=1e-6)


def test_grad_cam_plus_plus_refuses_features_below_zero(card: Card) -> None:
    feature_map = np.array([[[1.0, -0.5]]], np.float32)
    engine = Formula(linear, feature_map=feature_map, d_feature_map=np.ones_like(feature_map))
    with pytest.raises(ModelError, match="use Grad-CAM"):
        grad_cam_plus_plus(ask(card, engine))


def test_attention_rollout_is_what_the_network_gives(card: Card) -> None:
    flow = np.array([[0.7, 0.1], [0.1, 0.1]], np.float32)
    assert np.array_equal(attention_rollout(ask(card, Formula(linear, rollout=flow))).values, flow)


def test_rise_of_a_line_is_the_weight_of_what_its_masks_reveal(card: Card) -> None:
    """Exactly: the covariance of logit and mask, over the masks drawn, from numpy's own covariance."""
    question = ask(card, Formula(linear))
    chance = chance_of(question, "rise")
    masks = np.concatenate([draw_masks(chance, p.stop - p.start, (SIZE, SIZE)) for p in question.batches(1000)])
    flat = masks.reshape(1000, -1).astype(np.float64)
    scores = linear((IMAGE.mean() + masks * (IMAGE - IMAGE.mean())).astype(np.float32))
    expected = ((scores - scores.mean()) @ flat / 1000 / rise_module.OPEN).reshape(SIZE, SIZE)
    np.testing.assert_allclose(rise(question).values, expected, atol=1e-3 * np.abs(expected).max())


def test_rise_finds_the_one_place_that_matters_and_its_sign(card: Card) -> None:
    image = np.zeros((1, SIZE, SIZE), np.float32)
    image[0, 4:8, 16:20] = 1

    def of_spot(x: np.ndarray) -> np.ndarray:
        return x[:, 4:8, 16:20].sum(axis=(1, 2))

    found = rise(ask(card, Formula(of_spot), image))
    row, column = np.unravel_index(found.values.argmax(), found.values.shape)
    assert abs(row - 5.5) <= 2
    assert abs(column - 17.5) <= 2
    against = rise(ask(card, Formula(lambda x: -of_spot(x)), image))
    np.testing.assert_allclose(against.values, -found.values, atol=1e-6)
    assert found.error is not None
    assert found.error < 0.2


def test_rise_of_a_network_that_sees_nothing_is_flat_and_all_error(card: Card) -> None:
    found = rise(ask(card, Formula(lambda x: np.full(len(x), 7.0))))
    assert np.abs(found.values).max() < 1e-9
    assert found.error == 1


def test_masks_are_half_open_soft_and_shifted() -> None:
    masks = draw_masks(np.random.default_rng(0), 400, (56, 35))
    assert masks.shape == (400, 56, 35)
    assert masks.min() >= 0
    assert masks.max() <= 1
    assert masks.mean() == pytest.approx(0.5, abs=0.02)
    assert np.abs(masks.mean(axis=0) - 0.5).max() < 0.15, "no pixel is favoured"
    assert np.abs(np.diff(masks, axis=1)).max() <= 7 / 56 + 1e-6, "bilinear: a cell of 8 pixels from shut to open"


@pytest.mark.parametrize("method", ["smooth-grad", "gradient-shap", "rise"])
def test_chance_is_the_images_own(method: str, card: Card) -> None:
    """The same image has the same map, from another process too; another image has other draws."""
    other = IMAGE.copy()
    other[0, 0, 0] += 1e-6
    draws = [chance_of(ask(card, Formula(linear), image), method).random(4) for image in (IMAGE, IMAGE.copy(), other)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.array_equal(draws[0], draws[2])
    assert not np.array_equal(draws[0], chance_of(ask(card, Formula(linear)), "another").random(4))


@pytest.mark.parametrize("method", ["smooth-grad", "gradient-shap", "rise", "integrated-gradients", "occlusion"])
def test_long_methods_have_bounded_batches_progress_and_stop(method: str, card: Card) -> None:
    run: Callable[[Question], Saliency] = next(row.run for row in METHODS if row.id == method)
    engine, stop, told = Formula(square, slope_of_square), StopToken(), []

    def progress(done: int, total: int, _text: str) -> None:
        told.append((done, total))
        if len(told) == 3:
            stop.stop()

    with pytest.raises(Stopped):
        run(Question(cast("Any", engine), card, IMAGE, 0, stop, progress))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert all(0 <= done < total for done, total in told)
    n_runs = len(engine.sizes)
    run(ask(card, engine))
    assert max(engine.sizes) <= 8
    assert n_runs < len(engine.sizes) - n_runs, "the stop ended it early"


def test_disagreement_is_one_minus_the_correlation() -> None:
    a, b = CHANCE.normal(size=(2, 9, 9))
    assert disagreement(a, b) == pytest.approx(1 - np.corrcoef(a.ravel(), b.ravel())[0, 1])
    assert disagreement(a, np.ones((9, 9))) == 1
