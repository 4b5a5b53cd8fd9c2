"""Tiny random CLIP and SigLIP models, saved as the folders a user would have."""

import json

import torch

IMAGE_SIDE, TEXT_LENGTH, WIDTH = 16, 12, 32
MEAN, STD = (0.48, 0.45, 0.4), (0.27, 0.26, 0.28)
WORDS = ("[pad]", "[start]", "[unknown]", "[end]", "a", "photo", "of", ".", "red", "green", "blue", "fire", "truck", "drawing")
TOWER = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
VISION = TOWER | {"image_size": IMAGE_SIDE, "patch_size": 8}
TEXT = TOWER | {
    "vocab_size": len(WORDS), "max_position_embeddings": TEXT_LENGTH, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 3,
}  # fmt: skip


def token_ids(text):
    """What the tokenizer below gives for `text`, without padding."""
    words = text.lower().replace(".", " .").split()
    return [1, *(WORDS.index(word) if word in WORDS else 2 for word in words), 3]


def save_tokenizer(folder, words=WORDS, **settings):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=WORDS[2]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[start] $A [end]", special_tokens=[("[start]", 1), ("[end]", 3)]
    )
    pad, start, unknown, end = WORDS[:4]
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=start, unk_token=unknown, eos_token=end, **settings
    ).save_pretrained(folder)


def save_statistics(folder, name="preprocessor_config.json", nested=False):
    settings = {"image_mean": list(MEAN), "image_std": list(STD)}
    (folder / name).write_text(json.dumps({"image_processor": settings} if nested else settings))


def save_clip(folder, more_words=(), full_size=False):
    """The model, which is also saved in `folder` with tokenizer and image statistics; it can tell `more_words` apart.

    In full size it has the shape of CLIP ViT-B/16, but for the words that it knows.
    """
    from transformers import CLIPConfig, CLIPModel

    torch.manual_seed(0)
    words = tuple(dict.fromkeys((*WORDS, *more_words)))
    if full_size:
        text = {name: TEXT[name] for name in ("pad_token_id", "bos_token_id", "eos_token_id")} | {"vocab_size": len(words)}
        config = CLIPConfig(text_config=text, vision_config={"patch_size": 16}, projection_dim=512)
    else:
        text = TEXT | {"vocab_size": len(words)}
        config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=24, initializer_factor=3.0)
    model = CLIPModel(config).eval()
    model.save_pretrained(folder)
    save_tokenizer(folder, words)
    save_statistics(folder)
    return model


def save_siglip(folder):
    """As `save_clip`; SigLIP pools the last of the padded tokens and wants no attention mask."""
    from transformers import SiglipConfig, SiglipModel

    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(text_config=TEXT | {"projection_size": WIDTH}, vision_config=VISION)).eval()
    model.save_pretrained(folder)
    save_tokenizer(folder, model_input_names=["input_ids"])
    save_statistics(folder)
    return model
