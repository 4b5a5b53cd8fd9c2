"""The shape of an experiment. Every field carries the sentence that `run.py schema` prints."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    field_validator,
    model_validator,
)

from aevlp.config.base import ComponentConfig, Config
from aevlp.folders import user_path

# Speed, meters and what stops a run: they change how long it takes, or what is measured beside it, and its result by no more
# than rounding.
SPEED_AND_METERS = (
    "trainer.threads", "trainer.num_workers", "trainer.image_cache", "trainer.image_cache_mb", "trainer.log_every",
    "trainer.eval_batch_size", "trainer.evaluate_labeler", "trainer.stop_signals", "labeler.encoder.batch_size",
    "labeler.encoder.workers", "labeler.encoder.cache", "labeler.table_mb",
    *(f"model.encoder.{name}" for name in ("batch_size", "workers", "cache")),
)  # fmt: skip
# Where the data lie. What they are is told by their fingerprint.
PLACES = ("dataset.root", "dataset.arrays")
# Settings that came later, and the value at which all is as before: a run of before is a repetition of one of today.
CAME_LATER = {
    "dataset.known": "single", "dataset.draw": "uniform", "dataset.answers": None,
    "labeler.skip_known": False, "labeler.flip": True, "labeler.calibrate": 0, "labeler.encoder.name": "huggingface",
    "loss.gamma_known": 1.0, "selection.epoch": "best",
}  # fmt: skip
StopSignal = Literal["HUP", "USR1", "USR2"]
STOP_SIGNALS: tuple[StopSignal, ...] = get_args(StopSignal)


LocalPath = Annotated[str, AfterValidator(lambda path: str(user_path(path).absolute()))]
"""A file or folder of this machine. It is kept in full: a run that is looked at from another folder means the same."""
PathBelow = Annotated[str, AfterValidator(lambda path: str(user_path(path)))]
"""A file or folder relative to another one, or in full."""


class Known(Config):
    """What is known of each image, drawn from its full labels: a share of all entries, or so many positives and negatives."""

    share: float | None = Field(None, gt=0, le=1)
    """Probability with which each label is known, there or absent: the protocol of partial labels."""
    positives: int | Literal["all"] | None = None
    """Positives of each image that are known, or all."""
    negatives: int | Literal["all"] = 0
    """Negatives of each image that are known, or all; with `positives`."""

    @field_validator("positives", "negatives", mode="before")
    @classmethod
    def _whole_number_or_all(cls, value: Any) -> Any:
        if value not in (None, "all") and (type(value) is not int or value < 0):
            raise ValueError(f"must be a whole number from 0, or all (got {value!r})")
        return value

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Known:
        if (self.share is None) == (self.positives is None) or (self.share is not None and self.negatives != 0):
            raise ValueError("takes {share: S}, or {positives: P} with or without negatives: N")
        if self.positives == self.negatives == 0:
            raise ValueError("positives: 0 and negatives: 0 leave nothing to learn from")
        return self


KnownLabels = Literal["single", "given"] | Known
Draw = Literal["uniform", "frequent", "rare"]
WORD, NUMBERS = "a word", "numbers"
"""The two forms of `dataset.known`, which stand in the places that pydantic gives of mistakes."""


class DatasetConfig(ComponentConfig):
    """What every dataset shares."""

    drawn: ClassVar[bool] = False
    """Whether the settings alone say what the data are; else they may be edited under their path."""
    train_labels: Literal["single", "full"] = "single"
    """Labels that training sees: one positive an image, or all of them (the full-label baseline, without a labeler)."""
    known: Annotated[
        Annotated[Literal["single", "given"], Tag(WORD)] | Annotated[Known, Tag(NUMBERS)], Discriminator(
            lambda known: NUMBERS if isinstance(known, dict | Known) else WORD
        ),
    ] = "single"  # fmt: skip
    """Labels that are known. single: one positive an image, drawn of full labels as the community does. given: all that the
    files say. {share: S} or {positives: P, negatives: N}: drawn of full labels."""
    draw: Draw = "uniform"
    """Which positives are drawn: any with equal probability, or with one that grows with the number of images of the split
    that have the class (frequent), or with its inverse (rare)."""
    answers: LocalPath | None = None
    """File of answers about training images (`review`); what they say is known as well."""
    image_size: int = Field(448, ge=8, le=2048)
    """Side in pixels to which images are squashed for the classifier."""
    flip: bool = True
    """Whether a horizontal flip keeps the labels true. Flips images and views with probability 1/2 in training."""

    @model_validator(mode="after")
    def _something_is_drawn(self) -> DatasetConfig:
        if self.train_labels == "full" and self.known != "single":
            raise ValueError("train_labels: full makes all labels known already; leave known at single")
        none_drawn = self.known == "given" or (isinstance(self.known, Known) and self.known.positives in (None, "all"))
        if self.draw != "uniform" and none_drawn:
            raise ValueError(
                f"draw: {self.draw} says which positives are drawn; here none is, by known: single or {{positives: P}}"
            )
        return self


class TrainerConfig(Config):
    """Optimisation, evaluation and stopping."""

    epochs: int = Field(8, ge=1, le=10_000)
    """Passes over the training set; also T of the GPR schedules."""
    earlier_epochs: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """What `epochs` was before --resume changed it, which writes it here: such a run repeats none of those planned at once. A new
    run drops it."""
    batch_size: int = Field(16, ge=1, le=65_536)
    """Images per optimiser step, those of all devices together: more devices change the speed, not the result."""
    eval_batch_size: int = Field(64, ge=1, le=65_536)
    """Images per forward pass of evaluation."""
    optimizer: Literal["adam", "adamw", "adamax", "sgd"] = "adam"
    """Adam, AdamW and Adamax with betas .9/.999, SGD with momentum .9."""
    learning_rate: float = Field(1e-5, gt=0, le=100)
    """Learning rate of the backbone."""
    head_lr_mult: float = Field(10.0, ge=0)
    """Factor on the learning rate of the classification head."""
    loss_lr_mult: float = Field(10.0, ge=0)
    """Factor on the learning rate of a loss's own parameters."""
    weight_decay: float = Field(0.0, ge=0)
    """Weight decay of all groups."""
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """Learning rate over the run; cosine ends at 0, one_cycle warms up for 30 % of the run and ends near 0."""
    linear_epochs: int = Field(0, ge=0)
    """First epochs in which the backbone stands still and only head and loss learn (ROLE with linear initialisation: 25)."""
    warmup_epochs: float = Field(0.0, ge=0)
    """Linear warm-up of the constant and cosine schedules, in epochs."""
    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Decay a step of an exponential moving average of the weights; validation and test then use the average."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    """Arithmetic of the classifier; auto tries which is faster here, fp16 needs CUDA. Loss and metrics are always float32."""
    channels_last: bool = False
    """Memory layout of images and convolutions; faster on most hardware."""
    compile: bool = False
    """Compile the classifier's training step: a minute at the start, faster steps after. Needs a C++ compiler."""
    sync_batch_norm: bool = False
    """On several GPUs, batch norm over the whole batch instead of over each GPU's share."""
    patience: int | None = Field(2, ge=1)
    """Stop after this many epochs in a row without a better validation mAP; null never stops."""
    max_drop: float | None = Field(2.0, ge=0)
    """Stop once validation mAP lies more than this many points below its best; null never stops."""
    num_workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = 0
    """Processes that decode images, for each device and at most one a core; auto: all cores but one; 0: the main process."""
    image_cache: Literal["off", "ram", "disk"] = "off"
    """Keep decoded training and validation images at the classifier's size: in memory, or in a file below $AEVLP_CACHE."""
    image_cache_mb: int = Field(4096, ge=1)
    """Most that image_cache may take, in MB, per device for ram; images beyond it are decoded in every epoch."""
    pseudo_as_observed: bool = False
    """Hand pseudo-positives to the loss as observed labels, for losses that read no pseudo-labels."""
    log_every: int = Field(50, ge=1)
    """Steps between two looks at the loss (and checks that it is finite)."""
    evaluate_labeler: bool = False
    """Also label validation and test images, to measure the labeler on held-out data and its scores as predictions."""
    threads: int | None = Field(None, ge=1)
    """CPU threads of torch; null leaves torch's choice. Results are reproducible to the bit at one thread count."""

    stop_signals: tuple[StopSignal, ...] = STOP_SIGNALS
    """Signals that save and stop a run as Ctrl-C and SIGTERM do: a lost terminal sends HUP, Slurm what --signal says."""


