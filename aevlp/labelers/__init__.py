"""Labelers: where pseudo-labels come from. One file a labeler, built by name.

prepare(dataset, progress)                      look at the training split once
label(index, observed, *, epoch, images=None)   int8 (B,C) in {-1,0,1}; 0 where a label was observed
evaluate(dataset, progress)                     scores and pseudo-labels of another split, to measure the labeler
explain(dataset, progress)                      optional: the pseudo-labels one by one, and the view each came from
encode(dataset, flip, progress)                 fill the cache of embeddings, where there is one
count_missing(dataset, flip)                    views that are neither encoded nor cached
view_scores(index)                              class probabilities of each view, for people to look at
state_dict() / load_state_dict()                what a checkpoint must hold
"""

from aevlp.labelers import damp
from aevlp.labelers._base import Explained, Labeler

__all__ = ["Explained", "Labeler", "damp"]
