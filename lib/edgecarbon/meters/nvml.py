"""NVIDIA GPUs through NVML: the board's energy counter, power as sampled and averaged, temperature, clock, throttling.

NVML answers for whole boards, also where a MIG slice runs the work: such readings carry `mig_whole_board`. Every
channel is tried by calling it once, because what a board supports is not written anywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from edgecarbon.meters.access import Access, Unanswered
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Quantity, RunsOn

RUNS_ON: RunsOn = "device"
_POWER_AVERAGE, _POWER_INSTANT = 185, 186
_TEMPERATURE_GPU, _CLOCK_SM = 0, 1
_MILLI = 1e-3
# The NVML reference states ±5 % for power ("accurate to within +/- 5% of current power draw"): a limit, so /√3.
_ACCURACY = 0.05 / math.sqrt(3)
# Counter and sampled power move about every 100 ms (arXiv:2312.02741); the averaged power covers 1 s.
_FAST_S, _SLOW_S = 0.1, 1.0
# The same study: the sensors of A100 and H100 look for 25 ms of every 100 ms. Told apart by CUDA compute capability.
_PART_TIME = {(8, 0): 0.25, (9, 0): 0.25}

Call = Callable[[], float]


@dataclass(frozen=True)
class _Board:
    index: int
    uuid: str
    name: str
    mig: bool
    duty: float | None = None
    driver: str | None = None


class _Session:
    """The library, started when it is first asked. A meter that runs from a trace never asks it."""

    def __init__(self, library: Any = None) -> None:
        self._given = library
        self._library: Any = None
        self._handles: dict[int, Any] = {}

    @property
    def library(self) -> Any:
        if self._library is None:
            library = self._given if self._given is not None else _pynvml()
            try:
                library.nvmlInit()
            except Exception as error:
                raise MeterUnavailable(
                    f"NVML does not start ({error}): no NVIDIA driver here, or no GPU is visible"
                ) from error
            self._library = library
        return self._library

    def handle(self, index: int) -> Any:
        if index not in self._handles:
            self._handles[index] = self.library.nvmlDeviceGetHandleByIndex(index)
        return self._handles[index]

    def boards(self, options: Options) -> list[_Board]:
        library = self.library
        try:
            return select_boards(library, options)
        except MeterUnavailable:
            raise
        except Exception as error:
            raise MeterUnavailable(f"NVML fails to list the GPUs: {error}") from error

    def close(self) -> None:
        if self._library is not None:
            _try(self._library.nvmlShutdown)
            self._library, self._handles = None, {}


class NvmlMeter:
    """Component `gpuN`, N being NVML's index (in PCI order). Only energy and power are asked every time."""

    name = "nvml"

    def __init__(self, access: Access, session: _Session, boards: Sequence[_Board]) -> None:
        self._access, self._session = access, session
        self._calls: list[Call] = []
        self._channels: list[Channel] = []
        for board in boards:
            for channel, call in _supported(access, session, board):
                self._channels.append(channel)
                self._calls.append(call)
        self._slow_s = -math.inf
        self._values: list[float | None] = [None] * len(self._calls)

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        now_s = self._access.monotonic()
        slow_too = now_s - self._slow_s >= _SLOW_S
        if slow_too:
            self._slow_s = now_s
        for index, (channel, call) in enumerate(zip(self._channels, self._calls, strict=True)):
            if slow_too or channel.quantity in ("energy", "power"):
                self._values[index] = self._access.attempt(channel.id, call)
        return list(self._values)

    def close(self) -> None:
        self._session.close()


def open_meter(options: Options) -> NvmlMeter:
    if options.cuda_devices is not None and not options.cuda_devices:
        raise MeterUnavailable("this run uses no CUDA GPU")
    session = _Session(options.nvml)
    try:
        found = options.access.call("nvml boards", lambda: [asdict(board) for board in session.boards(options)])
    except Unanswered as error:
        session.close()
        raise MeterUnavailable(str(error)) from error
    meter = NvmlMeter(options.access, session, [_Board(**board) for board in found])
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
    capability = _try(lambda: tuple(library.nvmlDeviceGetCudaComputeCapability(handle)))
    uuid, name = library.nvmlDeviceGetUUID(handle), library.nvmlDeviceGetName(handle)
    # Looked up inside, because not every library has it.
    driver = _try(lambda: library.nvmlSystemGetDriverVersion())
    return _Board(index, uuid, name, mig, _PART_TIME.get(capability), driver)


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
            return replace(board, mig=True)
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


