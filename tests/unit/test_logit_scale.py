"""The temperature a model was trained with, read from its weights without loading it."""

import math

import dual_encoders as tiny
import pytest
import torch
from safetensors.torch import save_file

from aevlp.vision_language.encoders.huggingface import HuggingFace, HuggingFaceConfig


def logit_scale(folder, **numbers):
    (folder / "config.json").write_text("{}")
    save_file({name.replace("__", "."): torch.tensor(number) for name, number in numbers.items()}, folder / "model.safetensors")
    return HuggingFace(HuggingFaceConfig(source=str(folder))).logit_scale


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ({"logit_scale": math.log(50)}, 50),
        ({"clip__logit_scale": math.log(50), "decoder__bias": 1.0}, 50),
        ({"temperature": 0.02}, 50),
        ({"align__temperature": 0.02}, 50),
        ({"logit_scale": math.log(50), "head__logit_scale": 0.0, "a__temperature": 1.0}, 50),
        ({"vision_model__layers__0__logit_scale": 0.0, "text_model__head__temperature": 1.0}, None),
        ({"my_logit_scale": 0.0, "logit_scale_of": 0.0, "clip__my_logit_scale": 0.0}, None),
        ({"weight": 0.0}, None),
    ],
)
def test_it_is_a_number_of_the_whole_model_with_one_prefix_at_most(tmp_path, numbers, expected):
    assert logit_scale(tmp_path, **numbers) == (expected and pytest.approx(expected))


def test_of_a_model_that_was_saved_as_a_part_of_another_it_is_that_of_the_loaded_one(tmp_path):
    from transformers import CLIPSegConfig, CLIPSegForImageSegmentation

    settings = {"reduce_dim": 16, "extract_layers": [0, 1], "decoder_num_attention_heads": 2, "logit_scale_init_value": 3.0}
    config = CLIPSegConfig(text_config=tiny.TEXT, vision_config=tiny.VISION, projection_dim=16, **settings)
    CLIPSegForImageSegmentation(config).save_pretrained(tmp_path)
    tiny.save_tokenizer(tmp_path)
    tiny.save_statistics(tmp_path)
    encoder = HuggingFace(HuggingFaceConfig(source=str(tmp_path)))
    assert encoder.logit_scale == pytest.approx(math.exp(3))
    encoder.load()
    assert encoder.logit_scale == pytest.approx(encoder.model.logit_scale.exp().item())
