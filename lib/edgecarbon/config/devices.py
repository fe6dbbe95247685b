"""`config/devices.yaml`: the machines that an experiment can run on."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from edgecarbon.config.base import Name, PositiveFloat, Section, nearest
from edgecarbon.config.fleet import Fleet
from edgecarbon.config.meters import METERS, WallLog, WallMeter

Text = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"^[^\x00]+$")]
"""Any text that can be a word of a command line: everything but the null character. It is quoted wherever it is used."""

Directory = Annotated[str, Field(pattern=r"^(/|~/)[^\x00]+$", max_length=300)]
"""A folder on a device: absolute, or under `~/`."""


class Estimate(Section):
    """What the labelled estimate assumes where there is no sensor: watts = idle + (busy - idle) × CPU utilisation."""

    idle_watts: Annotated[float, Field(ge=0)] = 5.0
    """Draw of the processor package with nothing to do, W."""

    busy_watts: PositiveFloat | None = None
    """Draw with every core busy, W; null assumes `idle_watts` plus 8 W a logical core."""

    relative_uncertainty: Annotated[float, Field(gt=0, le=1)] = 0.5
    """One standard uncertainty of the estimate, as a share of it."""

    source: str = "assumption of this project (5 W and 8 W a core), not a data sheet of this machine"
    """Where the watts come from; shown beside every figure that rests on them."""


class PeakRate(Section):
    """The arithmetic peak that model FLOP utilisation (MFU) is measured against."""

    value: PositiveFloat
    """Peak, TFLOP/s, dense."""

    precision: Literal["fp32", "bf16"]
    """The precision that the peak holds for."""

    source: str
    """Data sheet or measurement that gives it."""


class DeviceCarbon(Section):
    """What the carbon model needs to know of a device. Changing it never measures anything again."""

    role: Literal["cloud", "edge"]
    """Which side of the comparison the device stands on."""

    embodied: str
    """Exact key of its manufacturing footprint in config/inputs/embodied.yaml or composed.yaml."""

    lifetime_years: PositiveFloat | None = None
    """Service life, years; null takes the one beside the embodied entry."""

    owner_utilisation: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of its life that the device is in use at all; null takes the scenario's value for its role."""

    grid_zone: str | None = None
    """Zone of the electricity it draws, as in config/inputs/carbon-intensities.csv; null takes the scenario's."""

    battery: bool = False
    """Whether it draws its energy through a battery and a charger, as laptops and phones do. Where it is false, no charger
    and no wear of a battery is charged."""


class Limits(Section):
    """The condition that a device must be in before a run starts on it."""

    battery_floor_percent: Annotated[float, Field(ge=0, le=100)] = 20.0
    """Lowest battery charge to start with, %; a device without a battery always meets it."""

    charger: Literal["any", "on", "off"] = "any"
    """What the charger must be: a figure read from a battery is only right with the charger `off`."""

    ceiling_celsius: PositiveFloat | None = None
    """Hottest sensor to start with, °C; null does not look. 40 suits a phone."""

    disk_floor_mbyte: Annotated[float, Field(ge=0)] = 500.0
    """Least free disk where the device's files are kept, MB."""

    wait_s: Annotated[float, Field(ge=0, le=86400)] = 60.0
    """How long to wait for a device that is away, unfit or used by another, s; then its run is reported as missing."""

    silence_s: Annotated[float, Field(ge=5, le=3600)] = 30.0
    """A link that is silent for so long counts as cut, and both ends give the run up, s."""


class Virtual(Section):
    """A virtual host on this machine, in a network of its own: a stand to try things on, not a device."""

    cpu_percent: Annotated[float, Field(gt=0, le=100)] = 100.0
    """Share of the time that its processes may run, %."""

    up_mbyte_per_s: PositiveFloat = 10.0
    """What its link can send, MB/s (10⁶ bytes)."""

    down_mbyte_per_s: PositiveFloat = 10.0
    """What its link can receive, MB/s (10⁶ bytes)."""


VIRTUAL_SOURCE = "estimate for the host machine that carries the virtual hosts, not for a device"


