"""The sentences of the verdict, and the notes before it."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from edgecarbon.config.quantities import Distribution
from edgecarbon.report import words
from edgecarbon.store.schema import FLAGS
from edgecarbon.vocabulary import FLAG_LABELS, PRIOR_WORDS, flag_words

ATTRIBUTIONS = ("sunk", "marginal_wear", "time_share", "used_hours")


def rows(*ratios: float | None, sure: bool = True, cloud: str = "gpu", edge: str = "phone") -> list[dict[str, Any]]:
    """Verdict rows of one pair, a median ratio an attribution; where `sure`, the side by the median has won."""
    known = [ratio for ratio in ratios if ratio is not None]
    return [
        {
            "workload": "opt", "scenario": "default", "cloud_device": cloud, "edge_device": edge, "attribution": name,
            "ratio_cloud_over_edge": ratio,
            "winner": "unclear" if not sure or ratio is None else "edge" if ratio > 1 else "cloud",
            "ratio_low": ratio and ratio / 1.5, "ratio_high": ratio and ratio * 1.5,
            "probability_edge_wins": None if ratio is None else 0.97 if ratio > 1 else 0.03,
            "flips": len({one > 1 for one in known}) > 1, "caveat": None, "bridged_by": [],
        }
        for name, ratio in zip(ATTRIBUTIONS, ratios, strict=True)
    ]  # fmt: skip


def only(members: list[dict[str, Any]]) -> words.Verdict:
    (verdict,) = words.verdicts(members, measured=set())
    return verdict


def test_edge_wins_under_every_attribution() -> None:
    verdict = only(rows(4.0, 3.0, 2.5, 2.0))
    assert (verdict.kind, verdict.label) == ("edge", "The edge emits less")
    assert verdict.shown[0].sentence == (
        "The edge emits 2.5 times less under time share (median; 5–95 %: 1.7–3.8; less in 97 % of the draws). So under every "
        "other attribution: 4.0 times less under sunk, 3.0 times less under marginal wear, 2.0 times less under used hours."
    )
    assert not verdict.shown[0].differs


def test_cloud_wins_by_the_inverse_of_the_ratio() -> None:
    verdict = only(rows(0.1, 0.1, 0.1, 0.05))
    assert verdict.kind == "cloud"
    assert verdict.shown[0].sentence == (
        "The cloud emits 10 times less under time share (median; 5–95 %: 6.7–15.0; less in 97 % of the draws). So under every "
        "other attribution: 10 times less under sunk and marginal wear, 20 times less under used hours."
    )


def test_a_scenario_of_one_attribution_speaks_of_it_alone() -> None:
    assert only(rows(2.0, None, None, None)[:1]).shown[0].sentence == (
        "The edge emits 2.0 times less under sunk (median; 5–95 %: 1.33–3.00; less in 97 % of the draws)."
    )


def test_flip_names_both_sides_and_their_attributions() -> None:
    verdict = only(rows(2.0, 1.8, 1.2, 0.5))
    assert (verdict.kind, verdict.label) == ("flips", "It flips with the attribution")
    assert verdict.shown[0].sentence == (
        "The edge emits 1.2 times less under time share (median; 5–95 %: 1.2 times more to 1.8 times less; less in 97 % of "
        "the draws). The winner flips: the cloud emits 2.0 times less under used hours; the edge emits 2.0 times less under "
        "sunk, 1.8 times less under marginal wear."
    )
    assert verdict.shown[0].differs


def test_flip_within_the_uncertainty_says_so() -> None:
    assert (
        only(rows(1.1, 1.1, 1.1, 0.9, sure=False)).shown[0].sentence.endswith(" It is not sure under any attribution.")
    )


def test_unclear_leans_without_claiming() -> None:
    verdict = only(rows(1.2, 1.2, 1.2, 1.2, sure=False))
    assert (verdict.kind, verdict.label) == ("unclear", "Too close to call")
    assert verdict.shown[0].sentence.startswith("The edge seems to emit 1.2 times less under time share (")
    assert verdict.shown[0].sentence.endswith(" It is not sure under any attribution.")


def test_one_unsure_attribution_does_not_hide_those_that_are_sure() -> None:
    members = rows(0.3, 0.3, 0.33, 0.9)
    members[-1]["winner"] = "unclear"
    verdict = only(members)
    assert (verdict.kind, verdict.label) == ("partly", "Sure under some attributions only")
    assert verdict.shown[0].sentence.startswith("The cloud emits 3.0 times less under time share (")
    assert verdict.shown[0].sentence.endswith("It is not sure under used hours.")
    assert verdict.shown[0].differs
    # Counted apart from those that are sure and those that nobody can call.
    others = rows(0.1, 0.1, 0.1, 0.1, edge="a") + rows(1.1, 1.1, 1.1, 1.1, edge="b", sure=False)
    assert only(members + others).label == (
        "The cloud emits less in 1 of 3 pairs; 1 is too close to call; 1 is sure under some attributions only"
    )


def nothing(members: list[dict[str, Any]], attribution: str, edge_wins: float) -> list[dict[str, Any]]:
    """The rows with one that has no ratio, as where a side emits nothing."""
    winner = {1.0: "edge", 0.0: "cloud"}.get(edge_wins, "unclear")
    empty = dict.fromkeys(("ratio_cloud_over_edge", "ratio_low", "ratio_high"))
    changed = {**empty, "probability_edge_wins": edge_wins, "winner": winner}
    found = [row | changed if row["attribution"] == attribution else row for row in members]
    sides = {row["probability_edge_wins"] > 0.5 for row in found if row["probability_edge_wins"] not in (None, 0.5)}
    return [row | {"flips": len(sides) > 1} for row in found]


def test_an_edge_that_emits_nothing_is_told() -> None:
    verdict = only(nothing(rows(2.0, 1.8, 1.2, 0.5), "sunk", 1.0))
    assert verdict.kind == "flips"
    assert verdict.shown[0].sentence.endswith(
        "The winner flips: the cloud emits 2.0 times less under used hours; the edge emits nothing at all under sunk, "
        "1.8 times less under marginal wear."
    )
    (main,) = only(nothing(rows(2.0, 2.0, 2.0, 2.0), "time_share", 1.0)).shown
    assert main.sentence.startswith(
        "The edge emits nothing at all under time share (median; less in > 99 % of the draws). So under every other "
    )


def test_a_cloud_that_emits_nothing_is_told() -> None:
    members = [row | {"ratio_low": 0.0, "ratio_high": 0.0} for row in rows(0.0, 0.0, 0.0, 0.0)]
    assert only(members).shown[0].sentence == (
        "The cloud emits nothing at all under time share (median; less in 97 % of the draws). So under every other "
        "attribution: nothing at all under sunk, marginal wear and used hours."
    )


def test_where_neither_side_emits_anything_there_is_no_ratio() -> None:
    verdict = only(nothing(rows(2.0, 2.0, 2.0, 2.0), "sunk", 0.5))
    assert verdict.shown[0].sentence.endswith(
        "So also: 2.0 times less under marginal wear and used hours. No ratio under sunk: in some draws neither side emits "
        "anything."
    )
    (alone,) = only(nothing(rows(2.0, None, None, None), "sunk", 0.5)[:1]).shown
    assert alone.sentence == "No ratio under sunk: in some draws neither side emits anything."


def test_half_of_the_draws_without_any_emission_are_the_edges() -> None:
    """Half of an energy that may be nothing is nothing: the median has no bound, its lower quantile is a number."""
    members = [
        row | {"ratio_low": 0.2, "winner": "unclear"} for row in nothing(rows(2.0, *[None] * 3), "sunk", 0.5)[:1]
    ]
    assert only(members).shown[0].sentence == (
        "The edge seems to emit nothing at all under sunk (median; less in 50 % of the draws). It is not sure under any "
        "attribution."
    )


def test_the_summary_reaches_to_what_has_no_bound() -> None:
    clean = [row for name in ATTRIBUTIONS for row in nothing(rows(2.0, 2.0, 2.0, 2.0, edge="b"), name, 1.0)
             if row["attribution"] == name]  # fmt: skip
    assert only(rows(0.1, 0.1, 0.1, 0.1, edge="a") + clean).summary == (
        "Under time share the medians of 2 pairs reach from the cloud emitting 10 times less (gpu against a) to the edge "
        "emitting nothing at all (gpu against b); in 2 of them one side emits less in 95 % of the draws."
    )


def test_absent_energy_has_no_ratio() -> None:
    assert only(rows(None, None, None, None)).shown[0].sentence == "No ratio: the energy of one side is absent."


def test_a_flip_is_never_hidden_behind_a_majority() -> None:
    members = (
        rows(0.1, 0.1, 0.1, 0.1, edge="a") + rows(0.1, 0.1, 0.1, 0.1, edge="b") + rows(2.0, 2.0, 2.0, 0.5, edge="c")
    )
    verdict = only(members)
    assert (verdict.kind, verdict.label) == (
        "flips",
        "The cloud emits less in 2 of 3 pairs; 1 flips with the attribution",
    )
    assert verdict.shown[0].edge == "c"
    assert verdict.summary == (
        "Under time share the medians of 3 pairs reach from the cloud emitting 10 times less (gpu against a) to the edge "
        "emitting 2.0 times less (gpu against c); in 3 of them one side emits less in 95 % of the draws."
    )


def test_pairs_that_disagree_depend_on_the_devices() -> None:
    verdict = only(rows(3.0, 3.0, 3.0, 3.0, edge="a") + rows(0.1, 0.1, 0.1, 0.1, edge="b"))
    assert (verdict.kind, verdict.label) == ("mixed", "The cloud emits less in 1 of 2 pairs; the edge emits less in 1")


def test_pairs_of_one_side_and_unclear_ones_are_named_as_such() -> None:
    members = rows(0.1, 0.1, 0.1, 0.1, edge="a") + rows(0.9, 0.9, 0.9, 0.9, edge="b", sure=False)
    assert only(members).label == "The cloud emits less in 1 of 2 pairs; 1 is too close to call"
    verdict = only(members + rows(2.0, 2.0, 2.0, 0.99, edge="c"))
    assert verdict.kind == "flips"
    assert verdict.label == "The cloud emits less in 1 of 3 pairs; 1 is too close to call; 1 flips with the attribution"
    assert "the cloud emits barely less under used hours" in verdict.shown[0].sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [(383.549, "383.5"), (1.125, "1.125"), (35_064.0, "35,064"), (12_345.6, "12,346"), (0.00001394, "0.00001394"),
     (0.123456, "0.1235"), (0.0, "0"), (None, "–")],
)  # fmt: skip
def test_an_assumption_has_at_most_four_digits_behind_its_point(value: float | None, text: str) -> None:
    assert words.given(value) == text


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


@pytest.mark.parametrize(
    ("comparable", "bridged_by", "how", "told"),
    [
        (True, [], "directly", ""),
        (True, ["boundary_factor/around-gpu-board"], "by assumption", "Compared by assumption."),
        (False, ["boundary_factor/around-gpu-board"], "in doubt", "In doubt: see why."),
    ],
)
def test_a_pair_tells_how_it_was_compared(comparable: bool, bridged_by: list[str], how: str, told: str) -> None:
    members = [{**row, "comparable": comparable, "bridged_by": bridged_by} for row in rows(2.0, 2.0, 2.0, 2.0)]
    assert words.compared(members[0]) == how
    assert only(members).shown[0].compared == told
    assert how in words.COMPARED


def test_every_flag_has_a_label_and_a_sentence_of_reason() -> None:
    assert set(FLAG_LABELS) == set(words.FLAG_REASONS) == set(FLAGS)
    assert len(set(FLAG_LABELS.values())) == len(FLAG_LABELS)
    assert all(reason[0].isupper() and reason.endswith(".") for reason in words.FLAG_REASONS.values())
    assert flag_words(["thermal_throttling", "of-another-version"]) == ["throttled for heat", "of-another-version"]


def test_every_prior_has_words():
    assert set(PRIOR_WORDS) == {
        *get_args(Distribution),
        "student_t",
    }  # of the spread of repeats, which no scenario gives
