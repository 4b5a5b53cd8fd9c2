"""Vectors that somebody has computed: read by name from every kind of file, and what is wrong with them told in a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow
import pytest
import torch
from miniatures import make_folder
from pyarrow import parquet
from safetensors.numpy import save_file

import aevlp
import aevlp.data.build
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import AevlpError, ConfigError, DataError
from aevlp.folders import runs_root
from aevlp.vision_language.embedder import Embedder
from aevlp.vision_language.encoders import Encoder
from aevlp.vision_language.encoders._vectors import _npz
from aevlp.vision_language.encoders.embeddings import EmbeddingsConfig

CLASSES, PHOTOS, WIDTH = ("red", "fire truck"), ("a.png", "b/c.png", "d.png"), 6


def write_npz(path, names, vectors):
    np.savez(path, names=np.array(names), embeddings=vectors)


def write_npy(path, names, vectors):
    np.save(path, vectors)
    path.with_suffix(".txt").write_text("".join(f"{name}\n" for name in names))


def write_parquet(path, names, vectors):
    parquet.write_table(pyarrow.table({"name": list(names), "embedding": vectors.tolist()}), path)


def write_safetensors(path, names, vectors):
    save_file({name: np.ascontiguousarray(vector) for name, vector in zip(names, vectors, strict=True)}, path)


WRITE = {".npz": write_npz, ".npy": write_npy, ".parquet": write_parquet, ".safetensors": write_safetensors}


def vectors(count, *more, seed=0, width=WIDTH):
    return np.random.default_rng(seed).normal(size=(count, *more, width)).astype(np.float32) * 3


def unit(array):
    return torch.from_numpy(array / np.linalg.norm(array, axis=-1, keepdims=True))


@pytest.fixture
def encoder(tmp_path):
    """Writes vectors of images and texts in files of a kind; builds the encoder that reads them."""

    def build(suffix=".npz", photos=PHOTOS, images=None, classes=CLASSES, texts=None) -> Encoder:
        WRITE[suffix](tmp_path / f"images{suffix}", photos, vectors(len(photos)) if images is None else images)
        WRITE[suffix](tmp_path / f"texts{suffix}", classes, vectors(len(classes), seed=1) if texts is None else texts)
        config = EmbeddingsConfig(
            name="embeddings", images=str(tmp_path / f"images{suffix}"), texts=str(tmp_path / f"texts{suffix}")
        )
        return registry.build("encoders", config, device="cpu")

    return build


@pytest.mark.parametrize("length", [1e-300, 1e-30, 1e-23, 1e-20, 1e-12, 1e12, 1e18, 1e19, 1e30, 1e300])
def test_vectors_of_any_length_are_brought_to_one(encoder, length):
    dtype = np.float32 if 1e-30 <= length <= 1e30 else np.float64
    plain = vectors(len(PHOTOS)).astype(np.float64)
    found = encoder(images=(plain * length).astype(dtype), texts=vectors(len(CLASSES)).astype(np.float64) * length)
    torch.testing.assert_close(found.embed_names(PHOTOS, 0)[:, 0], unit(plain).float())
    torch.testing.assert_close(found.encode_texts([name.replace("_", " ") for name in CLASSES]), unit(vectors(len(CLASSES))))


class Named:
    """Images whose pixels nobody may ask for."""

    def __len__(self):
        return len(PHOTOS)

    def __getitem__(self, row):
        raise AssertionError("decoded")

    def name(self, row):
        return PHOTOS[row]


@pytest.mark.parametrize("suffix", WRITE)
@pytest.mark.parametrize("views", [(), (5,)])
def test_vectors_are_found_by_name_and_no_photo_is_decoded(encoder, suffix, views):
    given = vectors(len(PHOTOS), *views)
    built = encoder(suffix, PHOTOS, given)
    said = []
    embedder = Embedder(built.config, "cpu", said.append)
    found = dict(embedder.embed(Named(), grid=2 if views else 0, flip=True))
    expected = unit(given).reshape(len(PHOTOS), -1, WIDTH).half()
    assert torch.equal(found[range(3)], torch.stack([expected, expected], dim=1))
    assert torch.equal(embedder.encode_texts(["fire truck", "red"]), unit(vectors(2, seed=1))[[1, 0]])
    assert (embedder.num_images_encoded, embedder.count_missing(Named(), 2, True)) == (0, 0)
    assert said == [f"encoder {built.title} knows no mirror images; they count as the images themselves"]


def test_names_of_classes_may_have_underscores(encoder):
    built = encoder(classes=("red", "fire_truck"))
    assert torch.equal(built.encode_texts(["fire truck"]), unit(vectors(2, seed=1))[1:])


def wrong(words, build, kind=DataError):
    with pytest.raises(kind, match=words) as caught:
        build()
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_is_told_with_counts_and_first_names(encoder, tmp_path):
    built = encoder()
    wrong(r"images\.npz: has no vectors of 1 of 2 images: 'x\.png'", lambda: built.require_names(["a.png", "x.png"], 0))
    wrong(
        r"none of its 3 names is that of any of the 2 images; it has 'a\.png', 'b/c\.png', 'd\.png', and they are called 'x'",
        lambda: built.require_names(["x", "y"], 0),
    )
    wrong(
        r"texts\.npz: has no vectors of 4 of 5 classes: 'a', 'b', 'c' and 1 more$", lambda: built.encode_texts([*"abcd", "red"])
    )
    wrong(r"grid 4 takes 17 vectors .* holds 1; set labeler\.grid=0", lambda: built.require_names(PHOTOS, 4), ConfigError)
    wrong(r"images of this dataset have no names", lambda: built.require_names(["image 0"], 0))
    wrong(r"two widths, 6 in .*images\.npz and 7 in .*texts\.npz", lambda: encoder(texts=vectors(2, width=7)), ConfigError)
    wrong(r"texts\.npz holds 2 vectors a name", lambda: encoder(texts=vectors(2, 2)), ConfigError)
    wrong(r"1 names stand there twice: 'a\.png'", lambda: encoder(photos=("a.png", "a.png", "b")))
    for value in (np.nan, np.inf, 0):
        broken = vectors(3)
        broken[1] = value
        wrong(r"of 1 of 3 names are NaN, infinite or all 0: 'b/c\.png'", lambda broken=broken: encoder(images=broken))
    for changes, words in (
        ({"texts": str(tmp_path / "gone.npz")}, r"^labeler\.encoder\.texts: \S+/gone\.npz: no such file"),
        ({"images": "x.csv"}, r"^labeler\.encoder\.images: x\.csv is none of \.npz, \.npy, "),
    ):
        config = built.config.model_copy(update=changes)
        wrong(words, lambda config=config: registry.build("encoders", config, device="cpu"), ConfigError)


@pytest.mark.parametrize("suffix", WRITE)
def test_a_damaged_file_is_told_in_a_line(encoder, suffix, tmp_path):
    built = encoder(suffix)
    for damage in (lambda content: content[:40], lambda content: b"", lambda content: content[: len(content) // 2]):
        (tmp_path / f"images{suffix}").write_bytes(damage((tmp_path / f"images{suffix}").read_bytes()))
        wrong(f"images{suffix}", lambda: registry.build("encoders", built.config, device="cpu"), AevlpError)


def test_forms_that_are_none_are_told(tmp_path, encoder):
    built = encoder(".npy")
    (tmp_path / "images.txt").write_text("a\nb\n")
    wrong("2 names for 3 vectors", lambda: registry.build("encoders", built.config, device="cpu"))
    (tmp_path / "images.txt").unlink()
    wrong(r"needs its names in \S+images\.txt, one a line", lambda: registry.build("encoders", built.config, device="cpu"))
    built = encoder(".npz")
    np.savez(tmp_path / "images.npz", vectors=vectors(3))
    wrong("holds vectors, but no array names", lambda: registry.build("encoders", built.config, device="cpu"))
    built = encoder(".safetensors")
    save_file({"a": vectors(1)[0], "b": vectors(1, width=7)[0]}, tmp_path / "images.safetensors")
    wrong(
        r"vectors of two widths: 'a' has shape \(6,\), 'b' has \(7,\)",
        lambda: registry.build("encoders", built.config, device="cpu"),
    )
    built = encoder(".parquet")
    for ragged in ([[1.0], [1.0, 2.0]], [[[1.0], [1.0, 2.0]], [[1.0], [1.0]]], [None, [1.0]]):
        parquet.write_table(pyarrow.table({"name": ["a", "b"], "embedding": ragged}), tmp_path / "images.parquet")
        wrong(r"images\.parquet: (vectors of two widths|the vectors of 'a' differ)", lambda: registry.build(
            "encoders", built.config, device="cpu"))  # fmt: skip
    parquet.write_table(pyarrow.table({"name": ["a"], "vector": [[1.0]]}), tmp_path / "images.parquet")
    wrong(
        "needs the columns name and embedding; it has 'name', 'vector'",
        lambda: registry.build("encoders", built.config, device="cpu"),
    )


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Words that train on a folder of photos by vectors of it, in the working folder."""
    monkeypatch.chdir(tmp_path)
    make_folder(tmp_path / "photos")
    data = aevlp.data.build.build_dataset(aevlp.load_experiment("folder_an", ["dataset.root=photos"]).dataset)
    names = [split.images.name(row) for split in (data.train, data.val, data.test) if split for row in range(len(split))]
    write_npz(tmp_path / "photos.npz", names, vectors(len(names)))
    write_npz(tmp_path / "classes.npz", data.class_names, vectors(len(data.class_names), seed=1))
    return ["labeler.encoder.name=embeddings", "labeler.encoder.images=photos.npz", "labeler.encoder.texts=classes.npz",
            "labeler.grid=0", "dataset.root=photos", "model=small_cnn", "dataset.image_size=16", "trainer.epochs=1",
            "tracking.mode=off"]  # fmt: skip


