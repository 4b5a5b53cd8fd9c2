"""`python run.py cache`: fill ahead, look, check, remove; and training that finds everything there."""

import json
import os

import pytest

import aevlp
from aevlp import files
from aevlp.cli import main
from aevlp.data.images import ArrayImages
from aevlp.vision_language.embedding_cache import pictures, stores
from aevlp.vision_language.encoders.huggingface import HuggingFace

FEW = ["dataset.num_train=20", "dataset.num_val=12", "dataset.num_test=9", "labeler.grid=2", "labeler.encoder.batch_size=16"]


def build(*overrides):
    return main(["cache", "build", "--exp", "digits_gpr", "--set", *FEW, *overrides])


@pytest.fixture
def run(capsys):
    """Runs a command; (exit code, output, errors)."""

    def run(*words):
        capsys.readouterr()
        code = main(["cache", *words])
        return code, *capsys.readouterr()

    return run


def test_build_encodes_all_that_an_experiment_needs_and_its_runs_then_load_no_encoder(small, capsys, monkeypatch):
    assert build() == 0
    assert f"{(20 + 12 + 9) * 5} views encoded; all that digits_gpr needs is cached" in capsys.readouterr().out
    assert build() == 0
    assert "\n0 views encoded" in "\n" + capsys.readouterr().out

    def refuse(*_):
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr(HuggingFace, "_load", refuse)
    result = aevlp.train(aevlp.load_experiment("digits_gpr", [*small, *FEW, "dataset.image_size=32", "trainer.batch_size=10"]))
    assert result.summary["perf/clip_images_encoded"] == 0
    assert json.loads((result.run_dir / "summary.json").read_text())["perf/clip_images_encoded"] == 0


WHOLE = ("labeler=vlpl", "labeler.encoder.source=bundled")


@pytest.mark.parametrize(
    ("overrides", "views"),
    [
        (("labeler.grid=2",), 2 * 5),
        (("labeler.grid=2", "labeler.flip=false"), 5),
        (WHOLE, 2),
        ((*WHOLE, "labeler.flip=false"), 1),
    ],
)
def test_mirrored_views_are_encoded_where_the_dataset_flips_unless_the_labeler_does_not_want_them(overrides, views, capsys):
    words = ["dataset.flip=true", "trainer.evaluate_labeler=false", *overrides]
    assert main(["cache", "build", "--exp", "digits_gpr", "--set", *FEW[:3], *words]) == 0
    assert f"{20 * views} views encoded; all that digits_gpr needs is cached" in capsys.readouterr().out


def test_list_shows_a_line_a_store(run):
    assert run("list")[1].endswith("cache: nothing is cached\n")
    build("trainer.evaluate_labeler=false")
    code, out, _ = run("list")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["key", "encoder", "precision", "part"]
    found = {(line[1], line[2], " ".join(line[3:-5]), *line[-5:-3]) for line in lines[1:-1]}
    expected = {("whole", "20"), ("grid 2", "20"), ("texts", "10")}
    assert found == {("bundled", "fp32", part, count, count) for part, count in expected}


def test_verify_names_damaged_stores_and_fails(run):
    assert run("verify") == (0, "0 stores, every checksum is right\n", "")
    build()
    assert run("verify")[0] == 0
    damaged = stores()[0]
    content = bytearray((damaged / "rows").read_bytes())
    content[-1] ^= 1
    (damaged / "rows").write_bytes(content)
    truncated = stores()[1]
    os.truncate(truncated / "rows", 3)
    code, out, _ = run("verify")
    assert code == 1
    assert f"{damaged.name} has 1 damaged rows" in out
    assert f"{truncated.name} is damaged: rows has 3 bytes" in out
    assert f"2 of {len(stores())} stores are damaged" in out
    assert "is damaged: rows has 3 bytes" in run("list")[1]
    assert build() == 0
    assert run("verify")[0] == 0


def test_clear_asks_what_and_removes_no_more(run):
    build()
    code, _, err = run("clear")
    assert code == 2
    assert "--older-than DAYS, or --all" in err
    count = len(stores())
    assert run("clear", "zzzz")[0] == 2
    os.utime(stores()[-1] / "meta.json", (1, 1))
    old, key = stores()[-1], stores()[0].name[:20]
    assert run("clear", "--older-than", "1")[1].startswith("1 store removed, ")
    assert not old.exists()
    assert run("clear", key)[0] == 0
    assert len(stores()) == count - 2
    assert run("clear", "--all")[0] == 0
    assert stores() == []


