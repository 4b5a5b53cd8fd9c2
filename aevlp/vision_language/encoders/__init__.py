"""Encoders: frozen vision-language models. One file a kind, built by name with (config, device=).

image_size, encode_images(views)   unit-length embeddings of uint8 views
encode_texts(texts)                embeddings of texts
fingerprint()                      what both hang on, for the cache, without loading the weights
logit_scale, deterministic         optional: factor of the cosines in its training; whether equal batches give equal bits

A labeler's field `encoder` is of type AnyEncoder and takes the settings of every registered kind. docs/extending.md holds an
encoder as a whole file.
"""

from aevlp.vision_language.encoders._base import AnyEncoder, Encoder, EncoderConfig

__all__ = ["AnyEncoder", "Encoder", "EncoderConfig"]
