"""Whether a device is there and fit for a run: reached, charged, cool, with room on its disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

from edgecarbon.dispatch import facts
from edgecarbon.dispatch.base import Transport
from edgecarbon.errors import DeviceTrouble

LOOK_AGAIN_S = 5.0


def wait_until_fit(
    transport: Transport, limits: Mapping[str, Any], wait_s: float, tell: Callable[[str], None]
) -> dict[str, Any] | None:
    """Wait until a device can be reached and meets its limits.

    Args:
        limits: the `limits` of the device's entry.
        wait_s: how long to wait.
        tell: hears once why there is a wait.

    Returns:
        the device's condition as it was found, JSON; None for a device that cannot be asked.

    Raises:
        DeviceTrouble: it is away (`unreachable`) or not fit (`unfit`) for longer than that.
    """
    give_up = time.monotonic() + wait_s
    told = False
    while True:
        found, trouble = _look(transport, limits)
        if trouble is None:
            return found
        left_s = give_up - time.monotonic()
        if left_s <= 0:
            raise trouble
        if not told:
            tell(f"waiting up to {wait_s:.0f} s for the device: {trouble}")
            told = True
        time.sleep(min(LOOK_AGAIN_S, left_s))


def _look(transport: Transport, limits: Mapping[str, Any]) -> tuple[dict[str, Any] | None, DeviceTrouble | None]:
    try:
        text = transport.ask(facts.script(transport.directory))
    except DeviceTrouble as trouble:
        return None, trouble
    if text is None:
        return None, None
    found = facts.parse(text)
    troubles = facts.troubles(found, SimpleNamespace(**limits))
    if not troubles:
        return found.to_json(), None
    return None, DeviceTrouble(
        "unfit", "; ".join(one.reason for one in troubles) + ".", "; ".join(one.remedy for one in troubles) + "."
    )
