"""Stays are encoded for training as the viewer encodes a patient's record."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch

from medviewer.domain.case import Case, Observation
from medviewer.inference.card import input_spec
from medviewer.inference.inputs import series, table
from medviewer.resources import models_dir
from medviewer.training.physionet import Stay, Stays
from medviewer.training.stay_evaluation import ScoredStays, describe_stays, summarise_stays
from medviewer.training.stay_networks import StayGru, StaySummary, squashed
from medviewer.training.stay_table import stays_table
from medviewer.training.stays import (
    FIELDS,
    VARIABLES,
    all_implausible,
    encode,
    implausible_values,
    input_documents,
)
from tests.stay_maker import ADMITTED, case_of, make_stays


def test_a_record_and_a_stay_of_the_same_values_are_the_same_arrays() -> None:
    stays = make_stays(10)
    documents = input_documents(stays)
    # The viewer's grid begins with the first value; a heart rate at admission makes that the admission here.
    stay = replace(stays[3], observations=((0.0, "HR", 80.0), *stays[3].observations))
    case = case_of(stay)
    height = Observation("8302-2", "Height", 1.70, "m", ADMITTED)
    case = replace(case, observations=(*case.observations, height))
    hours, about = (input_spec(document) for document in documents)
    raw = series.pull(case, hours)
    row = table.pull(case, about)
    assert isinstance(raw, series.SeriesRaw)
    assert isinstance(row, table.TableRaw)
    found = encode([stay], documents)
    assert np.allclose(series.encode(raw, hours).tensors["joined"], found.joined[0], atol=1e-6)
    served = table.encode(row, about).tensors
    assert np.allclose(np.concatenate([served["fields"], served["known"]]), found.fields[0], atol=1e-6)


@pytest.mark.parametrize("model_id", ["icu-forecast", "icu-mortality"])
def test_a_bundled_card_reads_magnesium_and_urine_as_they_were_learned(model_id: str) -> None:
    document = json.loads((models_dir() / model_id / "model.json").read_bytes())["inputs"][0]
    by_name = {one["name"]: one for one in document["variables"]}
    assert {one.name: (list(one.codes), one.unit) for one in VARIABLES} == {
        name: (one["codes"], one["unit"]) for name, one in by_name.items()
    }
    recorded = (
        Observation("8867-4", "Heart rate", 80.0, "/min", ADMITTED),
        Observation("19123-9", "Magnesium", 2.0, "mg/dL", ADMITTED),  # usual: mass in volume
        Observation("2601-3", "Magnesium", 0.82, "mmol/L", ADMITTED),  # the same, as amount of substance
        Observation("9187-6", "Urine output", 60.0, "mL", ADMITTED),
        Observation("9192-6", "Urine output 24 hour", 1500.0, "mL", ADMITTED),  # a whole day's, at one moment
    )
    spec = input_spec({**document, "least_values": 1})
    raw = series.pull(Case(observations=recorded, at=ADMITTED + timedelta(hours=document["hours"])), spec)
    assert isinstance(raw, series.SeriesRaw)
    names = [list(by_name)[column] for column in raw.columns]
    assert dict(zip(names, raw.values.tolist(), strict=True)) == {"HR": 80.0, "Mg": 2.0, "Urine": 60.0}
    assert abs(2.0 - by_name["Mg"]["mean"]) < 0.1 * by_name["Mg"]["std"]


def test_a_variable_that_nobody_has_is_marked_as_unseen() -> None:
    by_name = {one["name"]: one for one in input_documents(make_stays(10))[0]["variables"]}
    assert by_name["TroponinI"]["unseen"] is True
    assert "unseen" not in by_name["HR"]


def test_a_slip_of_the_pen_is_no_height() -> None:
    stays = make_stays(10)
    documents = input_documents(stays)
    wrong = replace(stays[0], descriptors={**stays[0].descriptors, "Height": 1.8})
    found = encode([stays[0], wrong], documents)
    column = FIELDS.index("Height")
    assert found.fields[:, len(FIELDS) + column].tolist() == [1.0, 0.0]
    assert found.fields[1, column] == 0.0


def test_values_that_nobody_can_have_are_counted_by_variable() -> None:
    stays = make_stays(10)
    documents = input_documents(stays)
    odd = ((1.0, "HR", 0.0), (2.0, "HR", 900.0), (3.0, "FiO2", 0.1), (3.0, "FiO2", 0.4), (4.0, "Unknown", 1e9))
    wrong = replace(stays[0], descriptors={**stays[0].descriptors, "Height": 1.8}, observations=odd)
    assert implausible_values([stays[1], wrong], documents) == [{}, {"HR": 2, "FiO2": 1, "Height": 1}]
    assert all_implausible([wrong, stays[1], wrong], documents) == {"FiO2": 2, "HR": 4, "Height": 2}
    columns = stays_table(Path(), {"a": Stays("set-a", (stays[1], wrong), "")}, "a").columns
    told = {name: list(values) for name, values in columns.items() if name.startswith("implausible")}
    assert told == {
        "implausible FiO2 (1 values)": [0, 1],
        "implausible HR (2 values)": [0, 2],
        "implausible Height (1 values)": [0, 1],
    }


def test_stays_that_are_there_twice_are_named_and_of_one_patient() -> None:
    stays = make_stays(40, seed=1)
    nothing = [Stay(number, {}, (), False) for number in (8, 9)]  # of whom nothing is known: not the same stay
    copies = [replace(stay, record_id=stay.record_id + 500) for stay in stays]
    copies[0] = replace(copies[0], died=not stays[0].died)
    chance = np.random.default_rng(0)
    said = np.clip(0.3 * np.array([bool(stay.died) for stay in stays]) + 0.6 * chance.random(40), 0, 1)

    def scored(*parts: list[Stay]) -> ScoredStays:
        every = [stay for part in parts for stay in part]
        probability = np.concatenate([said, said, [0.5, 0.5]])[: len(every)]
        truth = np.array([bool(stay.died) for stay in every])
        return ScoredStays(every, truth, probability, np.zeros((len(every), 1)))

    data = describe_stays(Path(), None, scored(stays, copies, nothing), "d")
    assert (data["n"], data["n_patients"]) == (82, 42)
    pairs = [[str(stay.record_id), str(stay.record_id + 500)] for stay in stays]
    assert data["copies"] == pairs
    assert data["contradicted"] == pairs[:1]
    assert describe_stays(Path(), None, scored(stays), "d")["copies"] == []
    copies[0] = replace(copies[0], died=stays[0].died)
    wide, found = (
        summarise_stays(one, 0.5)["metrics"]["auc"]["ci95"] for one in (scored(stays), scored(stays, copies))
    )
    assert found == wide


def test_the_summary_is_what_its_words_say() -> None:
    n = 2
    joined = torch.zeros(1, 4, 3 * n)
    joined[0, :, 0] = torch.tensor([0.0, 1.0, 1.0, 3.0])  # carried into the third hour
    joined[0, [1, 3], n] = 1.0
    joined[0, :, 2 * n] = torch.tensor([1.0, 0.0, 0.25, 0.0])
    joined[0, :, 2 * n + 1] = 1.0
    fields = torch.tensor([[7.0]])
    found = StaySummary(n)(joined, fields)[0]
    one, three = float(squashed(torch.tensor(1.0))), float(squashed(torch.tensor(3.0)))
    mean = (one + three) / 2
    first, second, whole = (found[8 * i : 8 * i + 8].reshape(4, n)[:, 0].tolist() for i in range(3))
    assert np.allclose(first, [one, one, one, 0.5])
    assert np.allclose(second, [three, three, three, 0.5])
    assert np.allclose(whole, [one, three, mean, 0.5])
    rest = found[24:]
    assert np.allclose(rest[:6:2], [np.sqrt(((one - mean) ** 2 + (three - mean) ** 2) / 2), three, three - one])
    assert rest[6] == 7.0  # the patient's fields
    assert rest[7:].tolist() == [0.0, 1.0]  # how old the last values are
    never = found[:24].reshape(3, 4, n)[:, :, 1]
    assert torch.equal(never, torch.zeros(3, 4))  # and "measured 0 times" says that the zeros are nothing


def test_a_stay_is_judged_alike_alone_and_among_others() -> None:
    stays = make_stays(6)
    tensors = encode(stays, input_documents(stays))
    torch.manual_seed(0)
    net = StayGru(len(VARIABLES), tensors.fields.shape[1]).eval()
    with torch.inference_mode():
        together = net(torch.from_numpy(tensors.joined), torch.from_numpy(tensors.fields))
        alone = [net(torch.from_numpy(tensors.joined[[i]]), torch.from_numpy(tensors.fields[[i]])) for i in range(6)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)
