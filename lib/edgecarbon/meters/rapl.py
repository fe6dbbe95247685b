"""CPU energy from RAPL, through /sys/class/powercap: whole packages and their memory, and nothing inside them.

Core and uncore lie inside a package, and psys holds everything: none of the three is added. The layout is the kernel's
Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from edgecarbon.meters.access import Access
from edgecarbon.meters.base import Channel, MeterUnavailable, Options, Provenance, RunsOn

RUNS_ON: RunsOn = "device"
UPDATE_PERIOD_S = 0.001
_MICRO = 1e-6
# No package on sale draws this much, and memory does not either: a bound that tells a reset from a wrap, not a figure.
_CEILING_WATTS = 1000.0


@dataclass(frozen=True)
class _Domain:
    component: str
    boundary: Literal["cpu_package", "dram"]
    folder: str


class RaplMeter:
    name = "rapl"

    def __init__(self, access: Access, domains: list[_Domain], provenance: Provenance) -> None:
        self._access = access
        self._channels = [_channel(access, domain, provenance) for domain in domains]
        self._paths = [os.path.join(domain.folder, "energy_uj") for domain in domains]

    def channels(self) -> list[Channel]:
        return list(self._channels)

    def read(self) -> list[float | None]:
        return [self._access.number(path, _MICRO) for path in self._paths]

    def close(self) -> None:
        self._access.close()


def open_meter(options: Options) -> RaplMeter:
    root = os.path.join(options.sysfs, "class", "powercap")
    domains = find_domains(options.access, root)
    if not domains:
        raise MeterUnavailable(
            f"no intel-rapl package under {root}: this CPU or kernel has none, or the machine is virtual; "
            "the estimate or a wall meter can stand in"
        )
    hidden = [domain for domain in domains if options.access.read(os.path.join(domain.folder, "energy_uj")) is None]
    if hidden:
        raise MeterUnavailable(
            f"{hidden[0].folder}/energy_uj is readable by root only since CVE-2020-8694: "
            f"sudo chmod a+r {root}/intel-rapl:*/energy_uj opens it until the next boot"
        )
    return RaplMeter(options.access, domains, _provenance(options))


def find_domains(access: Access, root: str) -> list[_Domain]:
    """Packages and the memory beside them, in the order of their numbers; a domain without a counter is left out."""
    zones = [name for name in access.names(root) if name.startswith("intel-rapl:")]
    domains = []
    for zone in sorted(zones, key=lambda name: [int(part) for part in name.split(":")[1:] if part.isdigit()]):
        folder = os.path.join(root, zone)
        name = access.read(os.path.join(folder, "name")) or ""
        number = zone.split(":")[1]
        if "energy_uj" not in access.names(folder):
            continue
        if zone.count(":") == 1 and name.startswith("package-"):
            domains.append(_Domain(name, "cpu_package", folder))
        elif zone.count(":") == 2 and name == "dram":
            domains.append(_Domain(f"dram-{number}", "dram", folder))
    return domains


def _channel(access: Access, domain: _Domain, provenance: Provenance) -> Channel:
    maximum = access.read(os.path.join(domain.folder, "max_energy_range_uj")) or ""
    return Channel(
        id=f"rapl/{domain.component}/energy", meter="rapl", component=domain.component, quantity="energy", unit="J",
        boundary=domain.boundary, provenance=provenance, source=os.path.join(domain.folder, "energy_uj"),
        update_period_s=UPDATE_PERIOD_S,
        # The common unit is 2^-14 J (Intel SDM volume 3B, 16.10); the file shows microjoules of it.
        resolution=2.0**-14,
        # Neither maker states an accuracy.
        accuracy_relative=None, wraps=True, wrap_joules=int(maximum) * _MICRO if maximum.isdigit() else None,
        max_watts=_CEILING_WATTS,
    )  # fmt: skip


def _provenance(options: Options) -> Provenance:
    """AMD's counters were found to behave like a model of activity, not like a sensor (arXiv:2108.00808)."""
    vendor = options.access.read(os.path.join(options.procfs, "cpuinfo")) or ""
    return "modelled" if "AuthenticAMD" in vendor else "measured"
