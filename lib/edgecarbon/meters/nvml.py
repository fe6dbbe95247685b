"""NVIDIA GPUs through NVML: the board's energy counter, power as sampled and averaged, temperature, clock, throttling.

NVML answers for whole boards, also where a MIG slice runs the work: such readings carry `mig_whole_board`. Every
channel is tried by calling it once, because what a board supports is not written anywhere else.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity

_POWER_AVERAGE, _POWER_INSTANT = 185, 186
_TEMPERATURE_GPU, _CLOCK_SM = 0, 1
_MILLI = 1e-3
# The NVML reference states ±5 % for power ("accurate to within +/- 5% of current power draw"): a limit, so /√3.
_ACCURACY = 0.05 / math.sqrt(3)
# Counter and sampled power move about every 100 ms (arXiv:2312.02741); the averaged power covers 1 s.
_FAST_S, _SLOW_S = 0.1, 1.0

Call = Callable[[], float]


@dataclass(frozen=True)
class _Board:
    handle: Any
    index: int
    uuid: str
    name: str
    mig: bool


class NvmlMeter:
    """Component `gpuN`, N being NVML's index (in PCI order). Only energy and power are asked every time."""

    name = "nvml"
    runs_on: Literal["device"] = "device"

    def __init__(self, library: Any, boards: Sequence[_Board]) -> None:
        self._library = library
        self._calls: list[Call] = []
        self._channels: list[Channel] = []
        for board in boards:
            for channel, call in _supported(library, board):
                self._channels.append(channel)
                self._calls.append(call)
        self._slow_s = -math.inf
        self._values: list[float | None] = [None] * len(self._calls)

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        now_s = time.monotonic()
        slow_too = now_s - self._slow_s >= _SLOW_S
        if slow_too:
            self._slow_s = now_s
        for index, (channel, call) in enumerate(zip(self._channels, self._calls, strict=True)):
            if slow_too or channel.quantity in ("energy", "power"):
                self._values[index] = _try(call)
        return list(self._values)

    def close(self) -> None:
        if self._calls:
            self._calls = []
            self._channels = []
            _try(self._library.nvmlShutdown)


def open_meter(options: Options) -> NvmlMeter:
    if options.cuda_devices is not None and not options.cuda_devices:
        raise MeterUnavailable("this run uses no CUDA GPU")
    library = options.nvml if options.nvml is not None else _pynvml()
    try:
        library.nvmlInit()
    except Exception as error:
        raise MeterUnavailable(f"NVML does not start ({error}): no NVIDIA driver here, or no GPU is visible") from error
    try:
        meter = NvmlMeter(library, select_boards(library, options))
    except Exception as error:
        _try(library.nvmlShutdown)
        if isinstance(error, MeterUnavailable):
            raise
        raise MeterUnavailable(f"NVML fails to list the GPUs: {error}") from error
    if not any(channel.quantity in ("energy", "power") for channel in meter.channels()):
        meter.close()
        raise MeterUnavailable("these GPUs tell neither energy nor power through NVML")
    return meter


def _pynvml() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise MeterUnavailable("the package nvidia-ml-py is not installed: pip install nvidia-ml-py") from error
    return pynvml


def select_boards(library: Any, options: Options) -> list[_Board]:
    """The boards of the run: `options.cuda_devices` among those that CUDA_VISIBLE_DEVICES leaves visible."""
    boards = [_board(library, index) for index in range(library.nvmlDeviceGetCount())]
    tokens = options.environ.get("CUDA_VISIBLE_DEVICES")
    visible = boards if tokens is None else _visible(library, boards, tokens.split(","))
    if options.cuda_devices is None:
        chosen = visible
    else:
        chosen = [_named(library, boards, visible, device) for device in options.cuda_devices]
    by_ordinal = options.cuda_devices is None or any(isinstance(device, int) for device in options.cuda_devices)
    subset = len(chosen) < len(boards) and by_ordinal and not (tokens or "").startswith(("GPU-", "MIG-"))
    by_address = options.environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID"
    if subset and not by_address and len({board.name for board in boards}) > 1:
        raise MeterUnavailable(
            "GPUs of several models: CUDA numbers them by speed and NVML by PCI address; "
            "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name the GPU by its UUID"
        )
    if not chosen:
        raise MeterUnavailable("no GPU" if tokens is None else f'no GPU is visible: CUDA_VISIBLE_DEVICES="{tokens}"')
    return list({board.uuid: board for board in chosen}.values())


def _board(library: Any, index: int) -> _Board:
    handle = library.nvmlDeviceGetHandleByIndex(index)
    mig = _try(lambda: library.nvmlDeviceGetMigMode(handle)[0]) == 1
    return _Board(handle, index, library.nvmlDeviceGetUUID(handle), library.nvmlDeviceGetName(handle), mig)


def _visible(library: Any, boards: list[_Board], tokens: list[str]) -> list[_Board]:
    """As CUDA reads the variable: numbers or UUID prefixes; the first that names nothing ends the list."""
    found = []
    for token in (token.strip() for token in tokens):
        try:
            found.append(_named(library, boards, boards, int(token) if token.lstrip("-").isdigit() else token))
        except MeterUnavailable:
            break
    return found


