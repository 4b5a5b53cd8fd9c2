"""Encoders of the Hugging Face hub: what is fetched of a repository, and which parts in the cache make a whole of it."""

import json
import shutil
from fnmatch import fnmatch

import pytest

from aevlp.config import registry
from aevlp.config.errors import UnavailableError
from aevlp.vision_language.encoders import _hub
from aevlp.vision_language.encoders.huggingface import HuggingFaceConfig
from aevlp.vision_language.encoders.open_clip import OpenCLIPConfig

COMMIT, SOURCE = "a" * 40, "owner/model"
OF_TRANSFORMERS = {
    "config.json": "{}", "model.safetensors": "1", "tokenizer.json": "{}", "tokenizer_config.json": "{}", "vocab.json": "{}",
    "preprocessor_config.json": "{}",
}  # fmt: skip
OF_OPEN_CLIP = {"open_clip_config.json": json.dumps({"model_cfg": {"text_cfg": {}}}), "open_clip_model.safetensors": "2"}
PICKLED = {"open_clip_pytorch_model.bin": "3"}
BOTH = {**OF_TRANSFORMERS, **OF_OPEN_CLIP, **PICKLED, "onnx/model.safetensors": "4", "README.md": ""}
SHARDED = {
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"x": "model-1-of-2.safetensors", "y": "model-2-of-2.safetensors"}}
    ),
    "model-1-of-2.safetensors": "5", "model-2-of-2.safetensors": "6",
}  # fmt: skip
CONFIGS = {
    "huggingface": HuggingFaceConfig(source=SOURCE),
    "open_clip": OpenCLIPConfig(name="open_clip", source=f"hf-hub:{SOURCE}"),
}