class AnyDevice(Section):
    """What every device has, however it is reached."""

    python: Text | None = None
    """Python that has torch and transformers, as a command or path. Null takes, on this machine, the one that runs the
    workflow; elsewhere the environment that `setup_device_NAME` made, else `python3`."""

    accelerator: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:[0-9]+)?)$")] = "auto"
    """What to train on: auto, cpu, cuda, cuda:N or mps."""

    meters: Annotated[list[str], Field(min_length=1)] = ["auto"]
    """Energy meters to read: auto (every one that is found, and the labelled estimate where nothing tells the CPU's energy),
    nvml, rapl, battery, apple, ioreg, jetson, raspberrypi, hwmon, android, odpm, estimate. One that is named must be there."""

    wall_meter: WallMeter | None = None
    """A wall meter that is read from this machine while the device runs."""

    wall_log: WallLog | None = None
    """The log of a meter at the device's plug that logs by itself; null: there is none."""

    estimate: Estimate = Estimate()
    """Assumptions behind the labelled estimate."""

    peak_tflops: PeakRate | None = None
    """Arithmetic peak for MFU; null takes the data sheet's for known GPUs, and measures a CPU's."""

    limits: Limits = Limits()
    """The condition that the device must be in before a run starts on it."""

    carbon: DeviceCarbon
    """What the carbon model needs to know of the device."""

    @field_validator("meters")
    @classmethod
    def _meters_are_known(cls, meters: list[str]) -> list[str]:
        for name in meters:
            if name not in METERS:
                raise ValueError(f"no meter is called '{name}'; {nearest(name, list(METERS))}")
        return meters

    @model_validator(mode="before")
    @classmethod
    def _battery_is_read_unplugged(cls, data: Any) -> Any:
        """A figure from a battery holds only while nothing charges it: who names such a meter asks for the charger off."""
        if not isinstance(data, dict) or not isinstance(data.get("meters"), list):
            return data
        limits = data.get("limits", {})
        if isinstance(limits, dict) and {"battery", "android"} & {str(name) for name in data["meters"]}:
            if limits.get("charger") == "on":
                raise ValueError(
                    "meters: a battery's meter tells nothing while limits.charger is `on`; set it to `off`, or take another"
                )
            return {**data, "limits": {"charger": "off", **limits}}
        return data

    def measured_by(self) -> dict[str, Any]:
        """What decides a measurement on it. How it is reached, and what it waits for, does not."""
        decisive = {
            "transport", "python", "accelerator", "meters", "wall_meter", "estimate", "peak_tflops", "command", "virtual"
        }  # fmt: skip
        settings = self.model_dump(mode="json", include=decisive)
        if settings.get("virtual"):
            settings["estimate"]["source"] = f"{VIRTUAL_SOURCE}; {self.estimate.source}"
        return settings


class LocalDevice(AnyDevice):
    """The machine that Snakemake itself runs on."""

    transport: Literal["local"]
    """How the device is reached."""


class Setup(Section):
    """How `setup_device_NAME` installs what the worker needs."""

    source: Literal["auto", "index", "host"] = "auto"
    """Where packages come from: `index`, the package index that pip on the device uses; `host`, wheels that this machine
    fetches for the device and sends; `auto` tries the first, then the second."""

    pip_options: list[Text] = []
    """Options for pip, such as [--extra-index-url, https://download.pytorch.org/whl/cpu] for the small build of torch on a
    Linux machine without an NVIDIA GPU."""


