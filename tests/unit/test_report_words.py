"""The sentences of the verdict, and the notes before it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from edgecarbon.charts.style import FLAG_LABELS, flag_words
from edgecarbon.config.quantities import Distribution
from edgecarbon.report import words
from edgecarbon.store.schema import FLAGS

ATTRIBUTIONS = ("sunk", "marginal_wear", "time_share", "used_hours")


def rows(*ratios: float | None, sure: bool = True, cloud: str = "gpu", edge: str = "phone") -> list[dict[str, Any]]:
    """Verdict rows of one pair, a median ratio an attribution; where `sure`, the side by the median has won."""
    known = [ratio for ratio in ratios if ratio is not None]
    return [
        {
            "workload": "opt", "scenario": "default", "cloud_device": cloud, "edge_device": edge, "attribution": name,
            "ratio_cloud_over_edge": ratio,
            "winner": "unclear" if not sure or ratio is None else "edge" if ratio > 1 else "cloud",
            "flips": len({one > 1 for one in known}) > 1, "caveat": None,
        }
        for name, ratio in zip(ATTRIBUTIONS, ratios, strict=True)
    ]  # fmt: skip


def only(members: list[dict[str, Any]]) -> words.Verdict:
    (verdict,) = words.verdicts(members, measured=set())
    return verdict


def test_edge_wins_under_every_attribution() -> None:
    verdict = only(rows(4.0, 3.0, 2.5, 2.0))
    assert (verdict.kind, verdict.label) == ("edge", "The edge emits less")
    assert verdict.shown[0].sentence == "The edge emits 2.0 to 4.0 times less under every attribution."
    assert not verdict.shown[0].differs


def test_cloud_wins_by_the_inverse_of_the_ratio() -> None:
    verdict = only(rows(0.1, 0.1, 0.1, 0.05))
    assert verdict.kind == "cloud"
    assert verdict.shown[0].sentence == "The cloud emits 10 to 20 times less under every attribution."


def test_flip_names_both_sides_and_their_attributions() -> None:
    verdict = only(rows(2.0, 1.8, 1.2, 0.5))
    assert (verdict.kind, verdict.label) == ("flips", "It flips with the attribution")
    assert verdict.shown[0].sentence == (
        "The winner flips: the edge emits 1.2 to 2.0 times less under sunk, marginal wear and time share, "
        "the cloud emits 2.0 times less under used hours."
    )
    assert verdict.shown[0].differs


def test_flip_within_the_uncertainty_says_so() -> None:
    assert (
        only(rows(1.1, 1.1, 1.1, 0.9, sure=False)).shown[0].sentence.endswith(" It is not sure under any attribution.")
    )


def test_unclear_leans_without_claiming() -> None:
    verdict = only(rows(1.2, 1.2, 1.2, 1.2, sure=False))
    assert (verdict.kind, verdict.label) == ("unclear", "Too close to call")
    assert verdict.shown[0].sentence == ("The edge seems to emit 1.2 times less. It is not sure under any attribution.")


def test_one_unsure_attribution_makes_a_pair_unclear() -> None:
    members = rows(3.0, 3.0, 2.0, 1.1)
    members[-1]["winner"] = "unclear"
    verdict = only(members)
    assert verdict.kind == "unclear"
    assert verdict.shown[0].sentence.endswith("It is not sure under used hours.")


def test_absent_energy_has_no_ratio() -> None:
    assert only(rows(None, None, None, None)).shown[0].sentence == "No ratio: the energy of one side is absent."


def test_a_flip_is_never_hidden_behind_a_majority() -> None:
    members = (
        rows(0.1, 0.1, 0.1, 0.1, edge="a") + rows(0.1, 0.1, 0.1, 0.1, edge="b") + rows(2.0, 2.0, 2.0, 0.5, edge="c")
    )
    verdict = only(members)
    assert (verdict.kind, verdict.label) == ("flips", "The cloud emits less; 1 of 3 pairs flips")
    assert verdict.shown[0].edge == "c"
    assert verdict.summary == (
        "Of 3 pairs of devices, 1 flips with the attribution and 2 favour the cloud under every attribution."
    )


def test_pairs_that_disagree_depend_on_the_devices() -> None:
    verdict = only(rows(3.0, 3.0, 3.0, 3.0, edge="a") + rows(0.1, 0.1, 0.1, 0.1, edge="b"))
    assert (verdict.kind, verdict.label) == ("mixed", "It depends on the devices")


def test_pairs_of_one_side_and_unclear_ones_are_named_as_such() -> None:
    members = rows(0.1, 0.1, 0.1, 0.1, edge="a") + rows(0.9, 0.9, 0.9, 0.9, edge="b", sure=False)
    assert only(members).label == "The cloud, or too close to call"
    verdict = only(members + rows(2.0, 2.0, 2.0, 0.99, edge="c"))
    assert (verdict.kind, verdict.label) == ("flips", "The cloud, or too close to call; 1 of 3 pairs flips")
    assert "the cloud emits barely less under used hours" in verdict.shown[0].sentence


def test_pairs_with_a_measured_device_come_first_and_the_rest_is_counted() -> None:
    members = [row for number in range(6) for row in rows(0.1, 0.1, 0.1, 0.1, edge=f"edge{number}")]
    (verdict,) = words.verdicts(members, measured={"edge5"})
    assert verdict.shown[0].edge == "edge5"
    assert (len(verdict.shown), verdict.pairs) == (words.PAIRS_SHOWN, 6)


def device(**changed: Any) -> dict[str, Any]:
    usual = {
        "device": "laptop",
        "record_kind": "measured",
        "provenance": "measured",
        "energy_status": "complete",
        "flags": [],
        "repeats": 5,
    }
    return {**usual, **changed}


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        ([], ["This database holds no runs."]),
        ([device()], []),
        ([device(record_kind="modelled", provenance="modelled", repeats=1)], ["Nothing was run"]),
        ([device(provenance="estimated")], ["No energy sensor could be read on any device"]),
        ([device(), device(device="board", provenance="estimated")], ["No sensor could be read on board: its energy"]),
        ([device(flags=["short"])], ["The measured window was shorter than a reportable run on laptop"]),
        ([device(flags=["thermal_throttling"])], ["Heat throttled laptop"]),
        ([device(flags=["background_load"])], ["Other programs were at work on laptop"]),
        ([device(energy_status="partial")], ["The energy of laptop is partial"]),
        ([device(energy_status="absent", provenance="absent"), device(device="b")], ["There is no energy for laptop"]),
        ([device(repeats=1)], ["Every run was done once"]),
        ([device(), device(device="p", record_kind="modelled")], ["Modelled from data sheets and never run here: p"]),
    ],
)  # fmt: skip
def test_notes_say_what_weakens_the_verdict(devices: list[dict[str, Any]], expected: list[str]) -> None:
    notes = words.notes(devices)
    assert len(notes) == len(expected)
    for note, start in zip(notes, expected, strict=True):
        assert note.startswith(start)


def test_every_flag_has_a_label_and_a_sentence_of_reason() -> None:
    assert set(FLAG_LABELS) == set(words.FLAG_REASONS) == set(FLAGS)
    assert len(set(FLAG_LABELS.values())) == len(FLAG_LABELS)
    assert all(reason[0].isupper() and reason.endswith(".") for reason in words.FLAG_REASONS.values())
    assert flag_words(["thermal_throttling", "of-another-version"]) == ["throttled for heat", "of-another-version"]


def test_every_prior_has_words():
    assert set(words.PRIOR_WORDS) == {
        *get_args(Distribution),
        "student_t",
    }  # of the spread of repeats, which no scenario gives