def test_a_run_takes_vectors_in_the_place_of_an_encoder(photos, capsys):
    assert main(["--exp", "folder_gpr", "--set", *photos]) == 0
    assert main(["label", "--exp", "folder_gpr", "-o", "labels.csv", "--set", *photos]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("streamed", [[], ["labeler.table_mb=0"]], ids=["table", "streamed"])
def test_a_run_asks_for_no_mirror_images_and_says_so_once(photos, streamed, capsys):
    assert main(["--exp", "folder_gpr", "--set", *photos, "dataset.flip=true", *streamed]) == 0
    said = capsys.readouterr().out
    assert said.count("knows no mirror images; they count as the images themselves") == 1
    assert "from the cache" not in said
    assert ("they are computed from the vectors as needed" in said) == bool(streamed)
    assert main(["label", "latest", "-o", "labels.csv"]) == 0
    assert "a run mirrors each" not in capsys.readouterr().out


@pytest.mark.parametrize("streamed", [[], ["labeler.table_mb=0"]], ids=["table", "streamed"])
@pytest.mark.parametrize("lacking", ["train", "test"])
def test_what_is_missing_of_any_split_is_told_before_training(photos, streamed, lacking, capsys, monkeypatch):
    data = aevlp.data.build.build_dataset(aevlp.load_experiment("folder_an", ["dataset.root=photos"]).dataset)
    lost = getattr(data, lacking).images.name(0)
    with np.load("photos.npz") as had:
        kept = had["names"] != lost
        write_npz("photos.npz", had["names"][kept], had["embeddings"][kept])
    monkeypatch.setattr("aevlp.training.trainer.Trainer.fit", lambda self: pytest.fail("trained"))
    assert main(["--exp", "folder_gpr", "--set", *photos, *streamed]) == 1
    assert f"has no vectors of 1 of {len(getattr(data, lacking))} images: {lost!r}" in capsys.readouterr().err


def test_a_run_that_cannot_go_on_keeps_what_it_came_to(photos, capsys):
    assert main(["--exp", "folder_gpr", "--set", *photos]) == 0
    (run,) = runs_root().iterdir()
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.name in ("summary.json", "samples.npz")}
    assert len(before) == 2
    write_npz("photos.npz", ["other.png"], vectors(1))
    assert main(["--resume", "latest", "--set", "trainer.epochs=2"]) == 1
    assert "none of its 1 names" in capsys.readouterr().err
    assert {name: (run / name).read_bytes() for name in before} == before


