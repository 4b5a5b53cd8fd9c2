"""The encoder of transformers and text features, on tiny random CLIP and SigLIP models against calling transformers by hand."""

import json
import os
import re

import dual_encoders as tiny
import numpy as np
import pytest
import torch

from aevlp import load_experiment
from aevlp.config.errors import ConfigError, DataError
from aevlp.data.images import ArrayImages
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders._towers import IMAGENET_MEAN, IMAGENET_STD, choose_precision
from aevlp.vision_language.encoders.huggingface import HuggingFace, HuggingFaceConfig
from aevlp.vision_language.prompts import text_features

pytestmark = pytest.mark.processor

NAMES = ["red", "green", "fire_truck"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """{kind: (folder, model as it was saved)}."""
    root = tmp_path_factory.mktemp("encoders")
    return {kind: (root / kind, save(root / kind)) for kind, save in (("clip", tiny.save_clip), ("siglip", tiny.save_siglip))}


@pytest.fixture(params=["clip", "siglip"])
def encoder_and_model(folders, request):
    folder, model = folders[request.param]
    return HuggingFace(HuggingFaceConfig(source=str(folder))), model


def views(count=7, seed=0):
    numbers = np.random.default_rng(seed)
    return torch.from_numpy(numbers.integers(0, 256, (count, 3, tiny.IMAGE_SIDE, tiny.IMAGE_SIDE), dtype=np.uint8))


def images_by_hand(model, images, mean=tiny.MEAN, std=tiny.STD):
    pixels = (images.double() / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    with torch.no_grad():
        features = model.get_image_features(pixel_values=pixels.float()).pooler_output
    return features / features.norm(dim=1, keepdim=True)


def text_by_hand(model, text):
    ids = tiny.token_ids(text)
    if type(model).__name__ == "SiglipModel":  # pools the last token, so it is padded to its full length
        ids += [0] * (tiny.TEXT_LENGTH - len(ids))
    with torch.no_grad():
        return model.get_text_features(input_ids=torch.tensor([ids])).pooler_output[0]


def test_image_embeddings_equal_the_model_called_by_hand(encoder_and_model):
    encoder, model = encoder_and_model
    found = encoder.encode_images(views())
    assert found.dtype == torch.float32
    assert encoder.image_size == tiny.IMAGE_SIDE
    torch.testing.assert_close(found.norm(dim=1), torch.ones(7))
    torch.testing.assert_close(found, images_by_hand(model, views()), atol=1e-5, rtol=0)
    assert (found[0] - found[1]).abs().max() > 1e-3


def test_text_features_equal_the_model_called_by_hand(encoder_and_model):
    encoder, model = encoder_and_model
    texts = ["a photo of a red fire truck.", "green", "a drawing of an unheard word ."]
    expected = torch.stack([text_by_hand(model, text) for text in texts])
    torch.testing.assert_close(encoder.encode_texts(texts), expected, atol=1e-5, rtol=1e-5)


def test_several_templates_are_averaged_and_underscores_read_as_spaces(encoder_and_model):
    encoder, model = encoder_and_model
    found = text_features(encoder, NAMES, ["a photo of a {}.", "a drawing of a {}."])
    for name, row in zip(("red", "green", "fire truck"), found, strict=True):
        expected = (text_by_hand(model, f"a photo of a {name}.") + text_by_hand(model, f"a drawing of a {name}.")) / 2
        torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-5)


def test_embeddings_do_not_depend_on_the_batch_size(folders):
    folder = str(folders["clip"][0])
    results = [HuggingFace(HuggingFaceConfig(source=folder, batch_size=size)).encode_images(views(9)) for size in (1, 4, 100)]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-5, rtol=0)


def test_imagenet_statistics_replace_those_of_the_encoder(folders):
    folder, model = folders["clip"]
    found = HuggingFace(HuggingFaceConfig(source=str(folder), normalization="imagenet")).encode_images(views())
    torch.testing.assert_close(found, images_by_hand(model, views(), IMAGENET_MEAN, IMAGENET_STD), atol=1e-5, rtol=0)
    assert (found - images_by_hand(model, views())).abs().max() > 1e-4