class RemoteDevice(AnyDevice):
    """A machine at the other end of a link."""

    directory: Directory | None = None
    """Folder on the device for what is sent there, made if need be; `~/` stands for the home folder. Null takes
    ~/.cache/edgecarbon, for adb's own user /data/local/tmp/edgecarbon."""

    command: Annotated[list[Text], Field(min_length=1)] | None = None
    """For a device that trains with something else than our worker: its command line, in words, of which {spec} and {out}
    become the spec's path and the folder where it must leave `result.json`. Null runs the worker."""

    setup: Setup = Setup()
    """How `setup_device_NAME` installs what the worker needs."""

    virtual: Virtual | None = None
    """Makes the device a virtual host on this machine, started with the workflow: nothing tells how to reach it then."""

    @model_validator(mode="after")
    def _virtual_host_is_labelled(self) -> Self:
        if self.virtual and self.meters != ["estimate"]:
            raise ValueError(
                "a virtual host has no energy of its own: give `meters: [estimate]`; this machine's own sensors would "
                "show the energy of all virtual hosts together"
            )
        for name in ("wall_meter", "wall_log"):
            if self.virtual and getattr(self, name):
                raise ValueError(f"{name}: a virtual host has no plug; take it out")
        return self


class SshDevice(RemoteDevice):
    """A machine reached with the `ssh` command, under your own ssh configuration."""

    transport: Literal["ssh"]
    """How the device is reached."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@:%\[\]-]+$", min_length=1, max_length=255)] | None = None
    """What you would type after `ssh`: an alias from ~/.ssh/config, a host, or user@host. Required unless virtual."""

    ssh_config: Text | None = None
    """An ssh configuration file to use in place of ~/.ssh/config, relative to the project."""

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if (self.host is None) == (self.virtual is None):
            raise ValueError("give either `host`, what you would type after `ssh`, or `virtual`, and not both")
        if self.host and self.host.startswith("-"):
            raise ValueError("host: starts with '-', which ssh would read as an option")
        return self


class AdbDevice(RemoteDevice):
    """A phone or board reached with the `adb` command, by USB or by network."""

    transport: Literal["adb"]
    """How the device is reached."""

    serial: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:\[\]-]+$", min_length=1, max_length=255)] | None = None
    """Serial number or address:port, as `adb devices` shows it. Required unless virtual."""

    shell: Literal["termux", "plain"] = "termux"
    """`termux` runs inside the Termux app through `run-as` (its debuggable build); `plain` as adb's own user, with `python`
    or `command` given."""

    @model_validator(mode="after")
    def _can_be_reached(self) -> Self:
        if (self.serial is None) == (self.virtual is None):
            raise ValueError("give either `serial`, as `adb devices` shows it, or `virtual`, and not both")
        if self.serial and self.serial.startswith("-"):
            raise ValueError("serial: starts with '-', which adb would read as an option")
        if self.shell == "plain" and self.python is None and self.command is None and self.virtual is None:
            raise ValueError("shell: plain needs `python`, the path of one on the device, or `command`")
        return self


class BundleDevice(AnyDevice):
    """A machine that cannot be reached: its runs travel there and back as files, by hand."""

    transport: Literal["bundle"]
    """How the device is reached."""

    inbox: Text = "inbox"
    """Folder, relative to the project, into which you put the result files that come back."""

    @model_validator(mode="after")
    def _no_meter_beside_it(self) -> Self:
        if self.wall_meter:
            raise ValueError(
                "wall_meter: nobody is there to read it while a bundle runs; let it log, and give `wall_log`"
            )
        return self


Device = Annotated[LocalDevice | SshDevice | AdbDevice | BundleDevice, Field(discriminator="transport")]
"""A device of the fleet, by its transport."""


class DevicesFile(Section):
    """The fleet, by device name."""

    devices: Annotated[dict[Name, Device], Field(min_length=1)]
    """Devices by name."""

    fleets: dict[Name, Fleet] = {}
    """Devices that train one model together, by the fleet's name."""

    @model_validator(mode="after")
    def _fleets_have_members(self) -> Self:
        for name, fleet in self.fleets.items():
            for member in fleet.devices:
                if member not in self.devices:
                    raise ValueError(
                        f"fleets.{name}.devices: '{member}' is not in `devices`; {nearest(member, list(self.devices))}"
                    )
                device = self.devices[member]
                if device.transport == "bundle" or getattr(device, "command", None):
                    raise ValueError(
                        f"fleets.{name}.devices: '{member}' cannot be a member: it must be reached while it runs, with our worker"
                    )
            if name in self.devices:
                raise ValueError(f"fleets.{name}: a device has this name too; rename one")
        return self