@pytest.mark.parametrize("override", ["labeler=none", "labeler.encoder.cache=false"])
def test_build_without_anything_to_cache_is_a_usage_error(capsys, override):
    assert main(["cache", "build", "--exp", "digits_gpr", "--set", *FEW[:3], override]) == 2
    assert "caches nothing" in capsys.readouterr().err


OF_BACKBONE = ("model=probe", "model.backbone={name: small_cnn, weights: bundled}")


def test_build_leaves_out_a_labeler_that_keeps_nothing(capsys, monkeypatch):
    def refuse(*_):
        raise AssertionError("the encoder was loaded")

    monkeypatch.setattr(HuggingFace, "_load", refuse)
    for views in (20 + 12 + 9, 0):
        assert build(*OF_BACKBONE, "labeler.encoder.cache=false", "dataset.flip=false") == 0
        said = f"{views} views encoded; all that digits_gpr needs is cached; the views of its labeler are not kept"
        assert said in capsys.readouterr().out


@pytest.mark.parametrize("words", [(), OF_BACKBONE, ("labeler=none", *OF_BACKBONE)])
def test_images_that_cannot_be_known_again_are_told_once_and_before_anything_is_encoded(words, capsys, monkeypatch):
    monkeypatch.setattr(ArrayImages, "identity", lambda *_: None)
    monkeypatch.setattr(HuggingFace, "_load", None)
    assert main(["cache", "build", "--exp", "digits_gpr", "--set", *FEW[:3], *words]) == 2
    said = "".join(capsys.readouterr())
    assert said.count("these images have no identity()") == 1
    assert "free some space" not in said


def test_shards_encode_each_view_once_and_tell_how_much_of_the_whole_is_left(capsys, monkeypatch):
    monkeypatch.setattr("aevlp.vision_language.shards.ROWS", 8)
    encoded = []
    for number, left in ((1, 5 * 8), (0, 0)):
        shard = ["--shard", f"{number}/2", "--exp", "digits_gpr", "--set", *FEW, "trainer.evaluate_labeler=false"]
        assert main(["cache", "build", *shard]) == 0
        said = capsys.readouterr().out.splitlines()[-1]
        encoded.append(int(said.split()[0]))
        assert said.endswith(f"shard {number}/2 of what digits_gpr needs is cached, {left} views of other shards are not yet")
    assert encoded == [5 * 12, 5 * 8]
    assert build("trainer.evaluate_labeler=false") == 0
    assert "\n0 views encoded; all that digits_gpr needs is cached" in "\n" + capsys.readouterr().out


@pytest.mark.parametrize("verb", [["cache", "build"], ["label", "-o", "labels.csv"]])
@pytest.mark.parametrize(
    ("shard", "problem"),
    [
        ("4/4", "its parts are 0/4 to 3/4"), ("9/4", "its parts are 0/4 to 3/4"), ("0/0", "there must be one part at least"),
        *((text, "give a part and the number of parts, such as 0/8") for text in ("", "1", "-1/4", "1/-4", "a/b", "1.5/4"))
    ],
)  # fmt: skip
def test_a_shard_that_does_not_exist_is_a_usage_error_of_one_line(capsys, verb, shard, problem):
    assert main([*verb, "--exp", "digits_gpr", f"--shard={shard}"]) == 2
    assert capsys.readouterr().err == f"error: --shard {shard}: {problem}\n"


def test_build_on_a_full_disk_fails(capsys, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert build("trainer.evaluate_labeler=false") == 1
    out, err = capsys.readouterr()
    assert "No space left on device; going on with what is there" in out
    assert "100 views could not be kept; free some space, or set AEVLP_CACHE to another disk" in err


def test_a_word_that_is_no_action_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["cache", "lst"])
    assert stopped.value.code == 2
    assert "list" in capsys.readouterr().err


def test_an_empty_key_is_no_key(capsys):
    assert build() == 0
    before = stores()
    assert before
    assert main(["cache", "clear", ""]) == 2  # as of a variable that is not set
    assert "cache clear: no store begins with ''" in capsys.readouterr().err
    assert stores() == before


