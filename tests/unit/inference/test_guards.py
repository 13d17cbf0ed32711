from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import sklearn.covariance
import sklearn.decomposition
import sklearn.preprocessing

from medviewer.domain.answer import GuardResult
from medviewer.domain.case import Case
from medviewer.domain.study import Caveat, UltrasoundRegion
from medviewer.inference import guards
from medviewer.inference.card import Card, OodSpec, ResidualSpec, TextureSpec, read_card
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.guard_texts import TEXTS
from medviewer.inference.texture import N_TEXTURE, texture
from tests import fakes


@pytest.fixture
def card(model_folder: Path) -> Card:
    return read_card(model_folder)


def checked(case: object, card: Card, language: str = "en") -> dict[str, GuardResult]:
    results = guards.check_input(case, case.images[0], card, language)  # type: ignore[attr-defined,arg-type]
    assert len({result.code for result in results}) == len(results)
    return {result.code: result for result in results}


def test_a_fitting_image_passes_every_check(card: Card) -> None:
    found = checked(fakes.make_case(), card)
    assert set(found) == {"modality", "body_part", "view", "photometric_interpretation", "age"}
    assert {result.level for result in found.values()} == {"ok"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modality": "CT"}, "modality"),
        ({"body_part_examined": "HAND"}, "body_part"),
        ({"view_position": "LL"}, "view"),
        ({"view_position": "LATERAL"}, "view"),
        ({"photometric_interpretation": "PALETTE COLOR"}, "photometric_interpretation"),
    ],
)
def test_a_wrong_image_is_refused_with_what_it_is(card: Card, change: dict[str, str], code: str) -> None:
    result = checked(fakes.make_case(**change), card)[code]
    assert result.level == "abstain"
    assert next(iter(change.values())) in result.text


@pytest.mark.parametrize("value", ["pa", " PA ", "AP"])
def test_case_and_blanks_do_not_matter(card: Card, value: str) -> None:
    assert checked(fakes.make_case(view_position=value), card)["view"].level == "ok"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"modality": ""}, "modality.unknown"),
        ({"body_part_examined": ""}, "body_part.unknown"),
        ({"view_position": " "}, "view.unknown"),
        ({"age_years": None}, "age.unknown"),
        ({"age_years": None, "ages_told": (3, 34)}, "age.contradiction"),
        ({"has_burnt_in_annotation": True}, "burnt_in_annotation"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7"}, "secondary_capture"),
        ({"sop_class_uid": "1.2.840.10008.5.1.4.1.1.7.2"}, "secondary_capture"),
    ],
)
def test_a_doubt_is_said_until_the_reader_confirms_it(card: Card, change: dict[str, object], code: str) -> None:
    case = fakes.make_case(**change)  # type: ignore[arg-type]
    assert checked(case, card)[code].level == "warn"
    confirmed = checked(replace(case, confirmed=frozenset({code})), card)[code]
    assert confirmed.level == "ok"
    assert "confirmed" in confirmed.text


@pytest.mark.parametrize(
    ("view", "orientation", "level"),
    [
        ("", ("A", "F"), "abstain"), ("", ("PF", "F"), "abstain"), ("PA", ("P", "F"), "abstain"),
        ("", ("L", "F"), "warn"), ("", ("LA", "F"), "warn"), ("PA", ("L", "F"), "ok"), ("", None, "warn"),
    ],
)  # fmt: skip
def test_a_lateral_film_is_refused_whatever_word_is_missing(
    card: Card, view: str, orientation: tuple[str, str] | None, level: str
) -> None:
    case = fakes.make_case(view_position=view, patient_orientation=orientation)
    results = guards.check_input(case, case.images[0], card)
    (result,) = [one for one in results if one.code.startswith("view")]
    assert result.level == level
    if level == "abstain":
        assert "lateral" in result.text


def test_an_image_whose_uid_another_file_has_too_is_refused(card: Card) -> None:
    case = fakes.make_case()
    frame = replace(case.images[0], caveats=(Caveat("uid.duplicate", "Another file claims to be this very image."),))
    assert guards.is_abstention(guards.check_input(replace(case, images=(frame,)), frame, card))