class SelectionConfig(Config):
    """Which epoch is kept, and by which labels of the validation images."""

    labels: Literal["clean", "observed"] = "clean"
    """Full labels where they are known, as the community does, or the observed ones alone, as an honest deployment must."""
    epoch: Literal["best", "last", "auto"] = "best"
    """That of the best validation mAP, under the stop rule of `trainer.patience` and `max_drop`; or the last, under none. auto is
    best, but last where labels that are not known would count as absent in that mAP."""


def _taken_by_wandb(most: int, without: str = "") -> AfterValidator:
    """What W&B refuses would cost the whole record of a run, hours after the word was written."""

    def check(text: str) -> str:
        if not text.strip() or len(text) > most:
            raise ValueError(f"has {len(text)} characters{'' if text.strip() else ', all blank'}; W&B takes 1 to {most}")
        if wrong := sorted(set(text) & set(without)):
            raise ValueError(f"holds {' '.join(wrong)}, which W&B refuses here")
        return text

    return AfterValidator(check)


class TrackingConfig(Config):
    """Weights & Biases. metrics.jsonl is written in any case."""

    mode: Literal["auto", "online", "offline", "off"] = "auto"
    """auto goes online where there is a login and the server answers, else offline."""
    project: Annotated[str, _taken_by_wandb(128, "/\\#?%:")] = "aevlp"
    """Project to log to."""
    entity: Annotated[str, _taken_by_wandb(128, "/\\#?%:")] | None = None
    """User or team; null is the login's default."""
    tags: tuple[Annotated[str, _taken_by_wandb(64)], ...] = ()
    """Tags of the run, each of 1 to 64 characters."""
    group: Annotated[str, _taken_by_wandb(128)] | None = None
    """Runs shown together; null is the name of the experiment."""
    job_type: Annotated[str, _taken_by_wandb(64)] = "train"
    """Kind of run within its group."""
    name: Annotated[str, _taken_by_wandb(128)] | None = None
    """What compare, report and W&B call the run; null is what differs in it, and in W&B the name of its folder."""
    notes: Annotated[str, _taken_by_wandb(2000)] | None = None
    """A word about the run, for whoever looks at it in W&B."""
    alert: bool = False
    """Let W&B write to you when a run ends or fails."""


