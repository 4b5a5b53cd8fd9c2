"""A head on stored features: whose they are, what it computes, and that nothing is encoded twice."""

import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import small_runs as runs
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import aevlp
from aevlp.cli import main
from aevlp.config.errors import AevlpError, ConfigError, DataError
from aevlp.data.build import build_dataset
from aevlp.data.dataset import Split
from aevlp.data.features import FeatureImages
from aevlp.data.loaders import TrainLoader, eval_loader
from aevlp.data.rows import take_rows
from aevlp.folders import runs_root
from aevlp.inference.evaluate import evaluate
from aevlp.inference.open import open_trained
from aevlp.inference.trained import build_model
from aevlp.labelers import damp
from aevlp.labelers.damp import DAMP
from aevlp.models._features import BackboneEncoder, FeatureStore
from aevlp.models.probe import Probe, ProbeConfig
from aevlp.models.timm import TimmConfig
from aevlp.random import IMAGE_FLIP, flips
from aevlp.training import dry_run
from aevlp.training.begun_on import write_encoders
from aevlp.training.model_inputs import count_features
from aevlp.training.run import resume
from aevlp.training.signals import RunStopped
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders import _towers
from aevlp.vision_language.encoders.huggingface import BUNDLED
from aevlp.vision_language.prompts import text_features

OF_BUNDLED = ("model=probe", "model.encoder.source=bundled")
OF_LABELER = (
    "labeler=damp", "labeler.encoder.source=bundled", "labeler.label_graph.enabled=false", "labeler.grid=2", "model=probe",
    "trainer.evaluate_labeler=false",
)  # fmt: skip


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    """The smallest network of timm that is known, from a file."""
    import timm

    path = tmp_path_factory.mktemp("weights") / "resnet10t.safetensors"
    torch.manual_seed(1)
    save_file(timm.create_model("resnet10t", pretrained=False).state_dict(), path)
    return f"model.backbone={{name: timm, backbone: resnet10t, weights: {path}}}"


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))


def encoded(run) -> int:
    return runs.epoch_rows(run)[-1]["perf/clip_images_encoded"]


def stored(config, split, flip=False):
    store = FeatureStore.of_probe(config.model, config.dataset.image_size, torch.device("cpu"))
    return store.of(split, flip).images.features


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("flip", [False, True])
def test_features_are_the_embeddings_of_whole_images_and_nothing_is_encoded_twice(flip):
    words = (*OF_LABELER, f"dataset.flip={str(flip).lower()}", "trainer.epochs=1")
    config = runs.config(*words)
    data = build_dataset(config.dataset)
    assert encoded(aevlp.train(runs.config(*words, "model=small_cnn")).run_dir) == (1 + flip) * 48 * 5
    assert encoded(aevlp.train(config).run_dir) == 40 + 40  # validation and test, which the labeler was not asked about
    assert encoded(aevlp.train(config).run_dir) == 0
    features = stored(config, data.train, flip)
    wanted = torch.empty_like(features)
    for rows, found in Embedder(config.labeler.encoder, "cpu").embed(data.train.images, 0, flip):
        wanted[rows.start : rows.stop] = found[:, :, 0]
    assert torch.equal(features, wanted)
    assert features.shape[:2] == (48, 1 + flip)


@pytest.mark.usefixtures("empty_cache")
def test_from_an_empty_cache_labeler_and_head_encode_each_view_once():
    assert encoded(aevlp.train(runs.config(*OF_LABELER, "trainer.epochs=1")).run_dir) == 48 * 5 + 40 + 40


@pytest.mark.usefixtures("empty_cache")
def test_views_that_a_head_on_a_backbone_lacks_are_counted_with_and_without_a_labeler(backbone):
    for labeler in (("labeler=none",), OF_LABELER):
        config = runs.config(*labeler, "model=probe", backbone, "dataset.flip=true")
        assert count_features(config, build_dataset(config.dataset), torch.device("cpu")) == 2 * 48 + 40 + 40


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("counted_by", ["count_features", "count_views"])
def test_views_are_counted_for_the_device_that_computes_them(counted_by, monkeypatch):
    """Auto takes another precision on another device, and rows of each are kept apart."""
    monkeypatch.setattr(_towers, "choose_precision", lambda *given: ("fp32" if given[2].type == "cpu" else "bf16", ""))
    config = runs.config("labeler=none", *OF_BUNDLED)
    data, there = build_dataset(config.dataset), {}
    for split in (data.train, data.val, data.test):
        stored(config, split, flip=config.dataset.flip)
    for device in (torch.device("cpu"), torch.device("meta")):
        monkeypatch.setattr(dry_run, "Accelerator", lambda device=device: SimpleNamespace(device=device))
        by = {"count_features": lambda on: count_features(config, data, on), "count_views": lambda _: dry_run.count_views(config)}
        there[device.type] = by[counted_by](device)
    assert there["cpu"] == 0
    assert there["meta"] >= 48 + 40 + 40


