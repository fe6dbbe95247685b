"""Keep attention on the fused causal kernels.

A run's blocks have no padding, so the causal mask is known and SDPA's `is_causal` says all of it. transformers leaves the
mask away by itself only while it is not being compiled, and for OPT only in its later versions; a mask that is handed over
keeps SDPA off its flash kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import masking_utils


def causal_flag_instead_of_mask(build_mask: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a transformers mask builder: None (meaning `is_causal`) where the mask is plainly causal, else what it builds."""

    def build(*args: Any, **kwargs: Any) -> Any:
        q_length, kv_length = kwargs.get("q_length"), kwargs.get("kv_length")
        window = kwargs.get("local_size")  # sliding or chunked attention: all within reach of a longer window
        plain = (
            not args
            and kwargs.get("allow_is_causal_skip", False)
            and q_length is not None
            and q_length == kv_length
            and (window is None or kv_length <= window)
        )
        return None if plain else build_mask(*args, **kwargs)

    return build


@contextmanager
def unpadded_causal_attention() -> Iterator[None]:
    """While active, every "sdpa" model of this process takes its input to be free of padding."""
    masks = getattr(masking_utils, "ALL_MASK_ATTENTION_FUNCTIONS", None)
    if masks is None:
        yield
        return
    original = masks["sdpa"]
    type(masks).register("sdpa", causal_flag_instead_of_mask(original))
    try:
        yield
    finally:
        type(masks).register("sdpa", original)