def test_a_file_that_is_no_dicom_is_not_analysed_until_somebody_says_what_it_is(card: Card) -> None:
    case = fakes.make_case(modality="")
    frame = replace(case.images[0], caveats=(Caveat("identity.none", "No patient data in this file."),))
    case = replace(case, images=(frame,))
    assert guards.is_abstention(guards.check_input(case, frame, card))
    case = replace(case, confirmed=frozenset({"modality.unknown"}))
    assert not guards.is_abstention(guards.check_input(case, frame, card))


def test_a_refusal_cannot_be_confirmed_away(card: Card) -> None:
    case = replace(fakes.make_case(view_position="LL"), confirmed=frozenset({"view", "view.unknown", "view.abstain"}))
    assert checked(case, card)["view"].level == "abstain"


@pytest.mark.parametrize(
    ("age", "level", "text"),
    [
        (64.3, "warn", "Validated on ages 1-5; this patient is 64."),
        (1.0, "ok", ""),
        (5.9, "ok", ""),
        (6.0, "warn", "Validated on ages 1-5; this patient is 6."),
        (0.5, "warn", "Validated on ages 1-5; this patient is 0.5."),
    ],
)
def test_the_age_is_told_in_numbers(card: Card, age: float, level: str, text: str) -> None:
    result = checked(fakes.make_case(age_years=age), card)["age"]
    assert result.level == level
    assert text in result.text


def test_an_age_that_is_no_number_is_unknown(card: Card) -> None:
    assert checked(fakes.make_case(age_years=float("nan")), card)["age.unknown"].level == "warn"


def test_sentences_come_in_chinese(card: Card) -> None:
    assert (
        checked(fakes.make_case(age_years=64), card, "zh")["age"].text == "该模型在 1-5 岁人群中验证；该患者为 64 岁。"
    )


def test_every_sentence_has_both_languages_and_the_same_facts() -> None:
    for code, text in TEXTS.items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(said) if name} for said in (text.en, text.zh)]
        assert text.zh, code
        assert fields[0] == fields[1], code


def test_a_colour_image_is_refused(card: Card) -> None:
    frame = replace(fakes.make_frame(), stored=np.zeros((4, 4, 3), np.uint8))
    case = replace(fakes.make_case(), images=(frame,))
    assert checked(case, card)["color"].level == "abstain"


OF_KIND = {
    "radiograph": {"modality": ("CR", "DX"), "view": ("PA", "AP")},
    "ultrasound": {"modality": ("US",), "view": ()},
    "mammography": {"modality": ("MG",), "view": ("CC",)},
}


def said_of(card: Card, kind: str, code: str, language: str, case: Case | None = None) -> str:
    """What is said to a card for ``kind`` of a colour image, or of ``case``."""
    narrow = replace(card, inputs=(replace(card.inputs[0], **OF_KIND[kind]),))
    in_color = replace(fakes.make_frame(), stored=np.zeros((4, 4, 3), np.uint8))
    return checked(case or replace(fakes.make_case(), images=(in_color,)), narrow, language)[code].text


@pytest.mark.parametrize(
    ("kind", "en", "zh"),
    [
        ("radiograph", "only for greyscale images (CR, DX).", "仅适用于灰度图像（CR, DX）。"),
        ("ultrasound", "only for greyscale images (US).", "仅适用于灰度图像（US）。"),
        ("mammography", "only for greyscale images (MG).", "仅适用于灰度图像（MG）。"),
    ],
)
def test_a_colour_image_is_told_which_kind_the_card_is_for(card: Card, kind: str, en: str, zh: str) -> None:
    assert said_of(card, kind, "color", "en") == f"The image is in colour; the model is {en}"
    assert said_of(card, kind, "color", "zh") == f"图像为彩色；该模型{zh}"


def test_a_card_that_names_no_modality_says_only_that_it_takes_grey(card: Card) -> None:
    free = replace(card, inputs=(replace(card.inputs[0], modality=()),))
    case = replace(fakes.make_case(), images=(replace(fakes.make_frame(), stored=np.zeros((4, 4, 3), np.uint8)),))
    assert checked(case, free)["color"].text == "The image is in colour; the model is only for greyscale images."


