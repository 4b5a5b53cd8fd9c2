"""DAMP with the embedding cache: what goes through the encoder, and that the labels are the same to the bit."""

import os
import shutil

import dual_encoders as tiny
import miniatures
import pytest
import torch
from PIL import Image

from aevlp.cli import main
from aevlp.config.errors import DataError
from aevlp.data.dataset import Split
from aevlp.data.digits import CLASS_NAMES, draw_scenes
from aevlp.data.images import ArrayImages, ImageFiles
from aevlp.folders import cache_root
from aevlp.labelers.damp import DAMP, DAMPConfig
from aevlp.training.dry_run import first_images
from aevlp.vision_language import embedding_store
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders.huggingface import HuggingFace, HuggingFaceConfig

COUNT = 11


@pytest.fixture(scope="module")
def scenes():
    return miniatures.scenes(COUNT)


@pytest.fixture
def said():
    return []


@pytest.fixture
def build(said):
    def build(grid=2, flip=True, names=CLASS_NAMES, **encoder):
        config = DAMPConfig(
            name="damp", grid=grid, temperature=0.14, threshold=0.4, label_graph={"enabled": False},
            encoder={"source": "bundled", "batch_size": 16, **encoder},
        )  # fmt: skip
        return DAMP(config, prompt_names=list(names), flip=flip, seed=0, device=torch.device("cpu"), notify=said.append)

    return build


def prepared(labeler, split):
    labeler.prepare(split)
    return labeler


def labels(labeler, split, epoch):
    return labeler.label(torch.arange(len(split)), torch.from_numpy(split.observed), epoch=epoch)


@pytest.mark.parametrize(("flip", "per_image"), [(True, 2 * (2 * 2 + 1)), (False, 2 * 2 + 1)])
def test_each_view_is_encoded_once_for_any_number_of_epochs_and_runs(build, scenes, flip, per_image):
    first = prepared(build(flip=flip), scenes)
    for epoch in range(1, 9):
        labels(first, scenes, epoch)
    assert first.num_images_encoded == COUNT * per_image
    again = prepared(build(flip=flip), scenes)
    assert again.num_images_encoded == 0


def test_a_warm_start_does_not_load_the_encoder(build, scenes, monkeypatch):
    expected = prepared(build(), scenes)

    def refuse(*_):
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr(HuggingFace, "_load", refuse)
    warm = prepared(build(), scenes)
    assert torch.equal(warm.text, expected.text)
    assert torch.equal(warm._cosines, expected._cosines)
    with pytest.raises(AssertionError, match="was loaded"):
        build(names=("zero", "one"))  # other prompts


@pytest.mark.processor
def test_labels_are_equal_to_the_bit_without_a_cache_with_a_new_one_a_half_filled_and_a_warm_one(build, scenes):
    plain = prepared(build(cache=False), scenes)
    half = build()
    with pytest.raises(InterruptedError):
        half.prepare(scenes, stop_at(5))
    assert 0 < half.num_images_encoded < 110
    for labeler in (prepared(build(), scenes), prepared(build(), scenes), prepared(build(cache=False, batch_size=16), scenes)):
        assert torch.equal(labeler.text, plain.text)
        assert torch.equal(labeler._cosines, plain._cosines)
        for epoch in (1, 2):
            assert torch.equal(labels(labeler, scenes, epoch), labels(plain, scenes, epoch))
    assert labels(plain, scenes, 1).any()


def stop_at(count):
    def progress(done, total):
        if done >= count:
            raise InterruptedError

    return progress


def test_a_stopped_run_keeps_what_it_encoded(build, scenes):
    stopped = build()
    with pytest.raises(InterruptedError):
        stopped.prepare(scenes, stop_at(5))
    rest = prepared(build(), scenes)
    begun = 16  # at most one batch of views, of images that were not complete
    assert COUNT * 10 <= stopped.num_images_encoded + rest.num_images_encoded <= COUNT * 10 + begun


def embeddings(embedder, images, grid=2, flip=False):
    chunks = sorted(embedder.embed(images, grid, flip), key=lambda chunk: chunk[0].start)
    return torch.cat([values for _, values in chunks])


