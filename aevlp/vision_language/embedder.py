"""Embeddings of images and texts: from the cache where they are there, else from an encoder that is loaded only then."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from aevlp.config import registry
from aevlp.config.errors import ConfigError
from aevlp.data.dataset import ImageSource, identities, identity
from aevlp.system import keep_memory, usable_cores
from aevlp.vision_language.by_name import NamedReader, ReportProgress, embed_by_name, named_reader, unmirrored
from aevlp.vision_language.claims import Claims
from aevlp.vision_language.embedding_cache import CachedRows, Family, Notify
from aevlp.vision_language.embedding_store import require_usable
from aevlp.vision_language.encoders import Encoder, EncoderConfig
from aevlp.vision_language.encoders._base import DEFAULT
from aevlp.vision_language.feeding import BothWays, Event, Views, ahead, both_ways, encoded, in_batches, put_together
from aevlp.vision_language.parts import Part, PartRows, count_complete, take
from aevlp.vision_language.reader import Reader
from aevlp.vision_language.shards import chunks_of
from aevlp.vision_language.views import cut_views

BETWEEN = torch.empty(0), torch.empty(0)  # stands for a chunk of which nothing is cut
WAIT_SECONDS = 0.5  # between two looks at images that another process encodes
# On a CPU the activations of 8 views stay below the 32 MB up to which memory is kept for the next batch (`keep_memory`).
CPU_BATCH, GPU_BATCH = 8, 64
TEXT_BATCH = 256  # texts per forward pass: 9,600 at once would take 9 GB


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
        encoder: Encoder | None = None,
    ):
        keep_memory()
        self.config, self.device = config, torch.device(device)
        self.batch_size = config.batch_size or (CPU_BATCH if self.device.type == "cpu" else GPU_BATCH)
        self.workers = usable_cores() if config.workers == "auto" else config.workers
        self.event: Callable[[], Event] | None = torch.cuda.Event if self.device.type == "cuda" else None
        """Makes what tells that a device is done which computes while this process goes on; None where it does not."""
        self.num_images_encoded = 0
        """Views that went through the encoder so far."""
        self._encoder: Encoder = encoder or registry.build("encoders", config, device=self.device)
        self.title, self.normalization = self._encoder.title, self._encoder.normalization
        self.by_name = self._encoder.by_name
        self._text_width: int | None = None
        self._said: set[str] = set()
        self._notify = notify or logging.getLogger("aevlp").warning
        self._files: str | None = None
        if config.cache and not self.by_name:
            # Kinds may share a folder, and fingerprints are told apart by nobody else. The first kind keeps its keys of before.
            kind = "" if config.name == DEFAULT else f"{config.name} "
            self._files, self._text_files = kind + self._encoder.fingerprint(), kind + self._encoder.text_fingerprint()

    @property
    def temperature(self) -> float:
        """What the model was trained with, without loading it: 0.01 for CLIP, about 0.009 for SigLIP.

        Raises:
            ConfigError: it has none.
        """
        scale = self._encoder.logit_scale
        if scale is None or not 0 < scale < math.inf:
            raise ConfigError(
                f"labeler.temperature: encoder takes the logit scale of the model, and {self.title} has none; "
                "give a number; labeler.calibrate=1000 then chooses a better one"
            )
        return 1 / scale

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first asked for."""
        self._encoder.load()
        if self._encoder.precision_reason is not None:
            self._say(f"encoder {self.title} in {self._encoder.precision}: {self._encoder.precision_reason}")
        if not self._encoder.deterministic:
            kept = "what the embedding cache keeps" if self.config.cache else "luck, with labeler.encoder.cache off"
            self._say(f"encoder {self.title} does not give the same numbers twice; runs repeat each other by {kept}")
        return self._encoder

    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N,D) float32 of texts, not normalised; cached as a whole, so that they never depend on what was there."""
        cached, rows = None, range(len(texts))
        if self._files is not None:
            family = Family(encoder=self.title, files=self._text_files, part="texts", views=1, dtype="float32")
            identities = [hashlib.blake2b(text.encode(), digest_size=16).digest() for text in texts]
            cached = CachedRows(family, identities, self._say, borrow=False)
            values, found = cached.read(rows)
            if values is not None and found.all():
                cached.close()
                self._text_width = values.shape[-1]
                return torch.from_numpy(values[:, 0].copy()).to(self.device)
        # What is known by name is asked for at once, so that all that is missing is told.
        size = max(len(texts), 1) if self.by_name else TEXT_BATCH
        features = torch.cat([self.encoder.encode_texts(texts[i : i + size]) for i in range(0, len(texts), size)])
        self._text_width = features.shape[-1]
        require_usable(self.title, features.cpu().numpy(), [repr(text) for text in texts])
        if cached is not None:
            for row, feature in zip(rows, features.cpu().numpy(), strict=True):
                cached.write(row, feature[None])
            cached.close()
        return features

    def embed(
        self, images: ImageSource, grid: int, flip: bool, progress: ReportProgress | None = None, cached: bool = True,
        rows: range | None = None,
    ) -> Iterator[tuple[range, Tensor]]:  # fmt: skip
        """Embeddings of the views of all images, a range of rows at a time and each row once.

        Where other processes fill the same cache, each chunk of images is encoded by one of them, and read by all.

        Args:
            images: an image is decoded once at most, and not at all where its embeddings are known.
            grid: tiles per side, as in `cut_views`.
            flip: whether the mirror images of all views are wanted as well.
            progress: called with (images done, images in all); what it raises ends the work, and what is done stays cached.
                What other processes have done counts.
            cached: False encodes all and keeps nothing.
            rows: only these, which begin and end with a chunk (`Shard.rows`).

        Yields:
            rows, and their embeddings (n, 1 + flip, 1 + grid * grid, D) float16, of unit length before rounding. The ranges
            are the same in every run, but begin anywhere where there is a cache: so several processes share the work.
        """
        count, rows = len(images), range(len(images)) if rows is None else rows
        if self.by_name:
            if flip:
                self._say(unmirrored(self._encoder))
            yield from embed_by_name(self.encoder, images, rows, grid, flip, progress)
            return
        parts = self._parts(images, grid, flip, cached, lambda: progress and progress(0, count)) if rows else []
        chunks, store = chunks_of(rows), parts[0].cached if parts else None
        claims = Claims(store.folder.name if store else None)
        if store is not None:
            first = random.SystemRandom().randrange(len(chunks))
            chunks = chunks[first:] + chunks[:first]
        done, complete, finished = 0, count_complete(parts), range(0)

        def report(more: int) -> None:
            claims.keep()
            if progress:
                progress(max(done + more, next(complete)), count)

        try:
            while chunks:
                others: list[range] = []
                read, fed = itertools.tee(take(chunks, parts, claims, others))
                cut = ahead(
                    lambda wanted: self._cut(images, *wanted) if wanted else BETWEEN, self._to_cut(fed, parts, grid), self.workers
                )
                with contextlib.closing(cut):
                    for known in read:
                        if not known.incomplete:
                            next(cut)
                        yield known.rows, self._embed_rows(images, known, parts, zip(known.incomplete, cut, strict=False), report)
                        done += len(known.rows)
                        claims.release(known.rows.start)
                if len(others) == len(chunks):
                    self._say("all images but those that other processes are encoding are done: waits for them")
                    report(0)
                    time.sleep(WAIT_SECONDS)
                chunks = others
            finished = rows
        finally:
            claims.close(finished)
            for part in parts:
                part.close()

    def count_missing(self, images: ImageSource, grid: int, flip: bool, rows: range | None = None) -> int:
        """Views that `embed` would have to encode, as far as can be told without reading what is there."""
        if self.by_name:
            return 0
        rows, total = range(len(images)) if rows is None else rows, 0
        for part in self._parts(images, grid, flip, cached=True):
            there = 0 if part.cached is None else int(part.cached.there()[rows.start : rows.stop].sum())
            total += (len(rows) - there) * (part.views.stop - part.views.start)
            part.close()
        return total

    def keeps(self, images: ImageSource) -> bool:
        """Whether embeddings of these images are kept, as far as the first one tells."""
        return self._files is not None and len(images) > 0 and identity(images, 0) is not None

    def has_reader(self, images: ImageSource) -> bool:
        """Whether embeddings of these images can be read again without being computed."""
        return self.by_name or self.keeps(images)

    def reader(self, images: ImageSource, grid: int, flip: bool) -> Reader | NamedReader:
        """Embeddings of any rows, from the cache, which stays open, or by name."""
        if self.by_name:
            return named_reader(self.encoder, images, grid, flip)
        return Reader(self._parts(images, grid, flip, cached=True), lambda known, parts: self._embed_rows(
            images, known, parts, ((row, self._cut(images, row, grid, flip)) for row in known.incomplete), lambda _: None
        ), self._say)  # fmt: skip

    def _parts(
        self, images: ImageSource, grid: int, flip: bool, cached: bool, progress: Callable[[], object] = lambda: None
    ) -> list[Part]:
        files = self._files if cached else None
        known = [] if files is None else [value for value in identities(images, progress) if value is not None]
        if files is not None and len(known) < len(images):
            self._say("embedding cache: these images have no identity() to know them by, so nothing of them is kept")
        views = {"whole": slice(0, 1)} | ({f"grid {grid}": slice(1, 1 + grid**2)} if grid else {})
        parts = []
        for mirrored in (False, True) if flip else (False,):
            for name, part in views.items():
                rows = None
                if files is not None and len(known) == len(images):
                    family = Family(
                        encoder=self.title, files=files, part=name, views=part.stop - part.start, mirrored=mirrored,
                        precision=self._encoder.precision, normalization=self.normalization,
                    )  # fmt: skip
                    rows = CachedRows(family, known, self._say)
                parts.append(Part(part, mirrored, rows))
        return parts

    def _cut(self, images: ImageSource, row: int, grid: int, mirrored: bool) -> BothWays:
        return both_ways(cut_views(images[row], grid, self.encoder.image_size), mirrored)

    def _to_cut(self, read: Iterable[PartRows], parts: list[Part], grid: int) -> Iterator[tuple[int, int, bool] | None]:
        """Images to encode, in order; the grid to cut by, 0 where only the whole image is missing; whether mirrored ones are.

        None for a chunk that is complete: so no more of them are read ahead, and held, than images are cut ahead.
        """
        for known in read:
            if not known.incomplete:
                yield None
            for row in known.incomplete:
                _ = self.encoder  # loaded here, before threads ask for it
                missing = [parts[i] for i in known.missing(row)]
                whole_alone = all(part.views.stop == 1 for part in missing)
                yield row, 0 if whole_alone else grid, any(part.mirrored for part in missing)

    def _embed_rows(
        self, images: ImageSource, known: PartRows, parts: list[Part], cut: Iterable[tuple[int, BothWays]],
        report: Callable[[int], object],
    ) -> Tensor:  # fmt: skip
        values, start = known.values, known.rows.start
        wanted = ((i, row, pixels[parts[i].mirrored]) for row, pixels in cut for i in known.missing(row))
        views = (Views(i, row, 0, pixels[parts[i].views]) for i, row, pixels in wanted)
        for batch, embeddings in encoded(in_batches(views, self.batch_size), self._encode, self.event):
            names = [images.name(block.row) for block in batch for _ in range(len(block))]
            require_usable(self.title, embeddings, names)
            place = 0
            for block in batch:
                part, target = parts[block.part], values[block.part]
                num_views, end = part.views.stop - part.views.start, block.first + len(block)
                if target is None:
                    shape = (len(known.rows), num_views, embeddings.shape[1])
                    target = values[block.part] = np.empty(shape, dtype=np.float16)
                target[block.row - start, block.first : end] = embeddings[place : place + len(block)]
                place += len(block)
                if part.cached is not None and end == num_views:
                    part.cached.write(block.row, target[block.row - start])
            report(batch[-1].row - start)
        report(len(known.rows))
        last, width = parts[-1], next(value.shape[-1] for value in values if value is not None)
        whole = np.empty((len(known.rows), 1 + last.mirrored, last.views.stop, width), dtype=np.float16)
        for part, value in zip(parts, values, strict=True):
            whole[:, int(part.mirrored), part.views] = value
        return torch.from_numpy(whole)

    def _encode(self, batch: list[Views]) -> Tensor:
        place = sum(map(len, batch))
        pixels = put_together(batch, self.batch_size, pinned=self.device.type == "cuda").to(self.device, non_blocking=True)
        self.num_images_encoded += place
        embeddings = self.encoder.encode_images(pixels)[:place]
        if self._text_width not in (None, embeddings.shape[-1]):
            raise ConfigError(
                f"labeler.encoder.source: {self.title} gives {embeddings.shape[-1]} numbers for an image and "
                f"{self._text_width} for a text, which cannot be compared; take an encoder whose towers project to one width"
            )
        return embeddings.half()

    def _say(self, text: str) -> None:
        if text not in self._said:  # the parts of one split often have the same to say
            self._said.add(text)
            self._notify(text)
