"""Encoders and weights that are neither cached nor reachable: an error in seconds that names the setting."""

import http.server
import socket
import threading

import pytest

from aevlp import load_experiment, network
from aevlp.cli import main
from aevlp.config import registry
from aevlp.config.errors import ConfigError, UnavailableError
from aevlp.vision_language.encoders.huggingface import BUNDLED, HuggingFaceConfig, locate

pytestmark = pytest.mark.usefixtures("never_waits")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Function that points the hub client, with an empty cache, to an address."""
    from huggingface_hub import constants

    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return lambda address: monkeypatch.setattr(constants, "ENDPOINT", address)


@pytest.fixture
def silent_server():
    """Accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=20) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def answering_server():
    """Answers every request with 404."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def refused_address():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


def unavailable(source="owner/absent-model"):
    """The message, which must name the setting."""
    with pytest.raises(
        UnavailableError, match=r"(?s)owner/absent-model.*set labeler\.encoder\.source to a local folder"
    ) as caught:
        locate(HuggingFaceConfig(source=source))
    return str(caught.value)


def test_no_network(hub):
    hub(refused_address())
    assert "cannot be reached" in unavailable()


def test_a_server_that_never_answers(hub, silent_server, monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT_SECONDS", 0.3)
    hub(silent_server)
    assert "cannot be reached" in unavailable()


def test_a_name_look_up_that_hangs(hub, monkeypatch):
    monkeypatch.setattr(network, "TIMEOUT_SECONDS", 0.3)
    never = threading.Event()
    monkeypatch.setattr(network.urllib.request, "urlopen", lambda *_, **__: never.wait())
    hub("http://127.0.0.1:1")
    assert "no answer within" in unavailable()


def test_the_time_to_wait_leaves_room_to_import_torchvision():
    assert network.TIMEOUT_SECONDS + 1 + 7 <= 15


def test_a_hub_without_such_a_model(hub, answering_server):
    hub(answering_server)
    network.require_reachable(answering_server, "a model", "something else")  # an answer of 404 is an answer
    message = unavailable()
    assert "could not be downloaded" in message
    assert "404" in message


def test_offline_mode_asks_nobody(hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(network.urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    assert "HF_HUB_OFFLINE=1" in unavailable()


def cache_model(folder, files):
    snapshot = folder / "cache" / "models--owner--absent-model" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("a" * 40)
    for name in files:
        (snapshot / name).write_text("{}")
    return snapshot


def test_a_cached_model_is_found_without_a_network(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(network.urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    snapshot = cache_model(tmp_path, ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"])
    assert locate(HuggingFaceConfig(source="owner/absent-model")) == snapshot


def test_a_cache_without_weights_does_not_count(hub, tmp_path):
    hub(refused_address())
    cache_model(tmp_path, ["config.json", "tokenizer.json"])
    assert "cannot be reached" in unavailable()


@pytest.mark.parametrize("source", ["./absent", "/absent/folder", "clip", "a/b/c", "owner/with space", "-/x"])
def test_what_is_neither_folder_nor_hub_id_is_a_configuration_error(hub, source):
    with pytest.raises(ConfigError, match=r"labeler\.encoder\.source: .* is neither a folder here nor a hub id"):
        locate(HuggingFaceConfig(source=source))


def test_bundled_and_folder_are_found_without_asking(tmp_path, monkeypatch):
    monkeypatch.setattr(network.urllib.request, "urlopen", lambda *_, **__: pytest.fail("asked the network"))
    assert locate(HuggingFaceConfig(source="bundled")) == BUNDLED["bundled"]
    (tmp_path / "config.json").write_text("{}")
    assert locate(HuggingFaceConfig(source=str(tmp_path))) == tmp_path


@pytest.mark.parametrize("model", ["smile", "mime"])
def test_of_a_model_on_another_the_message_names_the_key_that_works(model, monkeypatch, tmp_path):
    def unreachable(url, what, instead):
        raise UnavailableError(f"{what} is not here; {instead}")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("aevlp.models.resnet.require_reachable", unreachable)
    config = load_experiment("digits_an", [f"model={model}"]).model
    with pytest.raises(UnavailableError, match=r"set model\.backbone\.weights to a file, or to none"):
        registry.build("models", config, num_classes=3, image_size=32)
    damaged = tmp_path / "model.weights.pth"
    damaged.write_text("no weights")
    config = load_experiment("digits_an", [f"model={model}", f"model.backbone.weights={damaged}"]).model
    with pytest.raises(ConfigError, match=f"^model.backbone.weights: {damaged} cannot be read"):
        registry.build("models", config, num_classes=3, image_size=32)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (
            "openai/clip-vit-base-patch16",
            "encoder openai/clip-vit-base-patch16 is not on this machine either; set labeler.encoder.",
        ),
        ("/no/where", "labeler.encoder.source: '/no/where' is neither a folder here nor a hub id"),
        ("bundled", None),
    ],
)
def test_a_run_tells_all_that_is_missing_at_once(source, told, hub, monkeypatch, tmp_path, capsys):
    """By the command, as settings are read without importing the encoder."""
    hub(refused_address())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("aevlp.models.resnet.require_reachable", _unreachable)
    words = [
        "dataset.num_train=8",
        "dataset.num_val=8",
        "dataset.num_test=8",
        "model=resnet50",
        f"labeler.encoder.source={source}",
    ]
    assert main(["--exp", "digits_gpr", "--tracking", "off", "--set", *words]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert errors[0] == "error: weights are not here"
    assert [line.startswith(f"error: {told}") for line in errors[1:]] == [True] * (told is not None)
    assert not list((tmp_path / "runs").glob("*/config.yaml"))


def _unreachable(*_):
    raise UnavailableError("weights are not here")
