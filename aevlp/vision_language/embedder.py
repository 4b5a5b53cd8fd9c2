"""Embeddings of images and texts: from the cache where they are there, else from an encoder that is loaded only then."""

from __future__ import annotations

import hashlib
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from aevlp.config.errors import ConfigError, DataError
from aevlp.data.dataset import ImageSource, identities
from aevlp.vision_language.embedding_cache import CachedRows, Family, Notify, hash_files
from aevlp.vision_language.embedding_store import usable
from aevlp.vision_language.encoder import FILE_TYPES, DualEncoder, EncoderConfig, choose_precision, locate
from aevlp.vision_language.views import cut_views

ReportProgress = Callable[[int, int], None]


@dataclass
class _Part:
    """One part of the views of all images: a range of the views of `cut_views`, mirrored or not."""

    views: slice
    mirrored: bool
    cached: CachedRows | None


@dataclass
class _View:
    """A view that waits for its embedding, and where that belongs."""

    part: int
    row: int
    number: int
    pixels: Tensor
    mirrored: bool


class Embedder:
    """An encoder behind the embedding cache.

    Views go through the encoder in batches of one fixed size, the last one filled up with zeros, so that the embedding of a
    view does not depend on its neighbours; and embeddings are rounded to float16 before their first use. With these two,
    runs with and without the cache, or with a half-filled one, are equal to the bit.
    """

    def __init__(
        self,
        config: EncoderConfig,
        device: torch.device | str,
        notify: Notify | None = None,
        build: Callable[[], DualEncoder] | None = None,
    ):
        self.config, self.device = config, torch.device(device)
        self.num_images_encoded = 0
        """Views that went through the encoder so far."""
        self._build = build or (lambda: DualEncoder(config, device))
        self._encoder: DualEncoder | None = None
        self._text_width: int | None = None
        self._said: set[str] = set()
        self._notify = notify or logging.getLogger("aevlp").warning
        self._files: str | None = None
        if config.cache:
            folder = locate(config)
            try:
                self._files = hash_files(path for path in folder.iterdir() if path.suffix in FILE_TYPES and path.is_file())
            except OSError as error:
                raise ConfigError(f"labeler.encoder.source: {config.source} cannot be read: {error}") from error
            self._precision = choose_precision(config.precision, folder, self.device)[0]

    @property
    def encoder(self) -> DualEncoder:
        """The encoder, loaded when first asked for."""
        if self._encoder is None:
            self._encoder = self._build()
            if isinstance(self._encoder, DualEncoder) and self.config.precision == "auto":
                self._say(f"encoder {self.config.source} in {self._encoder.precision}: {self._encoder.precision_reason}")
        return self._encoder

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32 of texts, not normalised; cached as a whole, so that they never depend on what was there."""
        cached, rows = None, range(len(texts))
        if self._files is not None:
            family = Family(encoder=self.config.source, files=self._files, part="texts", views=1, dtype="float32")
            identities = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
            cached = CachedRows(family, identities, self._say, borrow=False)
            values, found = cached.read(rows)
            if values is not None and found.all():
                cached.close()
                self._text_width = values.shape[-1]
                return torch.from_numpy(values[:, 0].copy()).to(self.device)
        features = self.encoder.encode_texts(texts)
        self._text_width = features.shape[-1]
        self._require_usable(features.cpu().numpy(), [repr(text) for text in texts])
        if cached is not None:
            for row, feature in zip(rows, features.cpu().numpy(), strict=True):
                cached.write(row, feature[None])
            cached.close()
        return features

    def embed(
        self, images: ImageSource, grid: int, flip: bool, progress: ReportProgress | None = None, cached: bool = True
    ) -> Iterator[tuple[range, Tensor]]:
        """Embeddings of the views of all images, a range of rows at a time and each row once.

        Args:
            images: an image is decoded once at most, and not at all where its embeddings are known.
            grid: tiles per side, as in `cut_views`.
            flip: whether the mirror images of all views are wanted as well.
            progress: called with (images done, images in all); what it raises ends the work, and what is done stays cached.
            cached: False encodes all and keeps nothing.

        Yields:
            rows, and their embeddings (n, 1 + flip, 1 + grid * grid, D) float16, of unit length before rounding. The ranges
            are the same in every run, but begin anywhere where there is a cache: so several processes share the work.
        """
        count = len(images)
        parts = self._parts(images, grid, flip, cached, lambda: progress and progress(0, count)) if count else []
        chunks = [range(i, min(i + self.config.batch_size, count)) for i in range(0, count, self.config.batch_size)]
        if cached and self._files is not None and chunks:
            first = random.SystemRandom().randrange(len(chunks))
            chunks = chunks[first:] + chunks[:first]
        done = 0
        try:
            for rows in chunks:

                def report(more: int, done: int = done) -> None:
                    if progress:
                        progress(done + more, count)

                yield rows, self._embed_rows(images, rows, parts, grid, report)
                done += len(rows)
        finally:
            for part in parts:
                if part.cached is not None:
                    part.cached.close()

    def count_missing(self, images: ImageSource, grid: int, flip: bool) -> int:
        """Views that `embed` would have to encode."""
        total, size = 0, self.config.batch_size
        for part in self._parts(images, grid, flip, cached=True):
            missing = len(images)
            if part.cached is not None:
                ranges = (range(i, min(i + size, len(images))) for i in range(0, len(images), size))
                missing = sum(int((~part.cached.read(rows)[1]).sum()) for rows in ranges)
                part.cached.close()
            total += missing * (part.views.stop - part.views.start)
        return total

    def _parts(
        self, images: ImageSource, grid: int, flip: bool, cached: bool, progress: Callable[[], object] = lambda: None
    ) -> list[_Part]:
        files = self._files if cached else None
        known = [] if files is None else [value for value in identities(images, progress) if value is not None]
        views = {"whole": slice(0, 1)} | ({f"grid {grid}": slice(1, 1 + grid**2)} if grid else {})
        parts = []
        for mirrored in (False, True) if flip else (False,):
            for name, part in views.items():
                rows = None
                if files is not None and len(known) == len(images):
                    family = Family(
                        encoder=self.config.source, files=files, part=name, views=part.stop - part.start, mirrored=mirrored,
                        precision=self._precision, normalization=self.config.normalization,
                    )  # fmt: skip
                    rows = CachedRows(family, known, self._say)
                parts.append(_Part(part, mirrored, rows))
        return parts

    def _embed_rows(
        self, images: ImageSource, rows: range, parts: list[_Part], grid: int, report: Callable[[int], object]
    ) -> Tensor:
        values: list[np.ndarray | None] = []
        found: list[np.ndarray] = []
        for part in parts:
            known = part.cached.read(rows) if part.cached else (None, np.zeros(len(rows), dtype=bool))
            values.append(known[0])
            found.append(known[1])
        pending = self._pending(images, rows, parts, found, grid)
        while batch := list(islice(pending, self.config.batch_size)):
            embeddings = self._encode(batch)
            self._require_usable(embeddings, [images.name(view.row) for view in batch])
            for view, embedding in zip(batch, embeddings, strict=True):
                part, target = parts[view.part], values[view.part]
                num_views = part.views.stop - part.views.start
                if target is None:
                    target = values[view.part] = np.empty((len(rows), num_views, len(embedding)), dtype=np.float16)
                target[view.row - rows.start, view.number] = embedding
                if part.cached is not None and view.number == num_views - 1:
                    part.cached.write(view.row, target[view.row - rows.start])
            report(batch[-1].row - rows.start)
        report(len(rows))
        pairs = [(part.mirrored, value) for part, value in zip(parts, values, strict=True) if value is not None]
        plain, mirrored = ([value for is_mirrored, value in pairs if is_mirrored is flip] for flip in (False, True))
        return torch.from_numpy(np.stack([np.concatenate(views, axis=1) for views in (plain, mirrored) if views], axis=1))

    def _pending(
        self, images: ImageSource, rows: range, parts: list[_Part], found: list[np.ndarray], grid: int
    ) -> Iterator[_View]:
        for row in rows:
            wanted = [i for i in range(len(parts)) if not found[i][row - rows.start]]
            if not wanted:
                continue
            only_whole = all(parts[i].views.stop == 1 for i in wanted)
            views = cut_views(images[row], 0 if only_whole else grid, self.encoder.image_size)
            for i in wanted:
                for number, pixels in enumerate(views[parts[i].views]):
                    yield _View(i, row, number, pixels, parts[i].mirrored)

    def _encode(self, views: list[_View]) -> np.ndarray:
        channels, height, width = views[0].pixels.shape
        batch = torch.zeros(self.config.batch_size, height, width, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
        for place, view in zip(batch, views, strict=False):
            place.copy_(view.pixels)
        batch = batch.to(self.device)
        mirrored = torch.tensor([i for i, view in enumerate(views) if view.mirrored], dtype=torch.int64, device=self.device)
        batch[mirrored] = batch[mirrored].flip(-1)
        self.num_images_encoded += len(views)
        embeddings = self.encoder.encode_images(batch)[: len(views)]
        if self._text_width not in (None, embeddings.shape[-1]):
            raise ConfigError(
                f"labeler.encoder.source: {self.config.source} gives {embeddings.shape[-1]} numbers for an image and "
                f"{self._text_width} for a text, which cannot be compared; take an encoder whose towers project to one width"
            )
        return embeddings.half().cpu().numpy()

    def _require_usable(self, embeddings: np.ndarray, names: list[str]) -> None:
        wrong = np.flatnonzero(~usable(embeddings))
        if len(wrong):
            raise DataError(
                f"encoder {self.config.source}: {len(wrong)} of {len(names)} embeddings are NaN, infinite or all 0, the first of "
                f"{names[wrong[0]]}; its weights are damaged, or labeler.encoder.precision is too coarse: set it to fp32"
            )

    def _say(self, text: str) -> None:
        if text not in self._said:  # the parts of one split often have the same to say
            self._said.add(text)
            self._notify(text)
