"""`cache`: embeddings of images and prompts that are kept on disk, so that no run encodes them again."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import math
from pathlib import Path
from typing import TYPE_CHECKING

from aevlp.command import COMMAND
from aevlp.config.errors import AevlpError, ConfigError, UnavailableError
from aevlp.text import counted, say
from aevlp.verbs._flags import add_experiment, add_shard, given_experiment, given_shard
from aevlp.vision_language.shards import WHOLE, Shard, wanted_rows

if TYPE_CHECKING:
    from aevlp.config.schema import ExperimentConfig

MANY_PROCESSES = True  # which divide the work among themselves
BATCHES = ("labeler.encoder.batch_size",)
HELP = "embeddings kept on disk, so that no run encodes them again"
COLUMNS = ("key", "encoder", "precision", "part", "images", "rows there", "MB", "last used")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Actions and their flags."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    actions.add_parser("list", help="what there is").set_defaults(act=show)
    build = actions.add_parser("build", help="encode what an experiment needs, ahead of its runs", allow_abbrev=False)
    add_experiment(build)
    add_shard(build)
    build.set_defaults(act=fill)
    actions.add_parser("verify", help="look at every checksum").set_defaults(act=verify)
    clearing = actions.add_parser("clear", help="remove stores", allow_abbrev=False)
    clearing.add_argument("keys", nargs="*", metavar="KEY", help="as `cache list` prints it, or how it begins")
    clearing.add_argument("--older-than", type=_days, metavar="DAYS", help="only what no run has used for this long")
    clearing.add_argument("--all", action="store_true", help="everything")
    clearing.set_defaults(act=clear)


def run(arguments: argparse.Namespace) -> int | None:
    """Hand over to the action."""
    return arguments.act(arguments)


def show(_: argparse.Namespace) -> None:
    """Print what is known of each store."""
    from aevlp.layout import Sheet
    from aevlp.terminal import Terminal
    from aevlp.vision_language.embedding_cache import cache_root, leftovers, pictures, stores
    from aevlp.vision_language.embedding_store import Store, UnusableStoreError

    console, rows = Terminal(), []
    for folder in stores():
        try:
            with Store(folder) as store:
                meta, there = store.meta, str(store.marked().sum())
        except UnusableStoreError as error:
            rows.append([folder.name, f"{error}", "", "", "", "", _megabytes(folder), _last_used(folder)])
            continue
        except OSError:
            continue  # removed in this moment
        part = f"{meta['part']}{' mirrored' if meta['mirrored'] else ''}"
        precision = meta["precision"] + (" imagenet" if meta["normalization"] == "imagenet" else "")
        size, used = _megabytes(folder), _last_used(folder)
        rows.append([folder.name, meta["encoder"], precision, part, str(store.count), there, size, used])
    decoded, left = pictures(), leftovers()
    if not (rows or decoded or left):
        console.tell(f"{cache_root()}: nothing is cached")
        return
    if rows:
        console.table(Sheet("", list(COLUMNS), rows, text=("encoder", "precision", "part", "last used"), wraps={1: " "}))
    if decoded:
        console.tell(f"decoded pictures: {_files(decoded)}; `cache clear --all` removes them, too")
    if left:
        console.tell(f"left by processes that were killed: {_files(left)}; `cache clear` removes them whatever else it removes")
    console.tell(f"in {cache_root()}")


def fill(arguments: argparse.Namespace) -> None:
    """Encode what is missing; AevlpError where it could not be kept. Stopped by a signal, it goes on from there next time."""
    shard = given_shard(arguments)
    _encode(given_experiment(arguments, "whose images to encode"), shard)


def verify(_: argparse.Namespace) -> int:
    """1 where a store is damaged."""
    from aevlp.vision_language.embedding_cache import damage, stores

    folders = stores()
    damaged = 0
    for folder in folders:
        problem = damage(folder)
        damaged += problem is not None
        if problem is not None:
            say(f"{folder.name} {problem}")
    if damaged:
        say(f"{damaged} of {len(folders)} stores are damaged; the next run encodes such rows again")
        return 1
    say(f"{counted(len(folders), 'store')}, every checksum is right")
    return 0


def clear(arguments: argparse.Namespace) -> None:
    """Remove what the flags say."""
    from aevlp.files import discard
    from aevlp.vision_language.embedding_cache import leftovers, pictures, stores

    if not (arguments.keys or arguments.all or arguments.older_than is not None):
        raise ConfigError("cache clear: say what: KEY as `cache list` prints it, --older-than DAYS, or --all")
    chosen = stores()
    for key in arguments.keys:
        if not key or not any(folder.name.startswith(key) for folder in chosen):
            raise ConfigError(f"cache clear: no store begins with {key!r} (see `{COMMAND} cache list`)")
    if arguments.keys:
        chosen = [folder for folder in chosen if folder.name.startswith(tuple(arguments.keys))]
    decoded, left = [] if arguments.keys else pictures(), leftovers()
    if arguments.older_than is not None:
        limit = datetime.datetime.now().timestamp() - 86_400 * arguments.older_than
        chosen, decoded = ([path for path in paths if _used(path) < limit] for paths in (chosen, decoded))
    size = sum(map(_size, chosen + decoded + left))
    try:
        for path in chosen + decoded + left:
            discard(path)
    except OSError as error:
        raise AevlpError(f"{error.filename}: cannot be removed: {error.strerror}") from error
    removed = [counted(len(chosen), "store")]
    removed += [f"{counted(len(decoded), 'file')} of decoded pictures"] if decoded else []
    removed += [f"{len(left)} left by processes that were killed"] if left else []
    say(f"{' and '.join(removed)} removed, {size / 2**20:.1f} MB")


def _encode(config: ExperimentConfig, shard: Shard) -> None:
    # What is not to be kept is left out; its runs compute it.
    of_labeler, of_model = getattr(getattr(config.labeler, "encoder", None), "cache", False), config.model.on_features
    if of_model and shard != WHOLE:
        raise ConfigError(
            f"--shard {shard}: the features of model {config.model.name} are not divided; leave --shard out: processes that fill "
            "one cache divide the work among themselves"
        )
    if not of_labeler and not of_model:
        raise ConfigError(
            f"labeler {config.labeler.name} caches nothing here: it has no encoder, is given its vectors, or "
            "labeler.encoder.cache is off"
        )
    from accelerate import Accelerator

    from aevlp.data.build import build_dataset
    from aevlp.data.dataset import blind, identity
    from aevlp.data.features import num_encoded
    from aevlp.labelers import Labeler, build_labeler
    from aevlp.training.dry_run import total_of
    from aevlp.training.model_inputs import count_features, feature_store, looks_at_photos, model_inputs
    from aevlp.training.progress import progress_bar
    from aevlp.training.run import check_data
    from aevlp.training.signals import KEPT

    data = build_dataset(config.dataset)
    check_data(data)
    if (of_labeler or (of_model and looks_at_photos(config))) and identity(data.train.images, 0) is None:
        raise ConfigError(f"dataset {config.dataset.name}: these images have no identity() to know them by, so nothing is cached")
    device = Accelerator().device
    store = feature_store(config, device, say)  # before the labeler encodes: its encoder may not be there
    labeler = build_labeler(config, data, device, notify=say) if of_labeler else Labeler()
    wanted = [("train", data.train, config.dataset.flip and labeler.mirrors)] if of_labeler else []
    if of_labeler and config.trainer.evaluate_labeler:
        wanted += [(name, split, False) for name, split in (("val", data.val), ("test", data.test)) if split is not None]
    parts = [wanted_rows(labeler, shard, len(split)) for _, split, _ in wanted]
    for (name, split, flip), part in zip(wanted, parts, strict=True):
        with progress_bar(f"encode {name}", len(split), KEPT) as progress:
            labeler.encode(blind(split), flip, progress, **part)
    encoded = labeler.num_images_encoded
    if of_model:
        with progress_bar("encode features", len(data.train), KEPT) as progress:
            inputs = model_inputs(config, data, store, progress)[0]
        encoded += num_encoded(inputs)
    of_parts = [labeler.count_missing(split, flip, **part) for (_, split, flip), part in zip(wanted, parts, strict=True)]
    missing = total_of([count_features(config, data, device), *of_parts])
    if missing is None:
        say(f"{counted(encoded, 'view')} encoded; labeler {config.labeler.name} does not count what it lacks, so whether "
            f"all that {config.name} needs is cached is not known")  # fmt: skip
        return
    if missing:
        raise UnavailableError(
            f"{counted(missing, 'view')} could not be kept; free some space, or set AEVLP_CACHE to another disk"
        )
    if shard == WHOLE:
        has_views = not of_labeler and getattr(config.labeler, "encoder", None) is not None
        but = "; the views of its labeler are not kept (labeler.encoder.cache)" if has_views else ""
        say(f"{counted(encoded, 'view')} encoded; all that {config.name} needs is cached{but}")
        return
    left = total_of(labeler.count_missing(split, flip) for _, split, flip in wanted)
    say(f"{counted(encoded, 'view')} encoded; shard {shard} of what {config.name} needs is cached, {left:,} views of other "
        "shards are not yet")  # fmt: skip


def _days(word: str) -> float:
    try:
        days = float(word)
    except ValueError:
        days = math.nan
    if not days >= 0:
        raise argparse.ArgumentTypeError(f"must be a number from 0, is {word!r}")
    return days


def _used(path: Path) -> float:
    try:
        return (path / "meta.json" if path.is_dir() else path).stat().st_mtime
    except OSError:
        return 0.0


def _last_used(folder: Path) -> str:
    return datetime.datetime.fromtimestamp(_used(folder)).strftime("%Y-%m-%d %H:%M")


def _size(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):  # another process removes it at this moment
        return sum(512 * file.stat().st_blocks for file in (path.iterdir() if path.is_dir() else [path]))
    return 0


def _files(paths: list[Path]) -> str:
    return f"{counted(len(paths), 'file')}, {sum(map(_size, paths)) / 2**20:.1f} MB"


def _megabytes(folder: Path) -> str:
    return f"{_size(folder) / 2**20:.1f}"
