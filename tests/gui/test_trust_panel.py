"""How far a finding can be believed: four signs, this patient beside the validated, and people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest

from medviewer.domain.answer import Answer, Finding, GuardResult, Neighbours
from medviewer.gui.cards import SignalRow
from medviewer.gui.catalogue_rows import row_of
from medviewer.gui.findings_panel import FindingsPanel
from medviewer.gui.trust_panel import People, TrustCard, Validation, share_words, signs
from medviewer.inference.card import Text
from medviewer.inference.catalogue import Catalogue
from medviewer.inference.predictive import Accuracy, Bounded
from tests import data_models
from tests.gui import panel_states as made
from tests.gui.seen import all_words, show

MEASURED = Accuracy(
    Bounded(0.97, 0.95, 0.99), Bounded(0.96, 0.93, 0.99), 457, Text("Held-out patients; chose nothing", "留出患者")
)
CHILDREN = Validation((1, 5), ("F", "M"), ("AP", "PA"), {"Pneumonia": MEASURED})


def panel_with(qtbot, validation: Validation | None, worth: dict[str, dict[str, str]] | None = None) -> FindingsPanel:
    row = replace(made.MODELS[0], validation=validation, worth=worth or {})
    panel = FindingsPanel((row,), made.METHODS, {})
    qtbot.addWidget(panel)
    return panel


def card_of(panel: FindingsPanel) -> TrustCard:
    found = [one for one in panel.findChildren(TrustCard) if not one.isHidden()]
    assert len(found) == 1
    return found[0]


def levels(answer: Answer, finding: Finding = made.PNEUMONIA) -> list[str]:
    return [sign.level for sign in signs(answer, finding)]


def test_the_signs_stand_as_the_checks_do() -> None:
    assert levels(made.answer()) == ["good", "caution", "good", "good"]
    codes = ("view.unknown", "age", "out_of_distribution.residual")
    for place, code in enumerate(codes):
        doubtful = made.answer(guards=(GuardResult(code, "warn", "Hm."),))
        expected = ["info", "info", "info", "good"]
        expected[place] = "caution"
        assert levels(doubtful) == expected
    known = made.answer(guards=(GuardResult("learned_from", "warn", "Hm."),))
    assert levels(known) == ["info", "info", "caution", "good"]
    crossing = replace(made.PNEUMONIA, stability=(0.2, 0.9))
    assert levels(made.answer(guards=()), crossing) == ["info", "info", "info", "caution"]
    assert levels(made.answer(guards=()), replace(made.PNEUMONIA, stability=None))[3] == "info"


def test_what_was_not_checked_never_looks_good(qtbot) -> None:
    panel = panel_with(qtbot, CHILDREN)
    show(panel, made.answered(said=made.answer(guards=())))
    assert all_words(card_of(panel)).count("not checked") == 3


def test_this_patient_stands_beside_the_validated(qtbot) -> None:
    panel = panel_with(qtbot, CHILDREN)
    show(panel, made.answered())
    words = all_words(card_of(panel))
    for needed in ("1 to 5 years", "63 years", "female, male", "AP, PA", "unknown"):
        assert needed in words
    cautions = [row for row in card_of(panel).findChildren(SignalRow) if row.level == "caution"]
    assert "unlike this one" in cautions[0].text  # the figures were measured on children


def test_the_share_follows_how_common_the_reader_says_it_is_and_is_kept(qtbot) -> None:
    panel = panel_with(qtbot, CHILDREN)
    show(panel, made.answered())
    card = card_of(panel)
    card.slider.setValue(50)
    words = all_words(card)
    assert "Suppose that 50 of 100 such patients have it:" in words
    # 0.97 * 50 = 48.5 -> 48 of 50; 0.96 * 50 = 48 of 50; 48 / (48 + 2) by the exact figures 0.9604
    assert "Flagged 50, of whom 48 have it: 96% (93–99%)" in words
    assert "Not flagged 50, of whom 48 do not have it: 97% (95–99%)" in words
    assert (card.flagged.sick, card.flagged.well, card.clear.sick, card.clear.well) == (48, 2, 2, 48)
    show(panel, made.opened())
    show(panel, made.answered())
    assert card_of(panel).slider.value() == 50


def test_the_training_cases_most_like_this_one_are_dots_and_a_sentence(qtbot) -> None:
    panel = panel_with(qtbot, CHILDREN)
    near = Neighbours(20, 17, "Of the 20 training cases most like this one, 17 had the label “Pneumonia”.")
    show(panel, made.answered(said=made.answer(findings=(replace(made.PNEUMONIA, neighbours=near),))))
    card = card_of(panel)
    assert near.sentence in all_words(card)
    (dots,) = [one for one in card.findChildren(People) if one.accessibleName() == near.sentence]
    assert (dots.sick, dots.well) == (17, 3)
    assert "Counted on" not in all_words(card)
    known = "held-out patients (splits tune, block and report), as their films are"
    near = replace(near, on=known)
    told = made.answered(said=made.answer(findings=(replace(made.PNEUMONIA, neighbours=near),)))
    show(panel, told)
    assert f"Counted on: {known}" in all_words(card_of(panel))
    show(panel, replace(told, language="zh"))
    assert "统计来源：留出患者" in all_words(card_of(panel))
    show(panel, made.answered())
    assert "Training cases most like this one" not in all_words(card_of(panel))


@pytest.mark.parametrize("flagged", [True, False])
def test_the_group_of_this_patient_is_marked(qtbot, flagged: bool) -> None:
    panel = panel_with(qtbot, CHILDREN)
    finding = replace(made.PNEUMONIA, flagged=flagged)
    show(panel, made.answered(said=made.answer(finding)))
    card = card_of(panel)
    assert (card.flagged.is_this_one, card.clear.is_this_one) == (flagged, not flagged)


def test_where_the_card_says_nothing_nothing_is_invented(qtbot) -> None:
    panel = panel_with(qtbot, None)
    show(panel, made.answered())
    words = all_words(card_of(panel))
    assert "Suppose" not in words
    assert "Flagged" not in words
    assert "this patient" not in words


def test_a_model_of_stacks_has_its_population_and_figures_and_says_that_no_band_is_measured(qtbot) -> None:
    panel = panel_with(qtbot, replace(CHILDREN, views=(), is_of_one_image=False))
    show(panel, made.answered(said=made.answer(replace(made.PNEUMONIA, stability=None))))
    words = all_words(card_of(panel))
    assert "1 to 5 years" in words
    assert "Suppose that" in words
    assert "measured on 457 cases" in words
    assert "is not measured for this model: that is done for models of a single image only." in words
    panel = panel_with(qtbot, CHILDREN)
    show(panel, made.answered())
    assert "a single image only" not in all_words(card_of(panel))
    assert "measured on 457 images" in all_words(card_of(panel))


@pytest.mark.parametrize(("kind", "views"), [("volume", ()), ("film", ("PA",)), ("views", ())])
def test_what_a_card_says_of_its_validation_is_shown_whatever_it_takes(
    tmp_path: Path, kind: str, views: tuple[str, ...]
) -> None:
    data_models.make(kind, tmp_path / kind)
    (entry,) = Catalogue([tmp_path]).entries
    validation = row_of(entry).validation
    assert validation is not None
    assert (validation.ages, validation.views, validation.is_of_one_image) == ((1, 90), views, False)
    assert set(validation.accuracy) == {"first", "second"}
    assert validation.accuracy["first"].n == 100


def test_it_always_says_that_no_warning_is_no_promise(qtbot) -> None:
    panel = panel_with(qtbot, CHILDREN)
    for guards in (made.GUARDS, (GuardResult("modality.ok", "ok", "A radiograph."),), ()):
        show(panel, made.answered(said=made.answer(guards=guards)))
        assert "No warning does not mean that the model knows patients like this one." in all_words(card_of(panel))


def test_a_share_is_never_rounded_to_certainty() -> None:
    assert share_words(Bounded(0.9971, 0.98, 1.0)) == ">99% (98–100%)"
    assert share_words(Bounded(0.002)) == "<1%"
    assert share_words(Bounded(0.9985, 0.9968, 0.99996)) == ">99% (99.7–99.996%)"
    assert share_words(Bounded(0.004, 0.0, 0.0049)) == "<1% (0–0.5%)"
    assert share_words(Bounded(1.0, 0.004, 0.5)) == "100% (0.4–50%)"
    assert share_words(Bounded(float("nan"))) == "not defined"


def test_beside_a_heat_map_stands_what_was_found_over_many_images(qtbot) -> None:
    words = {"grad-cam": {"en": "On 200 held-out images it did so and so.", "zh": "在 200 张留出图像上如此。"}}
    panel = panel_with(qtbot, CHILDREN, words)
    show(panel, made.explained())
    assert "On 200 held-out images it did so and so." in all_words(panel)
    show(panel_with(qtbot, CHILDREN), made.explained())
    other = panel_with(qtbot, CHILDREN)
    show(other, made.explained())
    assert "was not assessed for this model" in all_words(other)


def test_methods_that_were_asked_too_say_how_far_they_agree(qtbot) -> None:
    panel = panel_with(qtbot, CHILDREN)
    show(panel, made.explained())
    assert "Agreement with" not in all_words(panel)
    state = made.explained()
    other = replace(made.attribution(), method="occlusion", method_title="Occlusion")
    key = made.subject(state, "occlusion", "Pneumonia")
    show(panel, replace(state, attributions=MappingProxyType({**state.attributions, key: other})))
    assert "Agreement with Occlusion: 1.00" in all_words(panel)
