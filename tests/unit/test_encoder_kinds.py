"""Kinds of encoders beside each other: chosen by name, apart in the cache; and what is wrong with a model of open_clip."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from open_clip_models import save_open_clip

from aevlp import load_experiment
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.describe import schema
from aevlp.config.errors import AevlpError, ConfigError, UnavailableError
from aevlp.data.images import ArrayImages
from aevlp.vision_language.embedder import TEXT_BATCH, Embedder
from aevlp.vision_language.embedding_cache import Family, hash_files, stores
from aevlp.vision_language.encoders import Encoder, EncoderConfig
from aevlp.vision_language.encoders.huggingface import BUNDLED, HuggingFaceConfig
from aevlp.vision_language.encoders.open_clip import OpenCLIPConfig

PHOTOS = ArrayImages(np.random.default_rng(0).integers(0, 256, (3, 20, 20, 3), dtype=np.uint8))


class MeanColour(Encoder):
    """As a plugin may be: three numbers and a one, and by chance the fingerprint of another encoder."""

    image_size = 4

    def __init__(self, config, fingerprint="0", deterministic=True):
        self.config, self.device, self.title = config, torch.device("cpu"), "mean colour"
        self.deterministic = deterministic
        self._fingerprint = fingerprint

    def fingerprint(self):
        return self._fingerprint

    def encode_images(self, views):
        means = views.float().mean(dim=(2, 3)) / 255
        return torch.nn.functional.normalize(torch.cat([means, torch.ones(len(views), 1)], dim=1), dim=1)

    def encode_texts(self, texts):
        return torch.tensor([[float(len(text)), 1, 0, 0] for text in texts])


def embedded(embedder):
    embedder.encode_texts(["red"])
    return torch.cat([values for _, values in embedder.embed(PHOTOS, grid=2, flip=False)])


@pytest.mark.parametrize("count", [1, TEXT_BATCH, 2 * TEXT_BATCH + 88])
@pytest.mark.parametrize("cache", [True, False])
def test_many_texts_are_encoded_some_at_a_time_and_kept_in_their_order(count, cache, monkeypatch):
    texts, asked, encode = ["x" * i for i in range(count)], [], MeanColour.encode_texts
    monkeypatch.setattr(MeanColour, "encode_texts", lambda self, texts: asked.append(len(texts)) or encode(self, texts))
    config = EncoderConfig(name="mean_colour", cache=cache)
    for _ in range(2):
        found = Embedder(config, "cpu", print, MeanColour(config)).encode_texts(texts)
        assert torch.equal(found, encode(None, texts))
    assert max(asked) <= TEXT_BATCH
    assert sum(asked) == count * (1 if cache else 2)


def test_names_that_vectors_lack_are_told_all_at_once(monkeypatch):
    asked, config = [], EncoderConfig(name="mean_colour", cache=False)
    monkeypatch.setattr(MeanColour, "by_name", True)
    monkeypatch.setattr(MeanColour, "encode_texts", lambda _, texts: asked.append(len(texts)) or torch.ones(len(texts), 4))
    Embedder(config, "cpu", print, MeanColour(config)).encode_texts(["name"] * 3 * TEXT_BATCH)
    assert asked == [3 * TEXT_BATCH]


def test_kinds_share_a_cache_folder_and_never_a_row():
    bundled = HuggingFaceConfig(source="bundled")
    first = Embedder(bundled, "cpu", print)
    before = embedded(first)
    other = EncoderConfig(name="mean_colour")
    encoder = MeanColour(other, fingerprint=first._encoder.fingerprint())
    for encoded in (3 * 5, 0):
        embedder = Embedder(other, "cpu", print, encoder)
        assert embedded(embedder).shape == (3, 1, 5, 4)
        assert embedder.num_images_encoded == encoded
    again = Embedder(bundled, "cpu", print)
    assert torch.equal(embedded(again), before)
    assert again.num_images_encoded == 0


def test_rows_of_when_there_was_one_kind_are_found():
    embedded(Embedder(HuggingFaceConfig(source="bundled"), "cpu", print))
    files = hash_files(
        path for path in BUNDLED["bundled"].iterdir() if path.suffix in (".json", ".txt", ".safetensors", ".model")
    )
    parts = [{"part": "whole", "views": 1}, {"part": "grid 2", "views": 4}, {"part": "texts", "views": 1, "dtype": "float32"}]
    keys = {Family(encoder="bundled", files=files, **part).key for part in parts}
    assert {folder.name.partition("-")[0] for folder in stores()} == keys
    assert Family(encoder="x", files="0123", part="whole", views=1).key == "6cd5a6d01392ca41"


@pytest.mark.parametrize(
    ("cache", "words"), [(True, "what the embedding cache keeps"), (False, "luck, with labeler.encoder.cache off")]
)
def test_an_encoder_that_is_not_deterministic_is_named(cache, words):
    said = []
    config = EncoderConfig(name="mean_colour", cache=cache)
    embedded(Embedder(config, "cpu", said.append, MeanColour(config, deterministic=False)))
    assert said == [f"encoder mean colour does not give the same numbers twice; runs repeat each other by {words}"]


def test_another_kind_keeps_no_setting_of_the_one_before(tmp_path):
    (tmp_path / "mine.yaml").write_text("base: folder_gpr\nlabeler: {encoder: {name: embeddings, images: a.npz, texts: b.npz}}\n")
    for words in ([], ["labeler.encoder.name=open_clip", "labeler.encoder.source=hf-hub:owner/name"]):
        encoder = load_experiment(tmp_path / "mine.yaml", words).labeler.encoder
        assert encoder.name == ("open_clip" if words else "embeddings")
        assert not hasattr(encoder, "images" if words else "source")
    with pytest.raises(ConfigError, match=r"^--set \S+: labeler\.encoder\.source: is missing$"):
        load_experiment("folder_gpr", ["labeler.encoder.name=open_clip"])
    with pytest.raises(ConfigError, match=r"labeler\.encoder\.image: unknown key; did you mean 'images'\?"):
        load_experiment(tmp_path / "mine.yaml", ["labeler.encoder.image=x"])


def test_the_schema_knows_every_kind():
    found = schema()["$defs"]
    assert [choice["$ref"] for choice in found["EncoderConfig"]["anyOf"]] == [
        f"#/$defs/encoder~1{name}" for name in registry.names("encoders")
    ]
    assert {"weights", "source"} <= found["encoder/open_clip"]["properties"].keys()


@pytest.fixture
def model(tmp_path):
    return {name: save_open_clip(name, tmp_path / name) for name in ("vit", "timm")}


def refused(kind=ConfigError, **given):
    with pytest.raises(kind) as caught:
        registry.build("encoders", OpenCLIPConfig(name="open_clip", **given), device="cpu").load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_model_of_open_clip_is_told_in_a_line(model, tmp_path, monkeypatch):
    weights = str(model["vit"].folder / "open_clip_model.safetensors")
    assert "no architecture of open_clip; did you mean 'ViT-B-32'" in refused(source="ViT-B-33", weights=weights)
    assert "labeler.encoder.weights: ViT-B-32 is an architecture; name a file" in refused(source="ViT-B-32")
    assert f"labeler.encoder.weights: {tmp_path}/gone: no such file" in refused(source="ViT-B-32", weights=str(tmp_path / "gone"))
    assert "ViT-S-32-alt cannot be loaded: text pos_embed width changed" in refused(source="ViT-S-32-alt", weights=weights)
    assert "has its own; weights are for an arch" in refused(source=str(model["vit"].folder), weights=weights)
    (tmp_path / "empty").mkdir()
    assert "holds no open_clip_config.json" in refused(source=str(tmp_path / "empty"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE=1 forbids a download" in refused(UnavailableError, source="hf-hub:owner/absent-model")
    assert "neither a folder here nor a hub id" in refused(source="hf-hub:with space")
    assert "is not on this machine either" in OpenCLIPConfig(name="open_clip", source="hf-hub:owner/absent-model").missing()
    monkeypatch.setitem(sys.modules, "open_clip", None)
    assert "pip install 'aevlp[open_clip]'" in refused(UnavailableError, source=str(model["vit"].folder))


def test_parts_of_two_models_are_told_in_a_line(model, monkeypatch, capfd):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = model["timm"].folder
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(folder / f"{name}.away")
    assert "has a text tower without a tokenizer here" in refused(UnavailableError, source=str(folder))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / f"{name}.away").rename(folder / name)
    config = json.loads((folder / "open_clip_config.json").read_text())
    for change in ({"embed_dim": 32}, {"text_cfg": None}, {"vision_cfg": {"timm_model_name": "no_such_tower", "image_size": 32}}):
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config["model_cfg"] | change}))
        assert str(folder) in refused(source=str(folder))
    (folder / "open_clip_config.json").write_text("{")
    assert "open_clip_config.json cannot be read" in refused(source=str(folder))
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    (folder / "open_clip_model.safetensors").write_bytes(b"123")
    assert "cannot be loaded" in refused(source=str(folder))
    (folder / "open_clip_model.safetensors").unlink()
    assert "cannot be loaded" in refused(source=str(folder))
    assert "Traceback" not in capfd.readouterr().err


def test_weights_in_a_file_of_torch_give_the_same(model, tmp_path, monkeypatch):
    import open_clip

    saved = model["vit"]
    settings = json.loads((saved.folder / "open_clip_config.json").read_text())["model_cfg"]
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-tiny", settings)
    torch.save(saved.model.state_dict(), tmp_path / "weights.pt")
    config = OpenCLIPConfig(name="open_clip", source="ViT-tiny", weights=str(tmp_path / "weights.pt"))
    encoder = registry.build("encoders", config, device="cpu")
    assert torch.equal(encoder.encode_texts(["red"])[0], saved.text("red"))
    assert encoder.logit_scale == pytest.approx(saved.model.logit_scale.exp().item())
    other = OpenCLIPConfig(name="open_clip", source="ViT-B-32", weights=str(tmp_path / "weights.pt"))
    assert registry.build("encoders", other, device="cpu").fingerprint() != encoder.fingerprint()
    (tmp_path / "weights.pt").write_bytes(b"\x80\x02cos\nsystem\n.")
    assert issubclass(ConfigError, AevlpError)
    assert "weights.pt as ViT-tiny cannot be loaded" in refused(source="ViT-tiny", weights=str(tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["labeler.encoder.name=open_clip", "labeler.encoder.source=ViT-B-33"], 2, "no architecture of open_clip"),
        (["labeler.encoder.name=open_clap"], 2, "unknown encoder 'open_clap'; did you mean 'open_clip'"),
        (["labeler.encoder.name=embeddings", "labeler.encoder.images=a.npz", "labeler.encoder.texts=b.npz"], 2, "no such file"),
    ],
)
def test_a_run_without_a_usable_encoder_ends_with_a_line(words, code, said, capsys):
    assert main(["--exp", "digits_gpr", "--set", "tracking.mode=off", "dataset.num_train=20", *words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
