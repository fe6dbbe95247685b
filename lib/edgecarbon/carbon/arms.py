"""One device under one scenario: which assumptions hold for it, and what its work then emits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from edgecarbon.carbon.formulas import (
    HOURS_PER_YEAR,
    embodied_grams,
    full_cycles,
    multiplexed_idle_kwh,
    network_grams,
    operational_grams,
    radio_kwh_per_gb,
    wear_grams,
)
from edgecarbon.config.assumptions import Assumption, BatteryWear, Electricity, ResolvedScenario, Segment, Side
from edgecarbon.config.inputs import Inputs
from edgecarbon.config.scenario import Attribution
from edgecarbon.errors import UserError

Look = Callable[[Assumption], Any]
"""How an assumption is read: its value, or its draws."""

# Boundaries as the database names them to the scenario's fields.
BOUNDARY_FIELDS = {"cpu_package+dram": "cpu_package_and_dram"}
# What a measured run has in its energy and time already; a modelled one has not.
INSIDE_A_MEASUREMENT = {"recomputation", "throttling_energy", "throttling_time"}


@dataclass(frozen=True)
class Work:
    """What runs took: scalars, or arrays that broadcast to (runs, draws)."""

    energy_kwh: Any
    hours: Any
    data_bytes: Any
    weights_bytes: Any
    idle_kwh: Any = 0.0
    """Energy, at the meter's boundary, of a cloud machine's empty hours that falls on the runs."""


@dataclass(frozen=True)
class Model:
    """What time and energy of a reference device's runs follow from: operations / (peak · sustained), and time · draw."""

    peak: Assumption
    sustained: Assumption
    draw: Assumption

    @property
    def assumptions(self) -> list[Assumption]:
        return [self.peak, self.sustained, self.draw]

    def factors(self, look: Look) -> tuple[Any, Any]:
        """How many times longer than at the defaults its runs take, and how many times more it draws meanwhile."""
        longer = self.peak.value * self.sustained.value / (look(self.peak) * look(self.sustained))
        return longer, look(self.draw) / self.draw.value


