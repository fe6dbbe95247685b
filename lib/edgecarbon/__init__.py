"""Measure what training foundation models on edge devices costs, in energy and carbon, beside cloud GPUs."""

__version__ = "0.1.0"