@pytest.mark.parametrize("language", ["en", "zh"])
def test_only_a_model_of_frontal_views_speaks_of_them(card: Card, language: str) -> None:
    word = {"en": "frontal", "zh": "正位"}[language]
    wrong, unknown = fakes.make_case(view_position="MLO"), fakes.make_case(view_position="")
    confirmed = replace(unknown, confirmed=frozenset({"view.unknown"}))
    for kind, is_frontal in (("radiograph", True), ("mammography", False)):
        said = {
            "wrong": said_of(card, kind, "view", language, wrong),
            "unknown": said_of(card, kind, "view.unknown", language, unknown),
            "confirmed": said_of(card, kind, "view.unknown", language, confirmed),
        }
        assert (word in said["wrong"], word in said["confirmed"]) == (is_frontal, is_frontal)
        assert is_frontal or word not in said["unknown"]
        assert all(("PA, AP" if is_frontal else "CC") in one for one in said.values())
    assert "view" not in "".join(one.code for one in checked_codes(card, "ultrasound", wrong))


def checked_codes(card: Card, kind: str, case: Case) -> list[GuardResult]:
    return list(checked(case, replace(card, inputs=(replace(card.inputs[0], **OF_KIND[kind]),))).values())


def test_no_image_is_refused(card: Card) -> None:
    (result,) = guards.check_input(replace(fakes.make_case(), images=()), None, card)
    assert (result.code, result.level) == ("no_image", "abstain")


def test_another_kind_of_object_is_refused(card: Card) -> None:
    spec = replace(card.inputs[0], sop_class_uids=("1.2.840.10008.5.1.4.1.1.1",))
    narrow = replace(card, inputs=(spec,))
    assert checked(fakes.make_case(sop_class_uid="1.2.3"), narrow)["sop_class"].level == "abstain"
    assert "sop_class" not in checked(fakes.make_case(sop_class_uid="1.2.840.10008.5.1.4.1.1.1"), narrow)


def test_a_sex_that_was_not_validated_is_warned_of(card: Card) -> None:
    girls = replace(card, population=replace(card.population, sexes=("F",)))
    assert checked(fakes.make_case(sex="M"), girls)["sex"].level == "warn"
    assert "sex" not in checked(fakes.make_case(sex="F"), girls)
    assert "sex.unknown" not in checked(fakes.make_case(sex="F"), girls)


@pytest.mark.parametrize("sex", [None, ""])
def test_a_sex_that_nobody_recorded_is_said_where_the_card_names_some(card: Card, sex: str | None) -> None:
    girls = replace(card, population=replace(card.population, sexes=("F",)))
    case = fakes.make_case(sex=sex)
    said = checked(case, girls)["sex.unknown"]
    assert (said.level, said.text) == (
        "warn", "Validated on patients of sex F; this patient's sex is not recorded.",
    )  # fmt: skip
    assert checked(replace(case, confirmed=frozenset({"sex.unknown"})), girls)["sex.unknown"].level == "ok"
    assert "sex.unknown" in [one.code for one in guards.check_population(case, girls)]
    assert "sex.unknown" not in checked(case, replace(card, population=replace(card.population, sexes=())))


def spaced(card: Card, low: float = 0.1, high: float = 0.2) -> Card:
    """A card for pixels of that size."""
    spec = card.inputs[0]
    return replace(card, inputs=(replace(spec, document={**spec.document, "spacing_mm": [low, high]}),))


@pytest.mark.parametrize(
    ("spacing", "level", "found"),
    [
        ((0.15, 0.15), "ok", "0.15 mm"), ((0.1, 0.2), "ok", "0.1 × 0.2 mm"), ((0.15, 0.3), "abstain", "0.15 × 0.3 mm"),
        ((0.05, 0.15), "abstain", "0.05 × 0.15 mm"), ((0.09996, 0.15), "abstain", "0.09996 × 0.15 mm"),
    ],
)  # fmt: skip
def test_pixels_of_another_size_than_the_card_says_are_refused(
    card: Card, spacing: tuple[float, float], level: str, found: str
) -> None:
    case = fakes.make_case(pixel_spacing_mm=spacing, spacing_source="at detector")
    said = checked(case, spaced(card))["spacing"]
    assert (said.level, found in said.text) == (level, True)
    assert "spacing" not in checked(case, card)