@dataclass(frozen=True)
class Arm:
    """A device with the assumptions that hold for it."""

    device: str
    role: Literal["cloud", "edge"]
    embodied_key: str
    side: Side
    boundaries: Mapping[str, Assumption]
    grid: Electricity
    embodied: tuple[Assumption, ...]
    lifetime: Assumption
    utilisation: Assumption
    battery: BatteryWear | None
    life_lost_per_hour: Assumption | None
    fixed_attribution: Attribution | None
    """Charged so under every attribution: a cloud machine was bought for such work."""
    idle_share: Assumption | None = None
    idle_watts: Assumption | None = None
    """Measured idle draw; goes before `idle_share`."""
    avoided: Assumption | None = None
    """Share of its making that is avoided when the run takes place elsewhere."""
    coordinator: tuple[Assumption, Assumption, Electricity] | None = None
    """Draw for this device (W) of the servers that coordinate it, their PUE and their grid."""
    measured_boundaries: Mapping[str, Assumption] = field(default_factory=dict)
    """Factors to the whole machine that were measured on this device; they go before the scenario's."""
    model: Model | None = None
    """Of a reference device."""

    def attribution(self, variant: Attribution) -> Attribution:
        """How this device is charged under a variant."""
        return self.fixed_attribution or variant

    def boundary_factor(self, boundary: str | None) -> Assumption:
        """From the meter's boundary to the whole machine."""
        if boundary is not None and boundary in self.measured_boundaries:
            return self.measured_boundaries[boundary]
        name = BOUNDARY_FIELDS.get(boundary or "", boundary or "")
        return self.boundaries.get(name, self.boundaries["not_known"])

    def site_factor(self, boundary: str | None) -> Assumption | None:
        """PUE in the cloud; the charger at the edge, for a device with a battery whose energy at the plug is not known
        from a meter there, or from a factor measured with one."""
        at_the_plug = boundary == "wall" or boundary in self.measured_boundaries
        applies = self.role == "cloud" or (self.battery is not None and not at_the_plug)
        return self.side.site_factor if applies else None

    def overhead(self, boundary: str | None, look: Look) -> Any:
        """κ: what the grid delivers for each joule at the meter."""
        site = self.site_factor(boundary)
        return look(self.boundary_factor(boundary)) * (1.0 if site is None else look(site))

    def practised(self, work: Work, modelled: Any, look: Look) -> Work:
        """The work with what practice adds to it, and with its part of a cloud machine's empty hours.

        Args:
            work: the run itself.
            modelled: whether it is modelled: a measured run has recomputation and throttling inside.
        """
        given = self.side.practice

        def factor(name: str) -> Any:
            if name not in given:
                return 1.0
            return np.where(modelled, look(given[name]), 1.0) if name in INSIDE_A_MEASUREMENT else look(given[name])

        again = factor("churn") * factor("replication")
        energy_kwh = work.energy_kwh * again * factor("recomputation") * factor("throttling_energy")
        hours = work.hours * again * factor("recomputation") * factor("throttling_time")
        return Work(
            energy_kwh=energy_kwh,
            hours=hours / factor("availability"),
            data_bytes=work.data_bytes * again,
            weights_bytes=work.weights_bytes * again,
            idle_kwh=self._idle_kwh(energy_kwh, hours, look),
        )

    def _idle_kwh(self, energy_kwh: Any, hours: Any, look: Look) -> Any:
        if self.idle_share is None:
            return 0.0
        if self.idle_watts is not None:
            watts = look(self.idle_watts)
        else:
            watts = look(self.idle_share) * np.divide(energy_kwh, hours) * 1000.0
        tenants = np.divide(1.0, look(self.side.resource_share))
        return multiplexed_idle_kwh(watts, hours, look(self.utilisation), tenants)

    def operational(self, work: Work, boundary: str | None, look: Look) -> Any:
        """The machine's own electricity, and that of what coordinates it."""
        drawn_kwh = work.energy_kwh + work.idle_kwh
        own = operational_grams(drawn_kwh, self.grid.intensity(look), self.overhead(boundary, look))
        if self.coordinator is None:
            return own
        _, pue, grid = self.coordinator
        return own + operational_grams(self.coordinator_kwh(work, look), grid.intensity(look), look(pue))

    def coordinator_kwh(self, work: Work, look: Look) -> Any:
        """Energy of the coordinating servers that falls on the device, at the servers."""
        return 0.0 if self.coordinator is None else look(self.coordinator[0]) * work.hours / 1000.0

    def network(self, work: Work, look: Look) -> Any:
        """Every segment of both paths, on the device's own grid."""
        total: Any = 0.0
        for moved, path in ((work.data_bytes, self.side.data_path), (work.weights_bytes, self.side.weights_path)):
            for segment in path if np.any(moved) else ():
                total = total + network_grams(moved, _kwh_per_gb(segment, look), self.grid.intensity(look))
        return total

    def charged(self, work: Work, boundary: str | None, variant: Attribution, look: Look) -> Any:
        """Manufacturing charged to the work under an attribution."""
        attribution = self.attribution(variant)
        embodied_kg = self.embodied_kg(look)
        lifetime_hours = look(self.lifetime) * HOURS_PER_YEAR
        if attribution == "marginal_wear":
            return self._wear(work, boundary, embodied_kg, lifetime_hours, look)
        share, used = look(self.side.resource_share), look(self.utilisation)
        return embodied_grams(embodied_kg, lifetime_hours, work.hours, share, attribution, used)

    def embodied_kg(self, look: Look) -> Any:
        """Manufacturing that counts: all of it, or what of a cloud machine's is avoided."""
        made: Any = sum(look(part) for part in self.embodied)
        return made if self.avoided is None else made * look(self.avoided)

    def _wear(self, work: Work, boundary: str | None, embodied_kg: Any, lifetime_hours: Any, look: Look) -> Any:
        lost = 0.0 if self.life_lost_per_hour is None else look(self.life_lost_per_hour)
        if self.battery is None:
            return wear_grams(0.0, 0.0, 1.0, embodied_kg, work.hours * lost, lifetime_hours)
        through_battery_kwh = work.energy_kwh * look(self.boundary_factor(boundary))
        cycles = full_cycles(through_battery_kwh, look(self.battery.capacity))
        battery_kg = embodied_kg * look(self.battery.embodied_share)
        rated = look(self.battery.rated_cycles)
        return wear_grams(battery_kg, cycles, rated, embodied_kg, work.hours * lost, lifetime_hours)

    def assumptions(self, boundaries: set[str | None]) -> list[Assumption]:
        """Everything that figures on these boundaries rest on."""
        found = [*self.grid.assumptions, *self.embodied, self.lifetime, self.utilisation, self.side.resource_share]
        for boundary in boundaries:
            site = self.site_factor(boundary)
            found += [self.boundary_factor(boundary), *([] if site is None else [site])]
        found += self.side.practice.values()
        found += [part for part in (self.idle_watts or self.idle_share, self.avoided) if part is not None]
        if self.coordinator is not None:
            draw, pue, grid = self.coordinator
            found += [draw, pue, *grid.assumptions]
        for segment in (*self.side.data_path, *self.side.weights_path):
            found += segment.assumptions
        if self.battery is not None:
            found += [self.battery.embodied_share, self.battery.rated_cycles, self.battery.capacity]
        return found + ([] if self.life_lost_per_hour is None else [self.life_lost_per_hour])


