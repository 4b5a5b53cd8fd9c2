"""What every encoder promises, on tiny random models of every family, against calling the library that they come from."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from encoder_families import BERT, FAMILIES, save_family
from open_clip_models import MODELS, save_open_clip

from aevlp.config import registry
from aevlp.data.images import ArrayImages
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.embedding_cache import hash_files
from aevlp.vision_language.encoders import Encoder

pytestmark = pytest.mark.processor

TEXTS = ["a photo of a red fire truck.", "green", "a drawing of an unheard word ."]
SAVE = {f"huggingface {family}": save_family for family in FAMILIES} | {f"open_clip {model}": save_open_clip for model in MODELS}


@pytest.fixture(scope="module", params=SAVE)
def saved(request, tmp_path_factory):
    """A model as it was saved, and the kind of encoder that reads it."""
    kind, _, name = request.param.partition(" ")
    return kind, SAVE[request.param](name, tmp_path_factory.mktemp(kind) / name)


def settings(saved, **changes):
    kind, model = saved
    changes = {"precision": "fp32", "cache": False} | changes
    return registry.settings("encoders", kind)(name=kind, source=str(model.folder), **changes)


def built(saved, **changes) -> Encoder:
    return registry.build("encoders", settings(saved, **changes), device=torch.device("cpu"))


def views(saved, count=5):
    numbers, side = np.random.default_rng(0), saved[1].side
    return torch.from_numpy(numbers.integers(0, 256, (count, 3, side, side), dtype=np.uint8))


def embeddings(embedder, images):
    chunks = sorted(embedder.embed(images, grid=2, flip=True), key=lambda chunk: chunk[0].start)
    return torch.cat([values for _, values in chunks])


def photos(count=3):
    return ArrayImages(np.random.default_rng(1).integers(0, 256, (count, 40, 50, 3), dtype=np.uint8))


def test_every_kind_is_in_this_suite():
    assert {name.partition(" ")[0] for name in SAVE} | {"embeddings"} == set(registry.names("encoders"))


def test_images_are_of_unit_length_and_equal_the_library(saved):
    encoder = built(saved)
    found = encoder.encode_images(views(saved))
    assert found.dtype == torch.float32
    assert encoder.image_size == saved[1].side
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(found, saved[1].images(views(saved)), atol=1e-5, rtol=0)
    assert torch.pdist(found).min() > 1e-3


def test_texts_equal_the_library_whatever_is_beside_them(saved):
    found = built(saved).encode_texts(TEXTS)
    assert found.dtype == torch.float32
    expected = torch.stack([saved[1].text(text) for text in TEXTS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert torch.pdist(found).min() > 1e-3


def test_towers_meet_in_one_space(saved):
    encoder = built(saved)
    assert encoder.encode_images(views(saved, 1)).shape[1] == encoder.encode_texts(TEXTS[:1]).shape[1]


def test_a_view_does_not_depend_on_its_neighbours_and_the_cache_gives_the_same_bits(saved):
    uncached = embeddings(Embedder(settings(saved), "cpu", print), photos())
    alone = embeddings(Embedder(settings(saved), "cpu", print), ArrayImages(photos().images[1:2]))
    assert torch.equal(alone[0], uncached[1])
    for encoded in (3 * 2 * 5, 0):
        embedder = Embedder(settings(saved, cache=True), "cpu", print)
        texts = embedder.encode_texts(TEXTS)
        assert torch.equal(embeddings(embedder, photos()), uncached)
        assert embedder.num_images_encoded == encoded
        assert torch.equal(texts, built(saved).encode_texts(TEXTS))


def test_what_is_cached_is_found_without_loading_the_weights(saved, monkeypatch):
    first = Embedder(settings(saved, cache=True), "cpu", print)
    first.encode_texts(TEXTS)
    embeddings(first, photos())
    monkeypatch.setattr(type(first._encoder), "load", lambda _: pytest.fail("the weights were loaded"))
    again = Embedder(settings(saved, cache=True), "cpu", print)
    again.encode_texts(TEXTS)
    embeddings(again, photos())


def test_bf16_is_near_and_texts_stay_in_fp32(saved):
    plain, rounded = built(saved), built(saved, precision="bf16")
    cosines = (plain.encode_images(views(saved)) * rounded.encode_images(views(saved))).sum(dim=1)
    assert 1e-7 < (1 - cosines).max() < 0.02
    assert torch.equal(plain.encode_texts(TEXTS), rounded.encode_texts(TEXTS))


def test_the_scale_of_its_cosines_is_that_of_the_model(saved):
    model = saved[1].model
    expected = model.logit_scale.exp() if hasattr(model, "logit_scale") else 1 / model.temperature
    assert built(saved).logit_scale == pytest.approx(expected.item(), rel=1e-6)


def test_a_text_tower_of_512_tokens_is_not_given_512_for_a_dozen(tmp_path, monkeypatch):
    monkeypatch.setitem(
        FAMILIES,
        "chinese_clip",
        (*FAMILIES["chinese_clip"][:1], BERT | {"max_position_embeddings": 512}, *FAMILIES["chinese_clip"][2:]),
    )
    saved = "huggingface", save_family("chinese_clip", tmp_path / "model")
    encoder, lengths = built(saved), []
    encoder.load()
    ask = encoder.model.get_text_features
    monkeypatch.setattr(
        encoder.model, "get_text_features", lambda **given: lengths.append(given["input_ids"].shape[1]) or ask(**given)
    )
    found = encoder.encode_texts([*TEXTS, "red " * 600])
    assert lengths == [512]
    torch.testing.assert_close(encoder.encode_texts(TEXTS), found[:3], atol=1e-5, rtol=1e-5)
    assert lengths[1] < 12


@pytest.mark.parametrize("family", ["clip", "siglip", "align"])
def test_what_was_cached_wrong_is_not_found_and_all_else_is(family, tmp_path):
    saved = "huggingface", save_family(family, tmp_path / family)
    encoder, files = built(saved), hash_files(path for path in saved[1].folder.iterdir())
    assert (encoder.fingerprint() == files) == (family != "align")
    assert (encoder.text_fingerprint() == files) == (family == "clip")


def test_what_it_hangs_on_is_told_without_loading_and_changes_with_the_weights(saved, tmp_path):
    kind, model = saved
    before = built(saved).fingerprint()
    assert before == built(saved).fingerprint()
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model.folder.iterdir():
        content = path.read_bytes()
        (copy / path.name).write_bytes(content[:-1] + b"\1" if path.suffix == ".safetensors" else content)
    changed = registry.settings("encoders", kind)(name=kind, source=str(copy))
    assert registry.build("encoders", changed, device="cpu").fingerprint() != before