def test_pixels_of_unknown_size_are_doubted_until_the_reader_confirms(card: Card) -> None:
    said = checked(fakes.make_case(), spaced(card))["spacing.unknown"]
    assert said.level == "warn"
    assert said.text == "The file does not say how large a pixel is; the model is only for 0.1 to 0.2 mm."
    confirmed = replace(fakes.make_case(), confirmed=frozenset({"spacing.unknown"}))
    assert checked(confirmed, spaced(card))["spacing.unknown"].level == "ok"


def test_an_ultrasound_image_has_the_pixels_of_its_regions(card: Card) -> None:
    picture = UltrasoundRegion((0, 0), (39, 95), ("cm", "cm"), (0.015, -0.015))
    trace = UltrasoundRegion((40, 0), (79, 95), ("s", "cm/s"), (0.5, 3.0))

    def said(*regions: UltrasoundRegion) -> dict[str, GuardResult]:
        return checked(fakes.make_case(ultrasound_regions=regions), spaced(card))

    assert said(picture, trace)["spacing"].level == "ok"
    assert said(replace(picture, delta=(0.015, 0.03)))["spacing"].level == "abstain"
    assert said(trace)["spacing.unknown"].level == "warn"


@pytest.mark.parametrize(
    ("code", "level"),
    [
        ("truncated.rows", "abstain"),
        ("truncated", "abstain"),
        ("truncated.inside", "abstain"),
        ("jpeg2000.sign", "abstain"),
        ("photometric.guessed", "abstain"),
        ("sign.guessed", "abstain"),
        ("rescale.zero", "warn"),
    ],
)
def test_what_was_wrong_with_the_file_reaches_the_reader(card: Card, code: str, level: str) -> None:
    caveats = (Caveat(code, "Half of it is missing."), Caveat("geometry.incomplete", "No place."),
               Caveat("color.profile", "No profile."))  # fmt: skip
    frame = replace(fakes.make_frame(), caveats=caveats)
    found = checked(replace(fakes.make_case(), images=(frame,)), card)
    assert found[f"image.{code}"].level == level
    assert "Half of it is missing." in found[f"image.{code}"].text
    assert "image.geometry.incomplete" not in found
    assert "image.color.profile" not in found


def test_values_that_the_network_never_met_are_refused(card: Card) -> None:
    def level(value: float) -> str:
        return guards.check_range(np.full((1, 2, 2), value, np.float32), card)[0].level

    assert [level(value) for value in (0.0, 2.0, 2.1, -2.1, np.nan, np.inf)] == ["ok", "ok"] + ["abstain"] * 4
    assert guards.check_range(np.zeros((1, 2, 2), np.float32), replace(card, ranges={})) == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_no_number_is_no_result(value: float) -> None:
    fine = np.zeros((1, 2), np.float32)
    assert guards.check_outputs({"logits": fine}) == ()
    (result,) = guards.check_outputs({"logits": fine, "features": np.array([[0, value]], np.float32)})
    assert (result.code, result.level) == ("no_result", "abstain")


def test_the_distance_is_that_of_scikit_learn() -> None:
    chance = np.random.default_rng(2)
    seen = chance.normal(size=(200, 5)) @ chance.normal(size=(5, 5))
    peer = sklearn.covariance.EmpiricalCovariance().fit(seen)
    whitening = np.linalg.cholesky(peer.precision_).T
    statistics = guards.FeatureStatistics(peer.location_[None], whitening)
    new = chance.normal(size=(7, 5))
    np.testing.assert_allclose(statistics.distance(new), np.sqrt(peer.mahalanobis(new)), rtol=1e-6)


def test_the_nearest_class_counts() -> None:
    means = np.array([[0, 0], [10, 0]], np.float32)
    statistics = guards.FeatureStatistics(means, np.eye(2, dtype=np.float32))
    np.testing.assert_allclose(statistics.distance(np.array([[9.0, 0.0], [3.0, 4.0]])), [1, 5])


