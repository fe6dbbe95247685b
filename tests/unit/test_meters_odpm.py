"""A phone's power rails out of a perfetto trace. Rails and subsystems are named as a Pixel 6 names them; the packets are
encoded here by protobuf's wire format, and the energies are invented."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgecarbon.meters import odpm
from edgecarbon.meters.access import Replayed
from edgecarbon.meters.android import COMMAND
from edgecarbon.meters.base import MeterUnavailable, Options
from edgecarbon.meters.integrate import readings
from edgecarbon.meters.odpm import OdpmMeter, Packets, Rails, fields, open_meter

ADB = ["adb", "-s", "emulator-5554"]
REACHED = {"t_s": 0.0, "run": [*ADB, "get-state"], "answer": "device\n"}
RAILS = {
    "S10M_VDD_TPU": "TPU", "VSYS_PWR_MODEM": "Modem", "VSYS_PWR_RFFE": "Cellular", "S2M_VDD_CPUCL2": "CPU(BIG)",
    "S3M_VDD_CPUCL1": "CPU(MID)", "S4M_VDD_CPUCL0": "CPU(LITTLE)", "S5M_VDD_INT": "INT", "S1M_VDD_MIF": "MIF",
    "VSYS_PWR_WLAN_BT": "WLANBT", "L2S_VDD_AOC_RET": "AOC", "S9S_VDD_AOC": "AOC", "S5S_VDDQ_MEM": "DDR",
    "S10S_VDD2L": "DDR", "S4S_VDD2H_MEM": "DDR", "S2S_VDD_G3D": "GPU", "VSYS_PWR_DISPLAY": "Display",
    "S8M_LLDO2": "LDO",
}  # fmt: skip
SOC = [
    "S10M_VDD_TPU", "S2M_VDD_CPUCL2", "S3M_VDD_CPUCL1", "S4M_VDD_CPUCL0", "S5M_VDD_INT", "S1M_VDD_MIF", "S5S_VDDQ_MEM",
    "S10S_VDD2L", "S4S_VDD2H_MEM", "S2S_VDD_G3D",
]  # fmt: skip


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return varint(field << 3 | 2) + varint(len(body)) + body


def packet(micro_joules: Sequence[int], described: dict[str, str] | None = None) -> bytes:
    """A packet as the source writes it: timestamp and sequence flags, descriptors in the first one only."""
    rails = [
        message(1, number(1, i), message(2, name.encode()), message(3, subsystem.encode()), number(4, 1023))
        for i, (name, subsystem) in enumerate((described or {}).items())
    ]
    energies = [message(2, number(1, i), number(2, 349_894), number(3, one)) for i, one in enumerate(micro_joules)]
    return message(1, number(8, 349_894_000_000), number(13, 2), message(40, *rails, *energies, number(3, 7)))


EMPTY = b"\n\0"
# A clock snapshot: another kind of packet, with a fixed32 and a fixed64 among its fields.
OTHER = message(1, message(6, message(1, number(1, 6), number(2, 349_894_000_000))), b"\x55abcd", b"\x59abcdefgh")


def energies(each: int) -> list[int]:
    return [each * (i + 1) for i in range(len(RAILS))]


FIRST = EMPTY + OTHER + packet(energies(1_000_000), RAILS)


def opened(*printed: tuple[float, bytes]) -> tuple[OdpmMeter, Replayed]:
    words = [*ADB, "shell", "-T", COMMAND]
    machine = Replayed(
        [REACHED, *({"t_s": t_s, "take": words, "answer": data.decode("latin-1")} for t_s, data in printed)]
    )
    return open_meter(Options(access=machine, adb=ADB)), machine


def test_the_rails_that_compute_are_summed_and_each_rail_is_told() -> None:
    meter, _ = opened((0.0, FIRST))
    channels = meter.channels()
    assert [one.component for one in channels] == ["rails", *RAILS]
    assert [one.boundary for one in channels] == ["soc"] + [None] * len(RAILS)
    assert channels[0].source == f"adb: perfetto android.power, sum of {', '.join(SOC)}"
    assert (channels[0].unit, channels[0].provenance, channels[0].wraps) == ("J", "measured", False)
    whole, *each = meter.read()
    assert each == [pytest.approx(i + 1) for i in range(len(RAILS))]
    assert whole == pytest.approx(sum(value for name, value in zip(RAILS, each, strict=True) if name in SOC and value))


def test_known_energy_over_a_run() -> None:
    """Each summed rail draws 0.2 W for 300 s: 10 rails, 600 J."""
    step = [200_000 if name in SOC else 900_000 for name in RAILS]
    told = [(float(t), packet([5_000_000 + one * t for one in step])) for t in range(1, 301)]
    meter, machine = opened((0.0, EMPTY + packet([5_000_000] * len(RAILS), RAILS)), *told)
    times, rows = [t / 2 for t in range(601)], []
    for machine.now_s in times:
        rows.append(meter.read())
    columns = [list(column) for column in zip(*rows, strict=True)]
    whole, *parts = readings(meter.channels(), times, columns, "run", 0.0, 300.0, sample_period_s=0.5)
    assert (whole["joules"], whole["boundary"], whole["flags"]) == (pytest.approx(600.0), "soc", [])
    assert sum(one["joules"] for one in parts) == pytest.approx(600 + (len(RAILS) - len(SOC)) * 270)


def test_a_phone_that_started_anew_is_a_reset() -> None:
    meter, machine = opened(
        (0.0, FIRST), *((float(t), packet(energies(1_000_000 + t * 10 if t < 30 else t))) for t in range(1, 61))
    )
    times, rows = [float(t) for t in range(61)], []
    for machine.now_s in times:
        rows.append(meter.read())
    columns = [list(column) for column in zip(*rows, strict=True)]
    whole = readings(meter.channels(), times, columns, "run", 0.0, 60.0, sample_period_s=1.0)[0]
    assert whole["joules"] is None
    assert "reset" in whole["flags"]


def test_packets_come_in_pieces() -> None:
    data = FIRST + OTHER + packet(energies(2_000_000))
    for cut in range(1, len(data), 7):
        packets, rails = Packets(), Rails()
        told = [rails.hear(one) for part in (data[:cut], data[cut:]) for one in packets.add(part)]
        assert told == [False, False, True, False, True]
        assert rails.by_name()["VSYS_PWR_MODEM"] == 4.0
        assert len(rails.known()) == len(RAILS)


def test_a_new_session_may_number_the_rails_anew() -> None:
    other_order = dict(reversed(RAILS.items()))
    meter, machine = opened((0.0, FIRST), (1.0, EMPTY + packet([*reversed(energies(3_000_000))], other_order)))
    machine.now_s = 1.0
    assert meter.read()[1:] == [pytest.approx(3 * (i + 1)) for i in range(len(RAILS))]


def test_a_rail_that_is_not_told_leaves_no_sum() -> None:
    meter, machine = opened((0.0, FIRST), (1.0, packet(energies(1)[:4])))
    machine.now_s = 1.0
    whole, *each = meter.read()
    assert whole is None
    assert [one is None for one in each] == [False] * 4 + [True] * (len(RAILS) - 4)


def test_what_does_not_come_is_none_after_15_s() -> None:
    meter, machine = opened((0.0, FIRST), (30.0, packet(energies(2_000_000))))
    for machine.now_s, there in ((14.0, True), (16.0, False), (29.0, False), (30.0, True)):
        assert all((value is not None) == there for value in meter.read())


@pytest.mark.parametrize(
    "garbage",
    [
        b"error: closed\n", b"\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\n\xff\xff\xff\xff\x0f" + b"x" * 5000,
        message(1, message(40, b"\x0b")), message(1, b"\x92"), message(1, message(40, message(2, b"\x18\xff"))),
        message(1, message(40, message(2, message(1, b"index")))), message(1, number(40, 3)),
    ],
)  # fmt: skip
def test_garbage_is_dropped_and_the_next_packets_are_read(garbage: bytes) -> None:
    meter, machine = opened((0.0, FIRST), (1.0, garbage), (2.0, packet(energies(2_000_000))))
    machine.now_s = 1.0
    assert meter.read()[1] == 1.0
    machine.now_s = 2.0
    assert meter.read()[1] == 2.0


def test_names_are_the_phone_s_and_not_trusted() -> None:
    odd = {"S2M_VDD_CPUCL2": "CPU(BIG)", "rails": "GPU", "\x1b[2Jx": "DDR", "y" * 200: "\0", "": ""}
    meter, _ = opened((0.0, packet([1] * 5, odd)))
    assert [one.component for one in meter.channels()] == [
        "rails",
        "S2M_VDD_CPUCL2",
        "rail1",
        "rail2",
        "rail3",
        "rail4",
    ]


def test_a_message_of_every_wire_type() -> None:
    data = number(1, 300) + b"\x11" + bytes(8) + message(3, b"ab") + b"\x25" + bytes(4)
    assert list(fields(data)) == [(1, 300), (2, bytes(8)), (3, b"ab"), (4, bytes(4))]


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([], "get-state` does not say `device`"),
        ([REACHED], "told no power rail within 10 s: Pixel 6 and later"),
        ([REACHED, EMPTY * 8], "told no power rail"),
        ([REACHED, OTHER + message(1, message(40, number(3, 7)))], "told no power rail"),
        (
            [REACHED, packet([5, 5], {"VSYS_PWR_MODEM": "Modem", "S2S_VDD_G3D": "GPU"})],
            "2 power rails, but none of the CPU",
        ),
    ],
)
def test_why_it_is_not_there(entries: list[object], why: str) -> None:
    words = [*ADB, "shell", "-T", COMMAND]
    trace = [
        {"t_s": 0.0, "take": words, "answer": one.decode("latin-1")} if isinstance(one, bytes) else one
        for one in entries
    ]
    with pytest.raises(MeterUnavailable, match=why):
        open_meter(Options(access=Replayed(trace), adb=ADB))  # type: ignore[arg-type]
    with pytest.raises(MeterUnavailable, match="no phone is reached"):
        open_meter(Options(access=Replayed([])))


def test_the_loop_gives_perfetto_its_order_and_passes_on_the_trace(tmp_path: Path) -> None:
    """The loop in this machine's shell, with a perfetto that keeps its order and prints a trace."""
    (tmp_path / "trace").write_bytes(OTHER + packet(energies(1_000_000), RAILS))
    tools = {
        "adb": f'[ "$1" = get-state ] && {{ echo device; exit; }}\nPATH="{tmp_path}:$PATH" exec sh -c "$3"',
        "perfetto": f'echo "$*" >"{tmp_path}/asked"; cat >"{tmp_path}/order"; cat "{tmp_path}/trace"; exec sleep 60',
    }
    for name, text in tools.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    started_s = time.monotonic()
    meter = open_meter(Options(adb=[str(tmp_path / "adb")]))
    try:
        assert meter.read()[1:3] == [1.0, 2.0]
        assert time.monotonic() - started_s < 30  # passed on while perfetto runs
        assert (tmp_path / "asked").read_text() == "--txt -c - -o -\n"
        order = (tmp_path / "order").read_text()
        assert 'name: "android.power"' in order
        assert "collect_power_rails: true" in order
        assert "write_into_file: true" in order
        assert order.count("{") == order.count("}") == 4
    finally:
        meter.close()


def test_a_host_that_goes_away_does_not_break_perfetto_s_pipe(tmp_path: Path) -> None:
    """Writing on would be the end of the service that writes: the rest of the session is taken, and then the loop ends."""
    perfetto = tmp_path / "perfetto"
    perfetto.write_text(f'#!/bin/sh\nfor i in 1 2 3 4 5 6; do sleep 0.1; echo x; done\n>"{tmp_path}/whole"\n')
    perfetto.chmod(0o755)
    environ = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    loop = subprocess.Popen(["sh", "-c", odpm._SCRIPT], stdout=subprocess.PIPE, env=environ)
    assert loop.stdout
    assert loop.stdout.read(3) == EMPTY + b"x"
    loop.stdout.close()
    assert loop.wait(10) != 0
    assert (tmp_path / "whole").exists()
