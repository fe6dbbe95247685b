"""The page's tables: queries, and cells as texts with the digits that their uncertainty carries."""

from __future__ import annotations

from datetime import UTC, datetime

import duckdb

from edgecarbon.charts import figures
from edgecarbon.charts.style import (
    ATTRIBUTIONS,
    MAIN_SCENARIO,
    Row,
    grouped,
    rows,
)
from edgecarbon.report import provenance, words
from edgecarbon.vocabulary import FLAG_LABELS, PRIOR_WORDS, boundary_words, flag_words

_DEVICES = """
WITH facts AS (
  SELECT workload, device, precision, any_value(accelerator) AS accelerator, any_value(cpu_model) AS cpu_model,
    any_value(peak_flops_per_second) AS peak_flops_per_second, any_value(peak_source) AS peak_source,
    list(DISTINCT torch_version ORDER BY torch_version) AS torch_versions,
    list(DISTINCT python_version ORDER BY python_version) AS python_versions,
    bool_or(virtual_host) AS virtual_host, bool_or(shipped) AS shipped,
    min(started_unix_s) AS first_s, max(started_unix_s) AS last_s, min(condition_celsius) AS coolest_celsius,
    max(condition_celsius) AS hottest_celsius, avg(duration_s) AS duration_s, any_value(steps) AS steps,
    max(parameters) AS parameters
  FROM runs GROUP BY ALL)
SELECT e.*, f.* EXCLUDE (workload, device, precision) FROM device_energy e
  JOIN facts f ON f.workload = e.workload AND f.device = e.device AND f.precision IS NOT DISTINCT FROM e.precision
ORDER BY max(f.parameters) OVER (PARTITION BY e.workload), e.workload, e.role, e.record_kind, e.device, e.precision
"""

_VERDICTS = """
SELECT v.*
FROM verdicts v LEFT JOIN (SELECT workload, max(parameters) AS size FROM runs GROUP BY workload) USING (workload)
ORDER BY size, v.workload, v.scenario <> ?, v.scenario, v.flips DESC, v.cloud_device, v.edge_device,
  list_position(?, v.attribution)
"""

_WORK = """
SELECT workload, any_value(model) AS model, max(parameters) AS parameters, max(batch_size) AS batch_size,
  max(sequence_length) AS sequence_length, any_value(dataset) AS dataset, any_value(tokenizer) AS tokenizer,
  max(dataset_epochs) AS epochs, min(started_unix_s) AS first_s, max(started_unix_s) AS last_s
FROM runs GROUP BY workload ORDER BY parameters, workload
"""

_ASSUMPTIONS = 'SELECT * FROM assumptions ORDER BY scenario, name, "year" NULLS LAST'


