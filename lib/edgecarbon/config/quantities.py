"""What every number in `config/inputs/` and every literal in a scenario must state, and the units that they come in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from edgecarbon.config.base import CURRENCY, CURRENCY_PER_KWH, Section

Text = Annotated[str, Field(min_length=3)]
Positive = Annotated[float, Field(gt=0)]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
"""A name that a scenario or a device refers to an entry by."""
Distribution = Literal["split_log_uniform", "log_uniform", "uniform", "triangular", "normal", "lognormal"]
"""How a number is spread over its range; `edgecarbon.carbon.draws.quantile` draws it."""


class Quantity(Section):
    """A number that an assumption rests on; nothing but the distribution may be left out."""

    value: Annotated[float, Field(ge=0)]
    """Default, in `unit`."""

    unit: Annotated[str, Field(min_length=1)]
    """Unit of value, low and high; 1 for a ratio or a share."""

    low: Annotated[float, Field(ge=0)]
    """Low end of the range."""

    high: Annotated[float, Field(ge=0)]
    """High end of the range."""

    distribution: Distribution = "split_log_uniform"
    """Prior over the range. `split_log_uniform`: half of it on either side of the value, log-uniform. `log_uniform`,
    `uniform`: even over the range, whatever the value. `triangular`: most likely at the value. `normal`, `lognormal`:
    the value is the median and the range the 95 % interval, cut at 0, and for a share or a multiplier at 1."""

    source: Text
    """Where the value and the range come from: citation or address, or that it is this project's assumption."""

    year: Annotated[int, Field(ge=1990, le=2100)]
    """Year that the value holds for or was published in."""

    boundary: Text
    """What the value covers."""

    licence: Text
    """Terms under which the value may be passed on."""

    provenance: Literal["measured", "modelled", "estimated", "published"]
    """How the value came about; an assumption of this project is `modelled`."""

    @model_validator(mode="after")
    def _range_holds_the_value(self) -> Quantity:
        if self.low > self.high:
            raise ValueError(f"the range is upside down: low {self.low:g} is above high {self.high:g}")
        if not self.low <= self.value <= self.high:
            raise ValueError(f"value {self.value:g} lies outside its range {self.low:g} to {self.high:g}")
        if self.distribution in ("log_uniform", "lognormal") and self.low == 0:
            raise ValueError(
                f"a {self.distribution} prior has no logarithm of 0: give a low end above 0, or another prior"
            )
        return self


def _range_is_optional(schema: dict[str, Any]) -> None:
    schema["required"] = [name for name in schema["required"] if name not in ("low", "high")]


class Given(Quantity):
    """A number given in full in a scenario; without low and high it is certain."""

    model_config = ConfigDict(json_schema_extra=_range_is_optional)

    @model_validator(mode="before")
    @classmethod
    def _certain_without_a_range(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "value" not in data:
            return data
        ends = {"low", "high"} & data.keys()
        if len(ends) == 1:
            raise ValueError(
                f"{ends.pop()} is given alone: give both low and high, or neither for a value without a range"
            )
        if not ends and "distribution" in data:
            raise ValueError("a distribution is given without its range: give low and high too")
        return data if ends else {**data, "low": data["value"], "high": data["value"]}


class AboveZero(Quantity):
    """A quantity whose whole range is above zero: it divides."""

    low: Positive
    """Low end of the range, above zero."""


class Years(AboveZero):
    """A service life."""

    unit: Literal["years"]
    """Years."""


class Share(AboveZero):
    """A share above 0 and at most 1."""

    unit: Literal["1"]
    """No unit."""

    high: Annotated[float, Field(gt=0, le=1)]
    """High end of the range, at most 1."""


class Factor(AboveZero):
    """What energy at a meter is multiplied by."""

    unit: Literal["1"]
    """No unit."""


class KilowattHoursPerGigabyte(Quantity):
    """Electricity of moving data."""

    unit: Literal["kWh/GB"]
    """Kilowatt-hours for 10^9 bytes."""


class Watts(AboveZero):
    """A draw."""

    unit: Literal["W"]
    """Watts."""


class MegabytesPerSecond(AboveZero):
    """A link speed."""

    unit: Literal["MB/s"]
    """10^6 bytes a second."""


class WattHours(AboveZero):
    """A battery's capacity."""

    unit: Literal["Wh"]
    """Watt-hours."""


class Cycles(AboveZero):
    """Full cycles that a battery is rated for."""

    unit: Literal["cycles"]
    """Full charge cycles."""


class TeraflopsPerSecond(AboveZero):
    """An arithmetic peak, dense."""

    unit: Literal["TFLOP/s"]
    """10^12 floating-point operations a second."""


class GramsPerKilowattHour(Quantity):
    """Carbon intensity of electricity."""

    unit: Literal["gCO2e/kWh"]
    """Grams of CO2-equivalent a kilowatt-hour."""


class GramsPerGram(Quantity):
    """Carbon intensity in some hours over the year's mean: on either side of 1, so no share and no multiplier."""

    unit: Literal["g/g"]
    """Grams for each gram of the mean."""


class Kilograms(Quantity):
    """Manufacturing emissions."""

    unit: Literal["kgCO2e"]
    """Kilograms of CO2-equivalent."""


class BytesPerToken(Quantity):
    """Data moved for each token."""

    unit: Literal["B/token"]
    """Bytes a token."""


class BytesPerParameter(Quantity):
    """Data moved for each model parameter."""

    unit: Literal["B/parameter"]
    """Bytes a parameter."""


class HoursPerHour(Quantity):
    """Hours of one kind for each hour of another."""

    unit: Literal["h/h"]
    """Hours an hour."""


class Part(Quantity):
    """A share from 0 to 1."""

    unit: Literal["1"]
    """No unit."""

    high: Annotated[float, Field(ge=0, le=1)]
    """High end of the range, at most 1."""


class Multiplier(Quantity):
    """What energy or time grows by: at least 1."""

    unit: Literal["1"]
    """No unit."""

    low: Annotated[float, Field(ge=1)]
    """Low end of the range, at least 1."""


class PricePerKilowattHour(Quantity):
    """A tariff."""

    unit: Annotated[str, Field(pattern=CURRENCY_PER_KWH)]
    """Three-letter code of the currency, for each kilowatt-hour."""


class Price(Quantity):
    """A price."""

    unit: Annotated[str, Field(pattern=CURRENCY)]
    """Three-letter code of the currency."""
