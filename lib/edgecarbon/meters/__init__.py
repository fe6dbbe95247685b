"""Energy meters: sources of truth behind one protocol, the recorder that polls them, the integrator of windows."""

from edgecarbon.meters.base import Channel, Meter, MeterUnavailable, Options, Reading
from edgecarbon.meters.factory import METERS, open_meters, probe
from edgecarbon.meters.recorder import Recorder

__all__ = ["METERS", "Channel", "Meter", "MeterUnavailable", "Options", "Reading", "Recorder", "open_meters", "probe"]