@pytest.mark.processor
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_embedding_does_not_depend_on_its_neighbours_nor_on_its_place_in_the_batch(scenes, precision):
    embedder = Embedder(HuggingFaceConfig(source="bundled", batch_size=16, precision=precision, cache=False), "cpu")
    whole = embeddings(embedder, scenes.images)
    assert whole.dtype == torch.float16
    for row in (0, 6, COUNT - 1):
        alone = embeddings(embedder, ArrayImages(scenes.images.images[row : row + 1]))
        assert torch.equal(alone[0], whole[row])
    order = [7, 3, 10, 0]
    assert torch.equal(embeddings(embedder, ArrayImages(scenes.images.images[order])), whole[order])


def test_every_forward_pass_has_the_same_number_of_views(scenes, monkeypatch):
    embedder = Embedder(HuggingFaceConfig(source="bundled", batch_size=16, cache=False), "cpu")
    encode, sizes = embedder.encoder.encode_images, []
    monkeypatch.setattr(embedder.encoder, "encode_images", lambda views: sizes.append(len(views)) or encode(views))
    embeddings(embedder, scenes.images)
    assert sizes == [16] * 4  # 55 views
    assert embedder.num_images_encoded == 55


def test_grids_share_the_whole_image(build, scenes):
    encoded = [prepared(build(grid=grid, flip=False), scenes).num_images_encoded // COUNT for grid in (2, 3, 0, 2)]
    assert encoded == [1 + 4, 9, 0, 0]
    assert torch.equal(prepared(build(grid=3, flip=False), scenes)._cosines, build(grid=3, cache=False).cosines(scenes, False))


def test_mirror_images_are_added_to_what_is_there(build, scenes):
    assert prepared(build(flip=False), scenes).num_images_encoded == COUNT * 5
    assert prepared(build(flip=True), scenes).num_images_encoded == COUNT * 5
    assert build().count_missing(scenes, flip=True) == 0


def test_fewer_and_more_images_encode_what_is_new(build, scenes, said):
    few = first_images(scenes, 4)
    assert build().count_missing(few, flip=True) == 4 * 10
    assert prepared(build(), few).num_images_encoded == 4 * 10
    assert build().count_missing(scenes, flip=True) == (COUNT - 4) * 10
    assert prepared(build(), scenes).num_images_encoded == (COUNT - 4) * 10
    assert prepared(build(), first_images(scenes, 8)).num_images_encoded == 0
    assert sum("7 of 11 images are not cached yet" in text for text in said) == 2  # counted, then encoded


def test_a_changed_photo_is_encoded_again_and_nothing_else(build, scenes, tmp_path):
    names = [f"{row}.png" for row in range(COUNT)]
    for row, name in enumerate(names):
        Image.fromarray(scenes.images.images[row]).save(tmp_path / name)
    photos = Split(ImageFiles(tmp_path, names), scenes.observed, None)
    before = prepared(build(flip=False), photos)
    Image.fromarray(255 - scenes.images.images[3]).save(tmp_path / names[3])
    after = prepared(build(flip=False), photos)
    assert after.num_images_encoded == 5
    assert torch.equal(after._cosines, build(cache=False).cosines(photos, False))
    same = (after._cosines == before._cosines).flatten(1).all(dim=1)
    assert same.tolist() == [row != 3 for row in range(COUNT)]
    (tmp_path / names[0]).unlink()
    with pytest.raises(DataError, match=r"0\.png: listed in row 0, but there is no such file"):
        build().prepare(photos)


def test_a_folder_of_equal_names_sizes_and_times_gets_its_own_labels(build, tmp_path):
    folders = []
    for part in ("train", "val"):
        drawn, folder = draw_scenes(part, 24), tmp_path / part
        folder.mkdir()
        for row in range(24):
            Image.fromarray(drawn.images[row]).save(folder / f"{row:04d}.bmp")
            os.utime(folder / f"{row:04d}.bmp", ns=(0, 10**18))
        folders.append(Split(ImageFiles(folder, [f"{row:04d}.bmp" for row in range(24)]), drawn.targets, None))
    for photos in folders:
        labeler = prepared(build(grid=0, flip=False), photos)
        assert labeler.num_images_encoded == 24
        assert torch.equal(labeler._cosines, build(grid=0, cache=False).cosines(photos, False))


def test_a_moved_and_renamed_dataset_keeps_its_rows_and_a_photo_there_twice_is_encoded_once(build, scenes, tmp_path, said):
    (tmp_path / "old").mkdir()
    for row in range(COUNT):
        Image.fromarray(scenes.images.images[row]).save(tmp_path / "old" / f"{row}.png")
    before = prepared(build(flip=False), Split(ImageFiles(tmp_path / "old", [f"{i}.png" for i in range(COUNT)]), None, None))
    shutil.copytree(tmp_path / "old", tmp_path / "new", copy_function=shutil.copyfile)
    (tmp_path / "new" / "3.png").rename(tmp_path / "new" / "three.png")
    names = [*("three.png" if i == 3 else f"{i}.png" for i in range(COUNT)), "three.png"]
    after = prepared(build(flip=False), Split(ImageFiles(tmp_path / "new", names), None, None))
    assert after.num_images_encoded == 0
    assert torch.equal(after._cosines, before._cosines[[*range(COUNT), 3]])
    assert not any("are new" in text for text in said)


@pytest.fixture
def broken(monkeypatch):
    """Makes the encoder give `value` for one view of every forward pass, and for one text."""

    def breaks(value):
        encode_images, encode_texts = HuggingFace.encode_images, HuggingFace.encode_texts

        def some(encode):
            def encode_some(self, what):
                features = encode(self, what).clone()
                features[3] = value
                return features

            return encode_some

        monkeypatch.setattr(HuggingFace, "encode_images", some(encode_images))
        return lambda: monkeypatch.setattr(HuggingFace, "encode_texts", some(encode_texts))

    return breaks


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("cache", [True, False])
def test_an_encoder_that_gives_no_embedding_is_named_at_the_first_batch_and_nothing_is_kept(build, scenes, broken, value, cache):
    break_texts = broken(value)
    labeler = build(flip=False, cache=cache)
    with pytest.raises(DataError) as caught:
        labeler.prepare(scenes)
    message = str(caught.value)
    assert message.startswith("encoder bundled: 1 of 16 embeddings are NaN, infinite or all 0, the first of image ")
    assert "\n" not in message
    assert labeler.embedder.num_images_encoded == 16
    if cache:
        assert build(flip=False).count_missing(scenes, flip=False) == COUNT * 5
        shutil.rmtree(cache_root())  # texts are there already
    break_texts()
    with pytest.raises(DataError, match=r"encoder bundled: 1 of 10 embeddings .* the first of 'a photo of a three\.'"):
        build(cache=cache)


def test_label_with_a_broken_encoder_fails_in_one_line(broken, small, tmp_path, capsys):
    broken(float("nan"))
    assert main(["label", "--exp", "digits_gpr", "--set", *small, "-o", str(tmp_path / "labels.csv")]) == 1
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: encoder bundled: 1 of ")
    assert not (tmp_path / "labels.csv").exists()


def test_two_encoders_share_the_folder_without_harm(build, scenes, tmp_path):
    (tmp_path / "clip").mkdir()
    tiny.save_clip(tmp_path / "clip")
    sources = {"bundled": CLASS_NAMES, str(tmp_path / "clip"): ("red", "green", "blue")}
    expected = {
        source: build(source=source, names=names, cache=False).cosines(scenes, False) for source, names in sources.items()
    }
    for encoded in (COUNT * 5, 0):
        for source, names in sources.items():
            labeler = build(source=source, names=names)
            assert torch.equal(labeler.cosines(scenes, False), expected[source])
            assert labeler.num_images_encoded == encoded


def test_on_a_full_disk_labels_are_the_same_and_the_run_says_so(build, scenes, said, monkeypatch):
    expected = prepared(build(cache=False), scenes)._cosines
    pwrite, calls = embedding_store.os.pwrite, []

    def fills_up(descriptor, content, offset):
        calls.append(offset)
        if len(calls) > 60:
            raise OSError(28, "No space left on device")
        return pwrite(descriptor, content, offset)

    monkeypatch.setattr(embedding_store.os, "pwrite", fills_up)
    labeler = prepared(build(), scenes)
    assert torch.equal(labeler._cosines, expected)
    assert sum("No space left on device; going on with what is there" in text for text in said) == 1
    monkeypatch.undo()


def test_images_without_an_identity_are_not_cached_and_that_is_said_once(build, scenes, said):
    class Plain(ArrayImages):
        identity = None

    plain = Split(Plain(scenes.images.images), scenes.observed, None)
    for count in (1, 2):
        labeler = prepared(build(), plain)
        assert labeler.num_images_encoded == COUNT * 10
        labeler.evaluate(plain)
        told = [text for text in said if text.startswith("embedding cache")]
        assert told == ["embedding cache: these images have no identity() to know them by, so nothing of them is kept"] * count