def _named(library: Any, boards: list[_Board], visible: list[_Board], device: int | str) -> _Board:
    if isinstance(device, int):
        if 0 <= device < len(visible):
            return visible[device]
        raise MeterUnavailable(f"no GPU {device}: {len(visible)} visible")
    bare = device.removeprefix("GPU-")
    for board in boards:
        if bare and board.uuid.removeprefix("GPU-").startswith(bare):
            return board
    parent = _mig_parent(library, device)
    for board in boards:
        if board.uuid == parent:
            return _Board(board.handle, board.index, board.uuid, board.name, mig=True)
    raise MeterUnavailable(f'no GPU "{device}": here are {", ".join(board.uuid for board in boards) or "none"}')


def _mig_parent(library: Any, device: str) -> str | None:
    """UUID of the board that a MIG slice lies on."""
    try:
        slice_handle = library.nvmlDeviceGetHandleByUUID("MIG-" + device.removeprefix("MIG-"))
        return str(library.nvmlDeviceGetUUID(library.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(slice_handle)))
    except Exception:
        return None


@dataclass(frozen=True)
class _Question:
    """Something to ask NVML about a board: how, and what the answer is."""

    suffix: str
    quantity: Quantity
    unit: str
    source: str
    call: Call
    update_period_s: float = _SLOW_S
    resolution: float = 1.0


def _supported(library: Any, board: _Board) -> list[tuple[Channel, Call]]:
    """The channels that answer now. Sampled power precedes averaged: the first power channel is the one integrated."""
    limit_watts = _try(lambda: library.nvmlDeviceGetPowerManagementLimitConstraints(board.handle)[1] * _MILLI)
    found = [asked for asked in _questions(library, board.handle) if _try(asked.call) is not None]
    if any(asked.suffix.startswith("power_") for asked in found):
        found = [asked for asked in found if asked.suffix != "power"]
    return [(_channel(board, asked, limit_watts), asked.call) for asked in found]


def _channel(board: _Board, asked: _Question, limit_watts: float | None) -> Channel:
    has_energy = asked.quantity in ("energy", "power")
    return Channel(
        id=f"nvml/gpu{board.index}/{asked.suffix}", meter="nvml", component=f"gpu{board.index}",
        quantity=asked.quantity, unit=asked.unit, boundary="gpu_board" if has_energy else None, provenance="measured",
        source=f"{asked.source} ({board.name}, {board.uuid})", update_period_s=asked.update_period_s,
        resolution=asked.resolution, accuracy_relative=_ACCURACY if has_energy else None,
        max_watts=limit_watts if has_energy else None, flags=("mig_whole_board",) if has_energy and board.mig else (),
    )  # fmt: skip


def _questions(library: Any, handle: Any) -> list[_Question]:
    def field(number: int) -> float:
        value = library.nvmlDeviceGetFieldValues(handle, [number])[0]
        if value.nvmlReturn != 0:
            raise OSError(f"field {number}: NVML error {value.nvmlReturn}")
        return float(value.value.uiVal) * _MILLI

    def throttle() -> float:
        newer = _try(lambda: library.nvmlDeviceGetCurrentClocksEventReasons(handle))
        return float(newer if newer is not None else library.nvmlDeviceGetCurrentClocksThrottleReasons(handle))

    return [
        _Question("energy", "energy", "J", "nvmlDeviceGetTotalEnergyConsumption",
                  lambda: library.nvmlDeviceGetTotalEnergyConsumption(handle) * _MILLI, _FAST_S, _MILLI),
        _Question("power_instant", "power", "W", f"NVML field {_POWER_INSTANT}",
                  lambda: field(_POWER_INSTANT), _FAST_S, _MILLI),
        _Question("power_average", "power", "W", f"NVML field {_POWER_AVERAGE}",
                  lambda: field(_POWER_AVERAGE), _SLOW_S, _MILLI),
        # For drivers without those fields: a 1 s average on Ampere and later, except GA100.
        _Question("power", "power", "W", "nvmlDeviceGetPowerUsage",
                  lambda: library.nvmlDeviceGetPowerUsage(handle) * _MILLI, _SLOW_S, _MILLI),
        _Question("temperature", "temperature", "C", "nvmlDeviceGetTemperature",
                  lambda: float(library.nvmlDeviceGetTemperature(handle, _TEMPERATURE_GPU))),
        _Question("clock_sm", "frequency", "MHz", "nvmlDeviceGetClockInfo(SM)",
                  lambda: float(library.nvmlDeviceGetClockInfo(handle, _CLOCK_SM))),
        _Question("throttle", "throttle", "bitmask", "nvmlDeviceGetCurrentClocksEventReasons", throttle),
        _Question("utilisation", "utilisation", "1", "nvmlDeviceGetUtilizationRates",
                  lambda: library.nvmlDeviceGetUtilizationRates(handle).gpu / 100.0, resolution=0.01),
    ]  # fmt: skip


def _try(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:
        return None
