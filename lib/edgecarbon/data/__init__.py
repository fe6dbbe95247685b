"""Text to token blocks: documents, a tokenizer, packing."""

from edgecarbon.data.blocks import build_tokens

__all__ = ["build_tokens"]