def _supported(access: Access, session: _Session, board: _Board) -> list[tuple[Channel, Call]]:
    """The channels that answer now. Sampled power precedes averaged: the first power channel is the one integrated."""

    def most_watts() -> float:
        constraints = session.library.nvmlDeviceGetPowerManagementLimitConstraints(session.handle(board.index))
        return float(constraints[1]) * _MILLI

    limit_watts = access.attempt(f"nvml/gpu{board.index} most watts", most_watts)
    asked = [(_channel(board, question, limit_watts), question) for question in _questions(session, board.index)]
    found = [(channel, one) for channel, one in asked if access.attempt(channel.id, one.call) is not None]
    if any(one.suffix.startswith("power_") for _, one in found):
        found = [(channel, one) for channel, one in found if one.suffix != "power"]
    return [(channel, one.call) for channel, one in found]


def _channel(board: _Board, asked: _Question, limit_watts: float | None) -> Channel:
    driver = f", driver {board.driver}" if board.driver else ""
    channel = Channel(
        id=f"nvml/gpu{board.index}/{asked.suffix}", meter="nvml", component=f"gpu{board.index}",
        quantity=asked.quantity, unit=asked.unit, boundary=None, provenance="measured",
        source=f"{asked.source} ({board.name}, {board.uuid}{driver})", update_period_s=asked.update_period_s,
        resolution=asked.resolution,
    )  # fmt: skip
    if asked.quantity not in ("energy", "power"):
        return channel
    averages = asked.quantity == "power" and asked.update_period_s == _SLOW_S
    return replace(
        channel, boundary="gpu_board", accuracy_relative=_ACCURACY, max_watts=limit_watts,
        duty=board.duty or (1.0 if averages else None), flags=("mig_whole_board",) if board.mig else (),
    )  # fmt: skip


def _questions(session: _Session, index: int) -> list[_Question]:
    def ask(function: str, *arguments: Any) -> Any:
        return getattr(session.library, function)(session.handle(index), *arguments)

    def field(number: int) -> float:
        value = ask("nvmlDeviceGetFieldValues", [number])[0]
        if value.nvmlReturn != 0:
            raise OSError(f"field {number}: NVML error {value.nvmlReturn}")
        return float(value.value.uiVal) * _MILLI

    def throttle() -> float:
        newer = _try(lambda: ask("nvmlDeviceGetCurrentClocksEventReasons"))
        return float(newer if newer is not None else ask("nvmlDeviceGetCurrentClocksThrottleReasons"))

    return [
        _Question("energy", "energy", "J", "nvmlDeviceGetTotalEnergyConsumption",
                  lambda: ask("nvmlDeviceGetTotalEnergyConsumption") * _MILLI, _FAST_S, _MILLI),
        _Question("power_instant", "power", "W", f"NVML field {_POWER_INSTANT}",
                  lambda: field(_POWER_INSTANT), _FAST_S, _MILLI),
        _Question("power_average", "power", "W", f"NVML field {_POWER_AVERAGE}",
                  lambda: field(_POWER_AVERAGE), _SLOW_S, _MILLI),
        # For drivers without those fields: a 1 s average on Ampere and later, except GA100.
        _Question("power", "power", "W", "nvmlDeviceGetPowerUsage",
                  lambda: ask("nvmlDeviceGetPowerUsage") * _MILLI, _SLOW_S, _MILLI),
        _Question("temperature", "temperature", "C", "nvmlDeviceGetTemperature",
                  lambda: float(ask("nvmlDeviceGetTemperature", _TEMPERATURE_GPU))),
        _Question("clock_sm", "frequency", "MHz", "nvmlDeviceGetClockInfo(SM)",
                  lambda: float(ask("nvmlDeviceGetClockInfo", _CLOCK_SM))),
        _Question("throttle", "throttle", "bitmask", "nvmlDeviceGetCurrentClocksEventReasons", throttle),
        _Question("utilisation", "utilisation", "1", "nvmlDeviceGetUtilizationRates",
                  lambda: ask("nvmlDeviceGetUtilizationRates").gpu / 100.0, resolution=0.01),
    ]  # fmt: skip


def _try(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception:
        return None