def test_parts_are_explained_only_where_all_are_known(photos, capsys):
    data = aevlp.data.build.build_dataset(aevlp.load_experiment("folder_an", ["dataset.root=photos"]).dataset)
    config = aevlp.load_experiment("folder_gpr", photos)
    labeler = registry.build(
        "labelers", config.labeler, prompt_names=data.prompt_names, flip=False, seed=0, device=torch.device("cpu")
    )
    with pytest.raises(DataError, match="none of its"):
        next(labeler.explain_parts(replace(data.train, images=Named()), [range(1)]))


def test_a_head_on_them_trains_resumes_and_is_measured_but_looks_at_no_pixels(photos, capsys):
    words = ["--set", *photos, "model=probe", "model.encoder=null"]
    assert main(["cache", "build", "--exp", "folder_probe_gpr", *words]) == 0
    assert main(["--exp", "folder_probe_gpr", "--dry-run", *words]) == 0
    assert "views        0 per training image" in capsys.readouterr().out
    assert main(["--exp", "folder_probe_gpr", *words]) == 0
    assert main(["--resume", "latest", "--set", "trainer.epochs=2"]) == 0
    assert "python run.py predict" not in capsys.readouterr().out
    assert main(["eval", "latest"]) == 0
    for verb in (["predict", "latest", "photos", "-o", "scores.csv"], ["export", "latest", "-o", "model"]):
        assert main(verb) == 2
        assert "photos.npz holds features by name and computes none of other photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "code", "said"),
    [
        ("labeler.grid=4", 2, "labeler.encoder.images: grid 4 takes 17 vectors"),
        ("labeler.grid=4 labeler.table_mb=0", 2, "labeler.encoder.images: grid 4 takes 17 vectors"),
        ("labeler.encoder.texts=photos.npz", 1, "none of its"),
        ("labeler.encoder.images=classes.npz", 1, "none of its"),
        ("labeler.encoder.source=bundled", 2, "labeler.encoder.source: unknown key"),
    ],
)
def test_a_run_that_cannot_take_them_ends_with_a_line(photos, capsys, word, code, said):
    assert main(["--exp", "folder_gpr", "--set", *photos, *word.split()]) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_names_that_an_npz_holds_as_bytes_are_names(tmp_path):
    np.savez(tmp_path / "v.npz", names=np.array(["a.jpg", "b.jpg"], dtype="S"), embeddings=np.eye(2, dtype=np.float32))
    assert list(_npz(tmp_path / "v.npz")[0]) == ["a.jpg", "b.jpg"]
    np.savez(tmp_path / "v.npz", names=np.array([b"\xff.jpg"]), embeddings=np.eye(1, dtype=np.float32))
    with pytest.raises(DataError, match="holds a name that is not ASCII, stored as bytes"):
        _npz(tmp_path / "v.npz")
