"""From one run to a whole training job: its operations, its device hours, and what both come to.

A job is linear in its work: it draws the same joules for each operation (or for each token of the same model) as the
run did, and outlives no device, because as many devices as it takes share it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecarbon.carbon.checks import Number, number, plain, positive, positive_share
from edgecarbon.carbon.formulas import HOURS_PER_YEAR, embodied_grams

RECOMPUTATION = 4.0 / 3.0
"""A second forward pass: a step is one part forward and two parts backward, and becomes four parts of three."""


@dataclass(frozen=True)
class Shape:
    """What the exact count needs to know of a decoder-only transformer beside its parameters."""

    embedding_parameters: float
    """Parameters in embeddings and output head, tied ones counted once."""

    layers: float
    """Decoder layers."""

    hidden_size: float
    """Width of attention: heads × width of a head."""

    vocabulary_size: float
    """Rows of the output head."""

    sequence_length: float
    """Tokens a sequence."""


def training_flops_6nd(parameters: Number, tokens: Number) -> Any:
    """Operations of a training by 6·N·D: 2 forward and 4 backward for each parameter and token.

    Kaplan et al. 2020, arXiv 2001.08361, section 2.1. Attention's own products are not in it.

    Args:
        parameters: N; of a mixture of experts, those that one token passes through.
        tokens: D.

    Returns:
        FLOP; a float, or an array where any argument is one.

    Raises:
        ValueError: an argument is negative, not finite, or no number.
    """
    return plain(6.0 * number("parameters", parameters) * number("tokens", tokens))


def training_flops_exact(
    tokens: Number,
    *,
    layer_parameters: Number,
    layers: Number,
    hidden_size: Number,
    vocabulary_size: Number,
    sequence_length: Number,
    recomputation: bool = False,
) -> Any:
    """Operations of training a decoder-only transformer, product by product.

    For each token r·(6·N_layers + 12·l·h·s) + 6·V·h: the layers' linear maps, attention's two products with the whole
    sequence (a causal mask spares none of them here), and the output head. r is 1, or 4/3 where the layers' forward
    pass is computed twice; the head is not. With N_layers = 12·l·h² and r = 4/3 this is equation 3 of Narayanan et al.
    2021, arXiv 2104.04473: 96·B·s·l·h²·(1 + s/6h + V/16lh).

    Args:
        tokens: D.
        layer_parameters: N_layers, parameters of the layers; looking up an embedding multiplies nothing.
        layers, hidden_size, vocabulary_size: l, h and V. h is heads × width of a head.
        sequence_length: s, tokens.
        recomputation: whether activations are computed again in the backward pass.

    Returns:
        FLOP; a float, or an array where any argument is one.

    Raises:
        ValueError: an argument is negative, not finite, or no number.
    """
    hidden = number("hidden_size", hidden_size)
    attention = 12.0 * number("layers", layers) * hidden * number("sequence_length", sequence_length)
    inner = 6.0 * number("layer_parameters", layer_parameters) + attention
    head = 6.0 * number("vocabulary_size", vocabulary_size) * hidden
    return plain(((RECOMPUTATION if recomputation else 1.0) * inner + head) * number("tokens", tokens))


def flops_of_shape(tokens: Number, parameters: float, shape: Shape) -> Any:
    """The exact count, without recomputation, for a model of so many parameters and this shape.

    Raises:
        ValueError: as `training_flops_exact`, or embeddings that have more parameters than the model.
    """
    if shape.embedding_parameters > parameters:
        raise ValueError(
            f"embedding_parameters: expected at most the model's {parameters:g}, found {shape.embedding_parameters:g}"
        )
    return training_flops_exact(
        tokens,
        layer_parameters=parameters - shape.embedding_parameters,
        layers=shape.layers,
        hidden_size=shape.hidden_size,
        vocabulary_size=shape.vocabulary_size,
        sequence_length=shape.sequence_length,
    )


def device_hours(flops: Number, peak_flops_per_second: Number, efficiency: Number) -> Any:
    """Hours of one device, or of all devices together: operations / (peak × the share of it that training sustains).

    Raises:
        ValueError: a bad number, no peak or efficiency at all, or an efficiency above 1.
    """
    sustained = positive("peak_flops_per_second", peak_flops_per_second) * positive_share("efficiency", efficiency)
    return plain(number("flops", flops) / sustained / 3600.0)


def job_kwh(hours: Number, watts: Number, pue: Number = 1.0) -> Any:
    """Energy of a job from its device hours and the draw of one device, kWh, times what the building adds.

    Args:
        hours: device hours, of all devices together.
        watts: mean draw of one device with its share of the machine, W.
        pue: power at the building's door over power at the machines.
    """
    return plain(number("hours", hours) * number("watts", watts) / 1000.0 * positive("pue", pue))


def job_embodied_grams(
    embodied_kg: Number,
    lifetime_hours: Number,
    hours: Number,
    resource_share: Number = 1.0,
    attribution: str = "time_share",
    lifetime_used_share: Number = 1.0,
) -> Any:
    """Manufacturing charged to a job: what one device hour is charged by `embodied_grams`, times the device hours.

    A job may take longer than a device lives; several devices then share it, and all are charged alike.

    Returns:
        gCO2e.
    """
    one_hour = embodied_grams(embodied_kg, lifetime_hours, 1.0, resource_share, attribution, lifetime_used_share)
    return plain(number("hours", hours) * np.asarray(one_hour))


def device_lifetimes(hours: Number, lifetime_years: Number) -> Any:
    """Service lives that a job takes up whole: device hours over the hours of one life, day and night.

    So many devices at least, rounded up, have to share the job, even if it holds them day and night: fewer would have to
    outlive themselves.
    """
    return plain(number("hours", hours) / (positive("lifetime_years", lifetime_years) * HOURS_PER_YEAR))


def scale_factor(job_work: Number, run_work: Number) -> Any:
    """How many times a run's joules, hours and grams a job takes: its work over the run's.

    Args:
        job_work, run_work: both in FLOP (the same J/FLOP), or both in tokens (the same model at the same J/token).

    Raises:
        ValueError: a bad number, or a run or job that did no work at all: nothing can be put in relation to it.
    """
    return plain(positive("job_work", job_work) / positive("run_work", run_work))