def build_arm(device: str, facts: Mapping[str, Any], scenario: ResolvedScenario, inputs: Inputs) -> Arm:
    """Find the assumptions that hold for a device.

    Args:
        facts: role, embodied, and optionally lifetime_years, lifetime (key), owner_utilisation, grid_zone, battery,
            host_embodied (key), measured_boundaries and idle_watts (assumptions; see `edgecarbon.carbon.measured`).

    Raises:
        UserError: a key that matches no entry, with the nearest.
    """
    where = f"device '{device}'"
    role: Literal["cloud", "edge"] = facts["role"]
    if role not in ("cloud", "edge"):
        raise UserError(f"{where}: role: expected 'cloud' or 'edge', found {role!r}")
    side = scenario.cloud if role == "cloud" else scenario.edge
    own = facts if scenario.settings.device_facts_first else {}
    entry = inputs.embodied.find(facts["embodied"], f"{where}: embodied")
    embodied = [Assumption.of(f"embodied/{facts['embodied']}", entry)]
    if role == "cloud" and entry.boundary == "gpu_board":
        embodied += _host(own, scenario, inputs, where)
    utilisation = own.get("owner_utilisation")
    grid_zone = own.get("grid_zone")
    return Arm(
        device=device,
        role=role,
        embodied_key=facts["embodied"],
        side=side,
        boundaries=scenario.boundaries,
        grid=side.grid if grid_zone is None else _zone(grid_zone, inputs, where),
        embodied=tuple(embodied),
        lifetime=_lifetime(device, facts, entry.lifetime, scenario, inputs),
        utilisation=side.utilisation if utilisation is None else _stated(device, "utilisation", utilisation, "1"),
        battery=_battery(entry.battery, scenario, inputs) if _on_battery(facts) else None,
        life_lost_per_hour=scenario.life_lost_per_hour if role == "edge" else None,
        fixed_attribution="used_hours"
        if role == "cloud" and scenario.settings.cloud.attribution == "used_hours"
        else None,
        idle_share=scenario.idle_share if role == "cloud" else None,
        idle_watts=facts.get("idle_watts") if role == "cloud" and scenario.idle_share is not None else None,
        avoided=scenario.cloud_hardware_avoided if role == "cloud" else None,
        coordinator=(scenario.coordinator, scenario.cloud.site_factor, scenario.cloud.grid)
        if role == "edge" and scenario.coordinator is not None
        else None,
        measured_boundaries=facts.get("measured_boundaries", {}),
        model=_model(device, inputs),
    )


def _model(device: str, inputs: Inputs) -> Model | None:
    reference = inputs.reference_devices.entries.get(device)
    if reference is None:
        return None
    return Model(
        *(
            Assumption.of(f"reference_devices/{device}/{part}", getattr(reference, part))
            for part in ("peak", "sustained", "draw")
        )
    )


def _on_battery(facts: Mapping[str, Any]) -> bool:
    return facts["role"] == "edge" and bool(facts.get("battery"))


def _host(own: Mapping[str, Any], scenario: ResolvedScenario, inputs: Inputs, where: str) -> list[Assumption]:
    key = own.get("host_embodied")
    if scenario.host_embodied is None:
        return []
    if key is None:
        return [scenario.host_embodied]
    return [Assumption.of(f"embodied/{key}", inputs.embodied.find(key, f"{where}: host_embodied"))]


def _zone(zone: str, inputs: Inputs, where: str) -> Electricity:
    found = inputs.grid.find(zone, None, f"{where}: grid_zone")
    return Electricity(Assumption.of(f"grid/{zone}/{found.year}", found))


def _lifetime(
    device: str, facts: Mapping[str, Any], embodied_lifetime: str, scenario: ResolvedScenario, inputs: Inputs
) -> Assumption:
    """What the owner states, then the scenario, then what is usual for the kind of device; see `device_facts_first`."""
    side = scenario.cloud if facts["role"] == "cloud" else scenario.edge
    years = facts.get("lifetime_years")
    if side.lifetime is not None and (years is None or not scenario.settings.device_facts_first):
        return side.lifetime
    if years is not None:
        return _stated(device, "lifetime", years, "years")
    key = facts.get("lifetime") or embodied_lifetime
    return Assumption.of(f"lifetimes/{key}", inputs.lifetimes.find(key, f"device '{device}': lifetime"))


def _stated(device: str, what: str, value: float, unit: str) -> Assumption:
    source = "stated for this device in the fleet's configuration"
    return Assumption(
        f"device/{device}/{what}", value, value, value, unit, source, None, device, "the user's own", "estimated"
    )


def _battery(key: str | None, scenario: ResolvedScenario, inputs: Inputs) -> BatteryWear:
    if key is None:
        return scenario.battery
    return BatteryWear.of(key, inputs.batteries.find(key, "battery"))


def _kwh_per_gb(segment: Segment, look: Look) -> Any:
    if segment.per_gigabyte is not None:
        return look(segment.per_gigabyte)
    assert segment.watts is not None
    assert segment.speed is not None
    return radio_kwh_per_gb(look(segment.watts), np.multiply(look(segment.speed), 1e6))