def devices(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """One row a workload, device and kind of figure, with the cells of the table "What ran"."""
    found = rows(connection, _DEVICES)
    sources = provenance.sources(connection)
    for row in found:
        _tell(row, sources.get((row["workload"], row["device"])))
        row["flags"] = row["flags"] or []
        row["flag_words"] = flag_words(row["flags"])
        row["boundary_words"] = boundary_words(row["boundary"])
        machine = row["accelerator"] if row["accelerator"] not in (None, "cpu") else row["cpu_model"]
        row["machine"] = words.of_a_device(machine, words.MOST_LETTERS_OF_A_NAME)
        row["software"] = _software(row)
        row["elsewhere"] = _elsewhere(row) if row["shipped"] else ""
        row["runs_words"] = (
            f"{row['repeats']} × {row['steps'] or '–'} steps" if row["record_kind"] == "measured" else "–"
        )
        row["duration"] = figures.duration(row["duration_s"]) if row["record_kind"] == "measured" else "–"
        row["throughput"] = (
            "–" if row["tokens_per_second"] is None else figures.significant(row["tokens_per_second"], 3)
        )
        row["mfu_words"] = "–" if row["mfu"] is None else f"{figures.significant(100 * row['mfu'])} %"
        row["peak"] = _peak(row)
        low, high = row["joules_per_step_low"], row["joules_per_step_high"]
        row["energy"], row["energy_interval"] = _parts(figures.quantity(row["joules_per_step"], low, high, "J"))
    return found


def _tell(row: Row, source: str | None) -> None:
    """What hovers over a row's figures."""
    ran = row["record_kind"] == "measured"
    row["about"] = provenance.about(row["provenance"], row["boundary"], source)
    row["about_work"] = provenance.about("measured, by the clock of the device" if ran else "modelled")
    row["about_peak"] = provenance.about("computed from 6 x parameters x tokens", source=row["peak_source"])
    row["interval_kind"] = provenance.REPEATS if ran else provenance.MODELLED


def _software(row: Row) -> str:
    """What trained: the versions of torch and Python, several where repeats differ in them; empty where unknown."""
    named = {"torch": row["torch_versions"], "Python": row["python_versions"]}
    known = [f"{name} {' and '.join(filter(None, found))}" for name, found in named.items() if any(found or [])]
    return words.of_a_device(", ".join(known), words.MOST_LETTERS_OF_A_NAME)


def _elsewhere(row: Row) -> str:
    """When and under which conditions a device was measured that came as a file."""
    ends = row["coolest_celsius"], row["hottest_celsius"]
    degrees = " to ".join(dict.fromkeys(figures.grouped(end, 0) for end in ends if end is not None))
    return f"measured elsewhere, {_days(row)}" + (f"; {degrees} °C before it began" if degrees else "")


def _peak(row: Row) -> str:
    if row["peak_flops_per_second"] is None:
        return "no peak known"
    return f"of {figures.quantity(row['peak_flops_per_second'], None, None, 'FLOP/s')} {row['precision']}"


def peaks(found: list[Row]) -> list[tuple[str, str]]:
    """Each device's peak, and where it is from."""
    known = [row for row in found if row["peak_flops_per_second"] is not None]
    found_in = [words.of_a_device(row["peak_source"]) or "source unknown" for row in known]
    told = [(row["device"], f"{row['peak'][3:]}: {source}") for row, source in zip(known, found_in, strict=True)]
    return list(dict.fromkeys(told))


def _parts(text: str) -> tuple[str, str]:
    value, _, ends = text.partition(" (")
    return value, ends.removesuffix(")")


def flags_explained(found: list[Row]) -> list[tuple[str, str]]:
    """The flags that occur, as the table says them, each with what it means for the figure."""
    present = sorted({flag for row in found for flag in row["flags"]})
    return [(FLAG_LABELS.get(flag, flag), words.FLAG_REASONS.get(flag, "Another version set it.")) for flag in present]


def verdicts(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """The rows of table `verdicts` with the cells of the verdict table."""
    found = rows(connection, _VERDICTS, [MAIN_SCENARIO, list(ATTRIBUTIONS)])
    known = provenance.energies(connection)
    for row in found:
        row["about"], row["interval_kind"] = provenance.of_pair(row, known), provenance.DRAWS
        row["attribution_words"] = ATTRIBUTIONS.get(row["attribution"], row["attribution"])
        ratio = row["ratio_cloud_over_edge"]
        row["ratio"], row["ratio_interval"] = (
            ("–", "") if ratio is None else figures.interval(ratio, row["ratio_low"], row["ratio_high"])
        )
        row["compared"] = words.compared(row)
        row["probability"] = figures.percent(row["probability_edge_wins"])
    return found


def pairs(found: list[Row]) -> list[tuple[tuple[str, ...], list[Row]]]:
    """The verdict rows by workload, scenario, cloud and edge device."""
    return list(grouped(found, "workload", "scenario", "cloud_device", "edge_device"))


def assumptions(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """Every assumption of every scenario, its numbers as they were given."""
    found = rows(connection, _ASSUMPTIONS)
    for row in found:
        row["value_words"] = words.given(row["value"])
        ends = row["low"], row["high"]
        row["range"] = "" if None in ends or ends[0] == ends[1] else "–".join(words.given(end) for end in ends)
        row["prior"] = PRIOR_WORDS.get(row["distribution"], "–") if row["range"] else "–"
        row["boundary_words"] = boundary_words(row["boundary"]) if row["boundary"] else "–"
        row["about"] = provenance.about(row["provenance"], row["boundary"], row["source"])
        row["interval_kind"] = provenance.SOURCED if row["range"] else ""
    return found


def work(connection: duckdb.DuckDBPyConnection) -> list[Row]:
    """What was trained on what, by workload."""
    found = rows(connection, _WORK)
    for row in found:
        row["size"] = "unknown" if row["parameters"] is None else f"{row['parameters']:,}"
        row["passes"] = "–" if row["epochs"] is None else f"{figures.significant(row['epochs'], 3)}"
        row["days"] = _days(row) or "not run"
        row["about"] = provenance.about("stated in the config", source=row["dataset"])
    return found


def _days(row: Row) -> str:
    return " to ".join(dict.fromkeys(_day(row[key]) for key in ("first_s", "last_s") if row[key] is not None))


def _day(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d")