def test_two_networks_of_equal_weights_are_told_apart_and_weights_by_no_name(tmp_path):
    """tf_efficientnet_b0 pads otherwise, which no weight tells."""
    import timm

    networks = {name: timm.create_model(name, pretrained=False) for name in ("efficientnet_b0", "tf_efficientnet_b0")}
    names = [set(network.state_dict()) for network in networks.values()]
    assert names[0] == names[1]
    paths = [tmp_path / "one.safetensors", tmp_path / "other.safetensors"]
    for path in paths:
        save_file(networks["efficientnet_b0"].state_dict(), path)
    found = {}
    for name in networks:
        for path in paths:
            encoder = BackboneEncoder(TimmConfig(name="timm", backbone=name, weights=str(path)), 33, torch.device("cpu"))
            found[name, path] = encoder.fingerprint(), encoder.encode_images(torch.eye(33).byte().expand(1, 3, 33, 33) * 255)
    for name in networks:
        assert found[name, paths[0]][0] == found[name, paths[1]][0]
    (mine, features), (other, of_other) = (found[name, paths[0]] for name in networks)
    assert not torch.allclose(features, of_other)
    assert mine != other


def test_a_batch_holds_mirrored_features_where_the_coin_would_flip_the_image():
    data = build_dataset(runs.config().dataset)
    features = torch.arange(48)[:, None, None] + torch.tensor([[[0.0], [0.5]]])
    split = Split(FeatureImages(data.train.images, features), data.train.observed, None)
    loader = TrainLoader(split, image_size=32, flip=True, batch_size=20, num_workers=2, seed=3)
    batches = list(loader.epoch(2))
    assert [len(batch.index) for batch in batches] == [20, 20, 8]
    rows = torch.cat([batch.index for batch in batches])
    assert sorted(rows.tolist()) == list(range(48))
    coins = flips(IMAGE_FLIP, 3, 2, rows.tolist(), 1)[:, 0]
    assert torch.cat([batch.image for batch in batches])[:, 0].tolist() == (rows.numpy() + 0.5 * coins).tolist()
    assert 0 < coins.sum() < 48
    np.testing.assert_array_equal(torch.cat([batch.observed for batch in batches]), data.train.observed[rows])
    assert torch.equal(next(loader.epoch(2, start=1)).image, batches[1].image)
    taken = take_rows(split, np.array([5, 2]))
    assert torch.cat(list(eval_loader(taken, image_size=32, batch_size=1, num_workers=0))).tolist() == [[5.0], [2.0]]
    assert torch.equal(taken.images[0], data.train.images[5])


def test_a_stopped_run_goes_on_to_the_same_bits(monkeypatch):
    words = (*OF_LABELER, "dataset.flip=true", "model.hidden=8", "model.dropout=0.5", "trainer.ema_decay=0.9")
    whole = aevlp.train(runs.config(*words)).run_dir
    with monkeypatch.context() as patch:
        runs.signal_after_step(patch, runs.STEPS_PER_EPOCH + 1)
        with pytest.raises(RunStopped):
            aevlp.train(runs.config(*words))
    (stopped,) = (path for path in whole.parent.iterdir() if path != whole)
    resume(stopped)
    assert runs.differences(runs.outcome(whole), runs.outcome(stopped)) == []


@pytest.mark.parametrize("of", ["encoder", "backbone"])
def test_the_model_on_images_gives_the_scores_of_validation_and_eval_their_bits(of, backbone):
    words = OF_BUNDLED if of == "encoder" else ("model=probe", backbone)
    run = aevlp.train(runs.config(*words, "dataset.flip=true")).run_dir
    trained = open_trained(str(run))
    scores = np.load(run / "val_scores.npz")["logits"]
    np.testing.assert_array_equal(evaluate(trained, "val").scores["logits"], scores)
    model = build_model(trained, 10)
    split = build_dataset(trained.config.dataset).val
    images = next(eval_loader(split, image_size=model.image_size, batch_size=40, num_workers=0))
    with torch.inference_mode():
        found = model(images).numpy()
    # Stored features are rounded to float16, which moves a logit by .001 or so; two photos differ by a hundred times that.
    np.testing.assert_allclose(found, scores, rtol=0, atol=5e-3)
    assert np.ptp(scores, axis=0).min() > 0.1


