"""Errors that are told to the user in plain words, without a traceback."""

from __future__ import annotations

from typing import Literal

TroubleKind = Literal["unreachable", "unfit", "busy", "failed", "refused", "lost", "waiting"]
"""Why a run is missing: away; battery, charger, heat or disk; used by another; failed there; what came back is not to be
trusted; the link broke in the middle; a bundle's result is not in the inbox yet."""


class UserError(Exception):
    """A mistake or a condition that the user can mend. Its text names the file, the field and the way out."""


class DeviceTrouble(UserError):
    """A device did not do its run. The others go on; the report says what happened and what to do about it."""

    def __init__(self, kind: TroubleKind, reason: str, remedy: str | None = None) -> None:
        super().__init__(reason if remedy is None else f"{reason} {remedy}")
        self.kind, self.reason, self.remedy = kind, reason, remedy
