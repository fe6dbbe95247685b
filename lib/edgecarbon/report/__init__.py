"""The report: one self-contained page, from the database alone."""

from edgecarbon.report.page import build

__all__ = ["build"]