class Hub:
    """Stands for the hub and its client's downloads; what lies in the cache the client itself looks up."""

    def __init__(self, cache, client):
        self.cache, self.client = cache, client
        self.repositories, self.fetched = {}, []

    def folder(self, source):
        return self.cache / f"models--{source.replace('/', '--')}" / "snapshots" / COMMIT

    def put(self, source, names):
        """Some files of a repository into the cache, as another program does."""
        folder = self.folder(source)
        (folder.parents[1] / "refs").mkdir(parents=True, exist_ok=True)
        (folder.parents[1] / "refs" / "main").write_text(COMMIT)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(self.repositories[source][name])

    def snapshot_download(self, source, *, revision, allow_patterns, ignore_patterns=(), local_files_only=False):
        if local_files_only:
            wanted = {"allow_patterns": allow_patterns, "ignore_patterns": list(ignore_patterns)}
            return self.client(source, revision=revision, local_files_only=True, **wanted)
        known = self.repositories[source]
        names = [
            name for name in known if any(fnmatch(name, pattern) for pattern in allow_patterns)
            and not any(fnmatch(name, pattern) for pattern in ignore_patterns)
        ]  # fmt: skip
        self.fetched.append(names)
        self.put(source, names)
        trees = self.folder(source).parents[1] / "trees"  # the client writes down what the repository holds
        trees.mkdir(exist_ok=True)
        tree = {name: {"size": len(text), "blob_id": name} for name, text in known.items()}
        (trees / f"{COMMIT}.json").write_text(json.dumps({"format_version": 1, "files": tree}))
        return str(self.folder(source))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    import huggingface_hub

    found = Hub(tmp_path / "hub", huggingface_hub.snapshot_download)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", found.snapshot_download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(found.cache))
    monkeypatch.setattr(_hub, "require_reachable", lambda *_: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    return found


def names(encoder):
    return {path.name for path in encoder.files}


def built(kind):
    return registry.build("encoders", CONFIGS[kind], device="cpu")


@pytest.mark.parametrize(
    ("kind", "repository", "wanted"),
    [
        ("huggingface", BOTH, OF_TRANSFORMERS),
        ("huggingface", OF_TRANSFORMERS, OF_TRANSFORMERS),
        ("open_clip", BOTH, {*OF_OPEN_CLIP, *OF_TRANSFORMERS} - {"model.safetensors"}),
        ("open_clip", OF_OPEN_CLIP, OF_OPEN_CLIP),
        (
            "open_clip",
            {"open_clip_config.json": OF_OPEN_CLIP["open_clip_config.json"], **PICKLED},
            {"open_clip_config.json", *PICKLED},
        ),
    ],
)
def test_no_more_than_the_model_is_fetched_and_it_is_found_after_its_own_download(kind, repository, wanted, hub, monkeypatch):
    hub.repositories[SOURCE] = repository
    assert CONFIGS[kind].missing() is not None
    first = built(kind)
    assert set().union(*hub.fetched) == names(first) == set(wanted)
    downloads = len(hub.fetched)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert CONFIGS[kind].missing() is None
    assert built(kind).fingerprint() == first.fingerprint()
    assert len(hub.fetched) == downloads


GROUPS = [
    ("huggingface", ["config.json"]),
    ("huggingface", ["model.safetensors"]),
    ("huggingface", ["tokenizer.json", "tokenizer_config.json", "vocab.json"]),
    ("huggingface", ["preprocessor_config.json"]),
    ("open_clip", ["open_clip_config.json"]),
    ("open_clip", ["open_clip_model.safetensors", *PICKLED]),
]


@pytest.mark.parametrize(("kind", "lacks"), GROUPS)
def test_what_another_program_has_cached_in_part_is_completed_and_only_then_told(kind, lacks, hub, monkeypatch):
    hub.repositories[SOURCE] = BOTH
    hub.put(SOURCE, BOTH.keys() - set(lacks))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "is not on this machine" in CONFIGS[kind].missing()
    with pytest.raises(UnavailableError, match=rf"^part of encoder {SOURCE} is not in the local cache, and HF_HUB_OFFLINE=1"):
        built(kind)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert names(built(kind)) & set(lacks)
    assert CONFIGS[kind].missing() is None


@pytest.mark.parametrize(
    "there", [["model.safetensors.index.json"], ["model-1-of-2.safetensors"], list(SHARDED)[:2], list(SHARDED)[1:]]
)
def test_weights_in_parts_count_with_their_index_and_all_parts(there, hub):
    rest = {name: text for name, text in OF_TRANSFORMERS.items() if name != "model.safetensors"}
    hub.repositories[SOURCE] = rest | SHARDED
    hub.put(SOURCE, [*rest, *there])
    assert CONFIGS["huggingface"].missing() is not None
    assert set(SHARDED) < names(built("huggingface"))
    assert CONFIGS["huggingface"].missing() is None


def test_an_index_beside_whole_weights_and_a_link_that_leads_nowhere(hub):
    hub.repositories[SOURCE] = OF_TRANSFORMERS | SHARDED
    hub.put(SOURCE, [*OF_TRANSFORMERS, "model.safetensors.index.json"])
    assert CONFIGS["huggingface"].missing() is None
    weights = hub.folder(SOURCE) / "model.safetensors"
    weights.unlink()
    weights.symlink_to("gone")
    assert CONFIGS["huggingface"].missing() is not None


def test_files_of_another_package_in_a_folder_are_no_part_of_a_model_of_transformers(hub, tmp_path):
    hub.repositories[SOURCE] = BOTH
    hub.put(SOURCE, OF_TRANSFORMERS)
    before = built("huggingface").fingerprint()
    hub.put(SOURCE, BOTH)
    assert built("huggingface").fingerprint() == before
    shutil.copytree(hub.folder(SOURCE), tmp_path / "copy")
    assert registry.build("encoders", HuggingFaceConfig(source=str(tmp_path / "copy")), device="cpu").fingerprint() == before


def two_towers(**text):
    return {**OF_OPEN_CLIP, "open_clip_config.json": json.dumps({"model_cfg": {"text_cfg": text}})}


@pytest.mark.parametrize(
    ("text", "there", "lacks"),
    [
        ({"hf_tokenizer_name": "owner/text"}, ["config.json", "model.safetensors"], "tokenizer.json"),
        ({"hf_model_name": "owner/text"}, ["tokenizer.json", "model.safetensors"], "config.json"),
    ],
)
def test_a_text_tower_that_is_cached_in_part_is_completed_and_its_weights_do_not_count(text, there, lacks, hub):
    hub.repositories |= {SOURCE: two_towers(**text), "owner/text": OF_TRANSFORMERS}
    hub.put("owner/text", there)
    first = built("open_clip")
    assert lacks in names(first)
    assert "model.safetensors" not in names(first)
    (hub.folder("owner/text") / "model.safetensors").unlink()
    assert built("open_clip").fingerprint() == first.fingerprint()


def test_a_tokenizer_that_is_fetched_into_the_models_own_folder_counts_from_the_first_time(hub):
    hub.repositories[SOURCE] = two_towers(hf_tokenizer_name=SOURCE) | {"tokenizer.json": "{}"}
    hub.put(SOURCE, OF_OPEN_CLIP)
    first = built("open_clip")
    assert "tokenizer.json" in names(first)
    assert built("open_clip").fingerprint() == first.fingerprint()


def test_an_index_that_cannot_be_read_names_nothing(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    for text in ("{", "[]", "{}", '{"weight_map": 1}'):
        index.write_text(text)
        assert not _hub.holds(tmp_path, [index.name])
