"""The encoder of transformers by the names that it had when there was no other, for plugins."""

from aevlp.vision_language.encoders.huggingface import HuggingFace as DualEncoder
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig as EncoderConfig

__all__ = ["DualEncoder", "EncoderConfig"]
