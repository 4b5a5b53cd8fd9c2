"""A tokenizer of whole words, for small or untrained encoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

# The end token must not be id 2: CLIPModel takes that value as the mark of its old pooling rule.
SPECIAL_TOKENS = ("[pad]", "[start]", "[unknown]", "[end]")


def build_tokenizer(words: Sequence[str], length: int) -> Any:
    """A fast tokenizer of `words` and four special tokens that `AutoTokenizer` loads like any other, for `length` tokens."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: i for i, word in enumerate(dict.fromkeys((*SPECIAL_TOKENS, *words)))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[unknown]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[start] $A [end]", special_tokens=[("[start]", vocabulary["[start]"]), ("[end]", vocabulary["[end]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=length,
        pad_token="[pad]", bos_token="[start]", unk_token="[unknown]", eos_token="[end]",
    )  # fmt: skip
