"""Labelers: where pseudo-labels come from. One file a labeler, built by name.

prepare(dataset, progress)                      look at the training split; again when a run is resumed
label(index, observed, *, epoch, images=None)   int8 (B,C) in {-1,0,1}; 0 where a label is known
evaluate(dataset, progress)                     scores and pseudo-labels of another split, to measure the labeler
explain(dataset, progress)                      optional, without prepare: each pseudo-label, and the view it came from
explain_parts(dataset, parts, progress)         the same for ranges of rows, one after the other
encode(dataset, flip, progress, rows)           fill the cache of embeddings, where there is one
count_missing(dataset, flip, rows)              views that are neither encoded nor cached; None: unknown
trial(dataset, rows), settle(found)             optional: what labels are worth is told before training, settings are found
view_scores(index)                              class probabilities of each view, for people to look at
state_dict() / load_state_dict()                what a checkpoint must hold

One is built with (config, prompt_names=, flip=, seed=, device=, notify=), and never sees true labels. docs/extending.md holds
one as a whole file.
"""

from aevlp.labelers import damp
from aevlp.labelers._base import Explained, Labeler, Trial
from aevlp.labelers._build import build_labeler

__all__ = ["Explained", "Labeler", "Trial", "build_labeler", "damp"]
