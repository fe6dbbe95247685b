"""The table of the tests that `validate_meters` puts meters to."""

from edgecarbon.store.table import define

METER_VALIDATION = define(
    "meter_validation",
    "One row a window and meter's channel of a device's test of its meters: idle, loads, idle again, all meters at once.",
    "meter_validation.parquet of results/validation/DEVICE",
    """
device | VARCHAR | | device
window | VARCHAR | | idle_before, load_N (accelerator busy for N % of the time), idle_after
meter | VARCHAR | | source of truth
component | VARCHAR | | part of the device
channel | VARCHAR | | channel that was read
boundary | VARCHAR | | what it covers
provenance | VARCHAR | | measured, modelled or estimated
duration_s | DOUBLE | s | length of the window
watts | DOUBLE | W | mean power; NULL where it could not be read
uncertainty_watts | DOUBLE | W | one standard uncertainty of it
reference | VARCHAR | | channel of the wall meter, failing that of the battery; NULL for itself, and where there is neither
reference_watts | DOUBLE | W | what that told
difference_relative | DOUBLE | 1 | (watts - reference_watts) / reference_watts: a part of a device lies below the whole
rise_watts | DOUBLE | W | above idle_before, of a load
reference_rise_watts | DOUBLE | W | the same of the reference
rise_difference_relative | DOUBLE | 1 | (rise_watts - reference_rise_watts) / reference_rise_watts
flags | VARCHAR[] | | what casts doubt on it
measured_unix_s | DOUBLE | s | when the test began, Unix time
record_sha256 | VARCHAR | | content hash of its record
""",
)
VALIDATION_TABLES = (METER_VALIDATION,)