def test_features_are_standardised_by_those_of_training_which_the_checkpoint_holds():
    config = runs.config(*OF_BUNDLED, "dataset.flip=true", "trainer.epochs=1")
    state = runs.newest(aevlp.train(config).run_dir).weights("model")
    features = stored(config, build_dataset(config.dataset).train, True).double().flatten(0, 1)
    torch.testing.assert_close(state["mean"], features.mean(dim=0).float())
    torch.testing.assert_close(state["scale"], (1 / features.std(dim=0, correction=0)).float())
    assert set(state) == {"mean", "scale", "head.0.weight", "head.0.bias"}


@pytest.mark.parametrize("features", [torch.linspace(0, 1, 8).expand(1, 1, 8), torch.ones(5, 2, 8), torch.zeros(3, 1, 8)])
def test_what_does_not_vary_is_not_blown_up(features):
    probe = Probe(8, 3, ProbeConfig(name="probe"), torch.nn.Identity)
    probe.standardize(features)
    assert torch.equal(probe.scale, torch.ones(8))
    assert probe(torch.linspace(-1, 1, 160).reshape(20, 8)).abs().max() < 10


@pytest.mark.usefixtures("empty_cache")
def test_the_head_begins_alike_whether_features_were_computed_or_read(backbone):
    words = ("model=probe", backbone, "trainer.epochs=1")
    first, second = (aevlp.train(runs.config(*words)).run_dir for _ in range(2))
    assert (encoded(first), encoded(second)) == (48 + 40 + 40, 0)
    assert runs.differences(runs.newest(first).weights("model"), runs.newest(second).weights("model")) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model=probe",), r"model: labeler none has no encoder to take features of; name one as model\.encoder\.source, or "
         r"model\.backbone$"),
        ((*OF_BUNDLED, "model.backbone=resnet50"), r"takes features of an encoder or of a backbone; set the other one to null$"),
        (("model=probe", "model.backbone=resnet18"), r"'resnet18' is none of resnet50, resnet101 and timm:NAME$"),
        ((*OF_LABELER, "labeler.encoder.cache=false"), r"learns from features that are kept: labeler\.encoder\.cache and "
         r"model\.encoder\.cache must be on$"),
        ((*OF_BUNDLED, "model.encoder.cache=false"), r"learns from features that are kept: "),
        ((*OF_BUNDLED, "model.boost=5"), r"model\.boost: unknown key"),
        (("model=probe", "model.backbone={name: resnet, weights: V1, boost: 5}"), r"BoostLU needs a map of features"),
        ((*OF_BUNDLED, "loss=mime"), r"loss mime needs the model outputs .*, but model probe gives only logits"),
        ((*OF_BUNDLED, "loss=smile"), r"loss smile needs the model outputs"),
        (("model=mime", "model.backbone={name: probe}"), r"model\.backbone: "),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_in_one_line(words, message):
    with pytest.raises(ConfigError, match=message) as caught:
        runs.config(*words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        ("timm:resnet81", "model.backbone.backbone: timm has no model 'resnet81'"),
        (
            "{name: timm, backbone: resnet18, weights: none}",
            "model.backbone.weights: none leaves a network that has learnt nothing",
        ),
    ],
)
def test_a_backbone_that_is_unknown_or_empty_ends_the_run_in_one_line(backbone, message):
    with pytest.raises(ConfigError) as caught:
        aevlp.train(runs.config("model=probe", f"model.backbone={backbone}"))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "encoder",
    [
        "{source: /nowhere/at/all}",
        "{name: open_clip, source: ViT-B-32}",
        "{name: embeddings, images: /nowhere.npz, texts: /nowhere.npz}",
    ],
)
@pytest.mark.parametrize("labeler", ["none", "damp"])
def test_settings_of_an_encoder_are_told_where_they_stand(encoder, labeler):
    words = ["model=probe", "trainer.patience=null", f"labeler={labeler}"]
    with pytest.raises(AevlpError, match=r"model\.encoder\.") as caught:
        aevlp.train(runs.config(*words, f"model.encoder={encoder}"))
    assert "labeler.encoder" not in str(caught.value)
    if labeler != "none":
        with pytest.raises(AevlpError, match=r"labeler\.encoder\.") as caught:
            aevlp.train(runs.config(*words, f"labeler.encoder={encoder}"))
        assert "model.encoder" not in str(caught.value)


