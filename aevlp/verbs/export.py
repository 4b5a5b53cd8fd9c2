"""`export`: a trained run as a folder that stands alone."""

from __future__ import annotations

import argparse
from pathlib import Path

from aevlp.config.errors import ConfigError
from aevlp.text import say

HELP = "a trained run as a folder that stands alone: safetensors, JSON and, if wanted, ONNX"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags."""
    parser.add_argument("source", metavar="RUN", help="run folder, id or `latest`")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="a new folder")
    parser.add_argument("--onnx", action="store_true", help="also write model.onnx, checked against torch")


def run(arguments: argparse.Namespace) -> None:
    """Write the folder."""
    from aevlp.inference.sources import find_trained
    from aevlp.output import require_new_folder

    if Path(arguments.source).is_file():
        raise ConfigError(f"{arguments.source}: is a file; export takes a run, which tells class names")
    source = str(find_trained(arguments.source))
    folder = Path(arguments.output)
    require_new_folder(folder)
    from aevlp.inference.export import export
    from aevlp.inference.open import open_trained

    export(open_trained(source), folder, arguments.onnx)
    for path in sorted(folder.iterdir()):
        say(f"{path.stat().st_size / 1e6:8.2f} MB  {path}")