class ExperimentConfig(Config):
    """A whole run, resolved and validated."""

    name: str = Field(pattern=r"^[A-Za-z0-9_.-]{1,80}$")
    """Name of the experiment: its file name, and the first part of the run id."""
    schema_version: Literal[1] = 1
    """Version of this layout."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Varies initialisation, order and flips; never the data, the single-positive draw or the split."""
    dataset: SerializeAsAny[DatasetConfig]
    """Images and labels."""
    model: SerializeAsAny[ComponentConfig]
    """Backbone and head."""
    labeler: SerializeAsAny[ComponentConfig]
    """Where pseudo-labels come from."""
    loss: SerializeAsAny[ComponentConfig]
    """What is minimised."""
    trainer: TrainerConfig = TrainerConfig()
    """Optimisation."""
    selection: SelectionConfig = SelectionConfig()
    """Checkpoint choice."""
    tracking: TrackingConfig = TrackingConfig()
    """Weights & Biases."""

    @model_validator(mode="after")
    def _consistent(self) -> ExperimentConfig:
        if self.dataset.train_labels == "full" and self.labeler.name != "none":
            raise ValueError("dataset.train_labels: full leaves nothing to pseudo-label; set labeler: none as well")
        if self.loss.needs_full_labels and self.dataset.train_labels != "full":
            raise ValueError(f"loss {self.loss.name} needs dataset.train_labels: full; with one label an image, use loss an")
        missing = [name for name in self.loss.needs_outputs if name not in self.model.gives_outputs]
        if missing:
            raise ValueError(
                f"loss {self.loss.name} needs the model outputs {', '.join(missing)}, but model {self.model.name} gives only "
                f"{', '.join(('logits', *self.model.gives_outputs))}; choose another loss, or a model that gives them"
            )
        return self

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as written to config.yaml."""
        data = self.model_dump(mode="json")
        if not self.trainer.earlier_epochs:  # of nearly all runs, which are told and hashed as before there was the setting
            del data["trainer"]["earlier_epochs"]
        return data

    def planned_at_once(self) -> ExperimentConfig:
        """As of a new run, though these may be the settings of an old one whose epochs were changed while it went on."""
        return self.model_copy(update={"trainer": self.trainer.model_copy(update={"earlier_epochs": ()})})

    @property
    def places(self) -> dict[str, str | None]:
        """Where the data lie: those of PLACES that the dataset has."""
        keys = {path: path.partition(".")[2] for path in PLACES}
        return {path: getattr(self.dataset, key) for path, key in keys.items() if key in type(self.dataset).model_fields}

    @property
    def hash(self) -> str:
        """Short hash of all settings but name, seed, tracking, speed and meters, and where the data lie.

        Runs of one hash on data of one fingerprint (`aevlp.data.fingerprint`) are repetitions of each other.
        """
        data = self.to_dict()
        for path in ("name", "seed", "tracking", *SPEED_AND_METERS, *CAME_LATER):
            *sections, key = path.split(".")
            found: Any = data
            for section in sections:  # not every labeler has an encoder
                found = found.get(section) if isinstance(found, dict) else None
            if isinstance(found, dict) and found.get(key) == CAME_LATER.get(path, found.get(key)):
                found.pop(key, None)
        data["dataset"] |= {path.partition(".")[2]: None for path in self.places}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]