def test_statistics_may_lie_in_a_processor_config_of_transformers_5(folders, tmp_path):
    folder = copy(folders["clip"][0], tmp_path, without=["preprocessor_config.json"])
    tiny.save_statistics(folder, "processor_config.json", nested=True)
    expected = images_by_hand(folders["clip"][1], views())
    torch.testing.assert_close(
        HuggingFace(HuggingFaceConfig(source=str(folder))).encode_images(views()), expected, atol=1e-5, rtol=0
    )


def test_the_encoder_is_frozen_and_float32_whatever_was_saved(folders, tmp_path):
    from transformers import CLIPModel

    folder = copy(folders["clip"][0], tmp_path, without=["model.safetensors"])
    CLIPModel.from_pretrained(folders["clip"][0]).half().save_pretrained(folder)
    encoder = HuggingFace(HuggingFaceConfig(source=str(folder)))
    encoder.load()
    model = encoder.model
    assert not model.training
    assert {(p.dtype, p.requires_grad) for p in model.parameters()} == {(torch.float32, False)}


def test_two_classes_with_equal_features_are_found_among_many():
    features = torch.nn.functional.normalize(torch.randn(40, 512, generator=torch.Generator().manual_seed(0)), dim=-1)

    class Alike:
        by_name, title = False, "mine"

        def encode_texts(self, texts):
            return torch.stack([features[int(text.split()[-1]) % 37] for text in texts])

    with pytest.raises(DataError, match="the same text features to 3 pair"):  # by a matrix product most are missed
        text_features(Alike(), [str(i) for i in range(40)], ("a {}",))


def test_one_class_alone_is_refused_by_name(encoder_and_model):
    with pytest.raises(DataError, match=r"the dataset has one alone, red: each photo .*; add a class.*labeler=none"):
        text_features(encoder_and_model[0], ["red"])


def test_classes_with_equal_text_features_are_refused_by_name(encoder_and_model):
    with pytest.raises(DataError, match=r"the same text features to 1 pair.*such as .cat. and .dog..*labeler\.encoder"):
        text_features(encoder_and_model[0], ["red", "cat", "dog"])  # two words that the vocabulary lacks


@pytest.mark.parametrize("template", ["a photo of a cat.", "", "a photo of a {name}.", "{0}"])
def test_a_template_without_a_place_for_the_name_is_a_configuration_error(template):
    with pytest.raises(ConfigError, match=r"labeler\.prompts.*has no \{\} where the class name belongs"):
        load_experiment("digits_gpr", [f'labeler.prompts=["a {{}}", "{template}"]'])


def test_other_braces_of_template_and_name_stay_as_they_are(encoder_and_model):
    encoder, model = encoder_and_model
    found = text_features(encoder, ["red{0}", "green"], ["{x} {}"])
    torch.testing.assert_close(found[1], text_by_hand(model, "[unknown] x [unknown] green"), atol=1e-5, rtol=1e-5)


def copy(folder, target, without=()):
    target = target / "copy"
    target.mkdir()
    for path in folder.iterdir():
        if path.name not in without:
            (target / path.name).write_bytes(path.read_bytes())
    return target


def refused(folder):
    with pytest.raises(ConfigError, match=r"labeler\.encoder\.source") as caught:
        HuggingFace(HuggingFaceConfig(source=str(folder))).load()
    assert str(folder) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json", "preprocessor_config.json"])
def test_a_folder_without_one_of_its_files_is_refused(folders, tmp_path, missing):
    message = refused(copy(folders["clip"][0], tmp_path, without=[missing]))
    assert missing != "config.json" or "not a Hugging Face model" in message