def test_build_tells_its_progress_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr("aevlp.progress.LINE_SECONDS", 0.0)
    assert build() == 0
    lines = capsys.readouterr().err.splitlines()
    for name, count in (("train", 20), ("val", 12), ("test", 9)):
        told = [line for line in lines if line.startswith(f"encode {name}: ")]
        assert told[-1].startswith(f"encode {name}: {count} of {count}")
        assert any(", about 0:0" in line for line in told)


@pytest.fixture
def uncounting(tmp_path):
    """A plugin: a labeler with an encoder that does not count what it lacks."""
    path = tmp_path / "uncounting.py"
    path.write_text("""
from aevlp.config.registry import register
from aevlp.config.schema import ComponentConfig
from aevlp.labelers import Labeler
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig as EncoderConfig

class UncountingConfig(ComponentConfig):
    encoder: EncoderConfig = EncoderConfig(source="bundled")

@register("labelers", "uncounting", config=UncountingConfig)
class Uncounting(Labeler):
    def __init__(self, config, **runtime):
        self.config = config
""")
    return ["--plugin", str(path), "--exp", "digits_gpr", "--set", *FEW[:3], "labeler=uncounting"]


def test_what_a_labeler_does_not_count_is_not_called_cached(uncounting, small, capsys):
    assert main(["cache", "build", *uncounting]) == 0
    said = capsys.readouterr().out
    assert "0 views encoded; labeler uncounting does not count what it lacks, so whether all that digits_gpr needs is" in said
    assert main(["--dry-run", *uncounting, *small]) == 0
    assert "for 2 epochs, and what labeler uncounting has to encode, which it does not count" in capsys.readouterr().out


def test_a_labeler_that_takes_no_part_refuses_a_shard_in_a_line(uncounting, tmp_path, capsys):
    plugin = tmp_path / "uncounting.py"
    plugin.write_text(plugin.read_text() + "\n    def encode(self, dataset, flip, progress=None):\n        pass\n")
    assert main(["cache", "build", *uncounting, "--shard", "0/2"]) == 2
    assert capsys.readouterr().err.endswith(
        "error: --shard 0/2: labeler Uncounting takes no part of the images, as its encode and count_missing have no argument "
        "rows; leave --shard out\n"
    )


def test_decoded_pictures_are_listed_and_removed_with_all_and_by_age(run, tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path))
    file = tmp_path / "images/abc.u8"
    file.parent.mkdir()
    file.write_bytes(bytes(2**20))
    assert "decoded pictures: 1 file, 1.0 MB" in run("list")[1]
    assert "0 stores removed" in run("clear", "--older-than", "1")[1]
    assert file.exists()
    assert run("clear", "--all")[1] == "0 stores and 1 file of decoded pictures removed, 1.0 MB\n"
    assert not file.exists()


@pytest.mark.parametrize("folder", [".", "embeddings", "images"])
@pytest.mark.parametrize("words", [["--all"], ["--older-than", "1"]])
def test_what_a_killed_process_left_is_listed_and_removed_wherever_it_lies(folder, words, run, tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path))
    (tmp_path / folder).mkdir(exist_ok=True)
    file = tmp_path / folder / "abc.u8"
    file.write_bytes(bytes(2**20))
    child = os.fork()
    if child == 0:  # as `cache clear` does, and is killed
        os.replace(file, files.aside(file))
        os._exit(0)
    os.waitpid(child, 0)
    assert run("list")[1].startswith("left by processes that were killed: 1 file, 1.0 MB; `cache clear` removes them")
    assert run("clear", *words)[1] == "0 stores and 1 left by processes that were killed removed, 1.0 MB\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert "nothing is cached" in run("list")[1]


def test_the_folders_that_are_looked_through_are_those_that_are_written_to(tmp_path, monkeypatch):
    monkeypatch.setenv("AEVLP_CACHE", str(tmp_path / "cache"))
    words = ["dataset.image_size=32", "trainer.image_cache=disk", "model=small_cnn", "tracking.mode=off", "trainer.epochs=1"]
    aevlp.train(aevlp.load_experiment("digits_gpr", [*FEW, *words]))
    assert stores()
    assert pictures()
    assert {path.parent for path in (*stores(), *pictures())} == {
        path for path in (tmp_path / "cache").iterdir() if path.is_dir()
    }
