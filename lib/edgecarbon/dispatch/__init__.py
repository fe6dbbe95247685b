"""How devices are reached, and who may use one at a time."""

from __future__ import annotations

from edgecarbon.config.devices import Device
from edgecarbon.dispatch.base import Job, Outcome, Transport
from edgecarbon.dispatch.local import LocalTransport
from edgecarbon.dispatch.lock import device_lock

__all__ = ["Job", "Outcome", "Transport", "device_lock", "open_transport"]


def open_transport(device: Device) -> Transport:
    """The transport that a device's config entry asks for."""
    match device.transport:
        case "local":
            return LocalTransport(device.python)
