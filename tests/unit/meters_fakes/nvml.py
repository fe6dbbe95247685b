"""The NVML library as a machine with GPUs shows it, for machines that have none. Its answers are invented."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class NvmlError(Exception):
    pass


class Nvml:
    """Answers as libnvidia-ml does, for boards described by dicts. `refused` names the calls that a board lacks."""

    def __init__(self, *boards: dict[str, Any]) -> None:
        usual = {
            "name": "A100",
            "mig": 0,
            "mj": 1000,
            "capability": (8, 0),
            "w": {186: 250.0, 185: 240.0},
            "refused": (),
        }
        self.boards: list[dict[str, Any]] = [
            {**usual, "uuid": f"GPU-{n}aaa", **board} for n, board in enumerate(boards)
        ]
        self.open = 0

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.65.06"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.boards[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:
        for board in self.boards:
            if uuid in board.get("slices", ()):
                return {"parent": board}
        raise NvmlError("not found")

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: dict[str, Any]) -> Any:
        return handle["parent"]

    def nvmlDeviceGetFieldValues(self, board: dict[str, Any], fields: list[int]) -> list[Any]:
        watts = [board["w"].get(field) for field in fields]
        return [
            SimpleNamespace(nvmlReturn=3 if w is None else 0, value=SimpleNamespace(uiVal=int((w or 0) * 1000)))
            for w in watts
        ]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetUUID": lambda b: b["uuid"],
            "nvmlDeviceGetName": lambda b: b["name"],
            "nvmlDeviceGetMigMode": lambda b: [b["mig"], b["mig"]],
            "nvmlDeviceGetTotalEnergyConsumption": lambda b: b["mj"],
            "nvmlDeviceGetCudaComputeCapability": lambda b: b["capability"],
            "nvmlDeviceGetPowerUsage": lambda b: 245_000,
            "nvmlDeviceGetPowerManagementLimitConstraints": lambda b: [100_000, 400_000],
            "nvmlDeviceGetTemperature": lambda b, sensor: 61,
            "nvmlDeviceGetClockInfo": lambda b, clock: 1410,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda b: 4,
            "nvmlDeviceGetUtilizationRates": lambda b: SimpleNamespace(gpu=93, memory=40),
        }
        if name not in answers:
            raise AttributeError(name)

        def call(board: dict[str, Any], *rest: Any) -> Any:
            if name in board["refused"]:
                raise NvmlError("Not Supported")
            return answers[name](board, *rest)

        return call