def test_only_safetensors_are_read(folders, tmp_path):
    folder = copy(folders["clip"][0], tmp_path, without=["model.safetensors"])
    torch.save(folders["clip"][1].state_dict(), folder / "pytorch_model.bin")
    assert "safetensors" in refused(folder)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_tokenizer_of_another_model_is_told_with_both_numbers(folders, tmp_path, kind):
    folder = copy(folders[kind][0], tmp_path)
    tiny.save_tokenizer(folder, (*tiny.WORDS, "purple", "cat"))
    encoder = HuggingFace(HuggingFaceConfig(source=str(folder)))
    assert encoder.encode_texts(["a red truck"]).isfinite().all()  # whose words both parts know
    with pytest.raises(ConfigError, match=r"its tokenizer has 16 words and gives number 15, its text tower knows 14") as caught:
        encoder.encode_texts(["a cat"])
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize(
    ("tower", "name", "value"),
    [
        ("text", "max_position_embeddings", 6),
        ("text", "vocab_size", 99),
        ("text", "hidden_size", 64),
        ("vision", "image_size", 32),
    ],
)
def test_weights_of_another_shape_than_the_config_are_told_in_a_line(folders, tmp_path, capfd, kind, tower, name, value):
    folder = copy(folders[kind][0], tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config[f"{tower}_config"][name] = value
    (folder / "config.json").write_text(json.dumps(config))
    told = refused(folder)
    assert re.search(r"holds parts of two encoders: \S+ is \(.*\) in its weights, \(.*\) in config.json$", told)
    assert "\n" not in told
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", ["clip", "siglip"])
@pytest.mark.parametrize(
    ("key", "value"), [("image_mean", [0.5]), ("image_std", [0, 0, 0]), ("image_std", "x"), ("image_mean", None)]
)
def test_statistics_that_are_no_three_numbers_are_refused(folders, tmp_path, kind, key, value):
    folder = copy(folders[kind][0], tmp_path)
    statistics = json.loads((folder / "preprocessor_config.json").read_text()) | {key: value}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    assert "\n" not in refused(folder)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_folder_without_any_file_of_a_tokenizer_or_without_padding_is_refused(folders, tmp_path, kind):
    folder = copy(folders[kind][0], tmp_path)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": None}))
    assert "its tokenizer has no padding token" in refused(folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    assert "it has no tokenizer (tokenizer.json, " in refused(folder)


def test_towers_of_different_width_are_told(folders, tmp_path):
    """As a SigLIP may be, whose text tower alone projects."""
    from transformers import SiglipConfig, SiglipModel

    folder = copy(folders["siglip"][0], tmp_path, without=["config.json", "model.safetensors"])
    SiglipModel(SiglipConfig(text_config=tiny.TEXT | {"projection_size": 48}, vision_config=tiny.VISION)).save_pretrained(folder)
    embedder = Embedder(HuggingFaceConfig(source=str(folder), cache=False), "cpu", lambda _: None)
    embedder.encode_texts(["red"])
    with pytest.raises(ConfigError, match=r"copy gives 32 numbers for an image and 48 for a text"):
        list(embedder.embed(ArrayImages(views(2).permute(0, 2, 3, 1).numpy()), grid=0, flip=False))


def test_a_model_that_is_no_dual_encoder_is_refused(folders, tmp_path):
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = copy(folders["clip"][0], tmp_path, without=["config.json", "model.safetensors"])
    CLIPTextModel(CLIPTextConfig(**tiny.TEXT)).save_pretrained(folder)
    assert "CLIPTextModel, not a dual encoder like CLIP or SigLIP" in refused(folder)


def test_damaged_or_incomplete_files_are_refused(folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = copy(folders["clip"][0], tmp_path)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:5000])
    refused(folder)
    state = load_file(folders["clip"][0] / "model.safetensors")
    save_file({k: v for k, v in state.items() if k != "visual_projection.weight"}, folder / "model.safetensors", {"format": "pt"})
    assert "lack 'visual_projection.weight'" in refused(folder)
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "preprocessor_config.json").write_text('{"size": 16}')
    assert "image_mean" in refused(folder)


def test_bf16_encodes_nearly_the_same_and_returns_float32(folders):
    plain, rounded = (
        HuggingFace(HuggingFaceConfig(source=str(folders["clip"][0]), precision=precision)) for precision in ("fp32", "bf16")
    )
    found = rounded.encode_images(views())
    assert found.dtype == torch.float32
    assert 1e-5 < (found - plain.encode_images(views())).abs().max() < 0.05
    assert torch.equal(rounded.encode_texts(NAMES), plain.encode_texts(NAMES))


@pytest.mark.parametrize(
    ("size", "has_bf16", "expected"), [(60, True, "bf16"), (40, True, "fp32"), (60, False, "fp32"), (40, False, "fp32")]
)
def test_auto_takes_bf16_for_large_encoders_where_the_device_has_it(tmp_path, monkeypatch, size, has_bf16, expected):
    (tmp_path / "model-1.safetensors").touch()
    os.truncate(tmp_path / "model-1.safetensors", size << 20)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    precision, reason = choose_precision("auto", tmp_path.iterdir(), torch.device("cpu"))
    assert precision == expected
    assert reason
    for configured in ("fp32", "bf16"):
        assert choose_precision(configured, tmp_path.iterdir(), torch.device("cpu"))[0] == configured