@pytest.mark.parametrize(("feature", "level"), [(0.0, "ok"), (3.0, "warn"), (9.0, "abstain"), (np.nan, "abstain")])
def test_strange_images_are_warned_of_and_then_refused(feature: float, level: str) -> None:
    statistics = guards.FeatureStatistics(np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    spec = OodSpec("ood.npz", "mahalanobis", "features", warn_above=2, abstain_above=5)
    result = guards.check_distribution(np.array([[feature]], np.float32), statistics, spec)
    assert (result.code, result.level) == ("out_of_distribution", level)


def test_the_residual_is_the_reconstruction_error_of_scikit_learn() -> None:
    chance = np.random.default_rng(3)
    seen = chance.normal(size=(200, 6)) @ chance.normal(size=(6, 6)) + 5
    scaler = sklearn.preprocessing.StandardScaler().fit(seen)
    peer = sklearn.decomposition.PCA(2).fit(scaler.transform(seen))
    statistics = guards.ResidualStatistics(scaler.mean_, scaler.scale_, peer.components_)
    new = scaler.transform(chance.normal(size=(7, 6)))
    expected = np.linalg.norm(new - peer.inverse_transform(peer.transform(new)), axis=1)
    np.testing.assert_allclose(statistics.distance(scaler.inverse_transform(new)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("feature", "level"), [([9, 0], "ok"), ([0, 3], "warn"), ([0, 9], "abstain"), ([0, np.nan], "abstain")]
)
def test_what_lies_outside_is_warned_of_and_then_refused(feature: list[float], level: str) -> None:
    directions = np.array([[1, 0]], np.float16)
    statistics = guards.ResidualStatistics(np.zeros(2, np.float32), np.ones(2, np.float32), directions)
    spec = ResidualSpec("features", warn_above=2, abstain_above=5)
    result = guards.check_residual(np.array([feature], np.float32), statistics, spec)
    assert (result.code, result.level) == ("out_of_distribution.residual", level)


@pytest.mark.parametrize(("distance", "level"), [(1.0, "ok"), (3.0, "warn"), (9.0, "abstain"), (np.nan, "abstain")])
def test_what_is_composed_otherwise_is_warned_of_and_then_refused(distance: float, level: str) -> None:
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 28, 28)).astype(np.float32)
    away = np.zeros(N_TEXTURE)
    away[5] = distance
    means = (texture(picture[None]) + away).astype(np.float32)
    statistics = guards.FeatureStatistics(means, np.eye(N_TEXTURE, dtype=np.float32))
    result = guards.check_texture(picture, statistics, TextureSpec(warn_above=2, abstain_above=5))
    assert (result.code, result.level) == ("out_of_distribution.texture", level)


@pytest.mark.parametrize(
    ("band", "level"), [((0.6, 0.9), "ok"), ((0.1, 0.4), "ok"), ((0.4, 0.6), "warn"), ((0.4, 0.5), "warn")]
)
def test_an_answer_that_flips_is_warned_of(card: Card, band: tuple[float, float], level: str) -> None:
    result = guards.check_stability(card.labels[0], band)
    assert (result.code, result.level) == ("stability", level)


@pytest.mark.parametrize("grey", [0.0, -1.0, 0.3, 4095.0])
def test_an_image_of_one_grey_is_refused_and_the_faintest_picture_is_not(grey: float) -> None:
    flat = np.full((1, 28, 28), grey, np.float32)
    picture = flat.copy()
    picture[0, 5, 7] += max(1.0, abs(grey)) / 255
    (result,) = guards.check_content([picture, flat])
    assert (result.code, result.level) == ("flat", "abstain")
    assert guards.check_content([picture]) == ()
    assert guards.check_content([]) == ()
    assert guards.check_content([np.float32(flat + 1e-6)]) != ()  # what resizing leaves of rounding


@pytest.mark.parametrize("stored", [0, 100, 4095])
def test_no_model_is_asked_about_an_image_of_one_grey(model_folder: Path, stored: int) -> None:
    engine = fakes.FakeEngine(Catalogue([model_folder.parent]))
    case = fakes.make_case()
    assert engine.ask(case, fakes.MODEL_ID).status == "answer"
    pixels = np.full_like(case.images[0].stored, stored)
    pixels.setflags(write=False)
    frame = replace(case.images[0], stored=pixels)
    for language, words in (("en", "one grey all over"), ("zh", "各处灰度相同")):
        answer = engine.ask(replace(case, images=(frame,)), fakes.MODEL_ID, language=language)
        assert (answer.status, answer.findings) == ("abstained", ())
        assert [words in guard.text for guard in answer.guards if guard.code == "flat"] == [True]