def test_what_the_second_encoder_lacks_is_told_before_the_first_has_encoded(monkeypatch, capsys):
    words = ["labeler=damp", "trainer.patience=null", *OF_BUNDLED]
    with monkeypatch.context() as patch:
        patch.delattr(FeatureStore, "of")
        with pytest.raises(AevlpError, match=r"labeler\.encoder\."):
            aevlp.train(runs.config(*words, "labeler.encoder.source=/nowhere"))
        patch.setattr(damp, "text_features", lambda embedder, names, prompts: text_features(embedder, names[:1] * 2, prompts))
        with pytest.raises(DataError, match=r"gives the same text features to 1 pair\(s\) of classes"):
            aevlp.train(runs.config(*words, "labeler.encoder.source=bundled"))
    monkeypatch.delattr(DAMP, "encode")
    command = ["cache", "build", "--exp", "digits_gpr", "--set", *runs.FAST, "labeler=damp", "labeler.encoder.source=bundled"]
    assert main([*command, "model=probe", "model.encoder.source=/nowhere"]) in (1, 2)
    assert "error: model.encoder.source" in capsys.readouterr().err


@pytest.mark.usefixtures("empty_cache")
def test_a_run_that_is_stopped_while_it_encodes_says_what_is_kept(monkeypatch, capsys):
    of = FeatureStore.of

    def stopped(*given, **named):
        signal.raise_signal(signal.SIGINT)
        return of(*given, **named)

    monkeypatch.setattr(FeatureStore, "of", stopped)
    words = ["--exp", "digits_gpr", "--set", *runs.FAST, *OF_BUNDLED]
    assert main(words) == 130
    kept = "what was encoded is kept, and the same command goes on from there\n"
    assert capsys.readouterr().err.endswith(f"stopped by SIGINT; no run was begun; {kept}")
    assert list(runs_root().iterdir()) == []
    assert main(["cache", "build", *words]) == 130
    assert capsys.readouterr().err.endswith(f"stopped by SIGINT; {kept}")


def test_how_the_encoder_is_fed_is_no_other_experiment():
    plain, other = runs.config(*OF_BUNDLED), runs.config(*OF_BUNDLED, "model.encoder.workers=0", "model.encoder.batch_size=3")
    assert plain.hash == other.hash != runs.config(*OF_BUNDLED, "model.encoder.normalization=imagenet").hash


@pytest.mark.parametrize("of", ["model", "labeler"])
def test_a_run_goes_on_with_the_encoder_that_it_was_begun_with(tmp_path, of, capsys):
    copy, words = tmp_path / "clip", OF_BUNDLED if of == "model" else OF_LABELER
    shutil.copytree(BUNDLED["bundled"], copy)
    words = [word.replace("source=bundled", f"source={copy}") for word in words]
    run = aevlp.train(runs.config(*words, "trainer.epochs=1")).run_dir
    trained, weights = open_trained(str(run)), copy / "model.safetensors"
    assert not any("has other files" in note for note in evaluate(trained).notes)

    tensors = load_file(weights)
    tensors["visual_projection.weight"] = tensors["visual_projection.weight"].flip(0).contiguous()
    save_file(tensors, weights, {"format": "pt"})
    note = "has other files than when the run was begun; what it says may differ"
    assert f"model.encoder ({copy}) {note}" in evaluate(trained).notes
    Image.new("RGB", (40, 40)).save(tmp_path / "photo.png")
    assert main(["predict", str(run), str(tmp_path / "photo.png"), "-o", str(tmp_path / "scores.csv")]) == 0
    assert f"model.encoder ({copy}) {note}" in " ".join(capsys.readouterr().err.split())
    resume(run, epochs=2)
    assert f"{of}.encoder ({copy}) {note}" in " ".join(capsys.readouterr().out.split())

    (run / "encoders.json").write_text("[]")
    resume(run, epochs=3)
    assert "whether the encoder has changed is not known" in " ".join(capsys.readouterr().out.split())
    (run / "encoders.json").unlink()  # an older version left none
    assert resume(run, epochs=4).summary["trainer/epoch"] == 4


def test_an_encoder_by_names_has_no_files_to_write_down(monkeypatch):
    monkeypatch.setattr("aevlp.training.begun_on.registry.build", lambda *_, **__: SimpleNamespace(by_name=True))
    folder = SimpleNamespace(has_begun=False, write=lambda *_: pytest.fail("written"))
    write_encoders(runs.config(*OF_BUNDLED), folder)
