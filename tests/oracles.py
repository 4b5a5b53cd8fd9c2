"""Slow float64 references, written by formula as plain loops and sharing no code with the package."""

import math

import numpy as np
import torch
from loss_oracles import LOSSES
from torch.utils._python_dispatch import TorchDispatchMode

EPSILON = {"an": 1e-5, "bce": 1e-5, "em": 1e-5, "an_pl": 1e-7, "gr": 1e-7, "gpr": 1e-7}


def probability(logit):
    """sigmoid(logit) and 1 - sigmoid(logit), each without cancellation."""
    return 1.0 / (1.0 + math.exp(-logit)), 1.0 / (1.0 + math.exp(logit))


def neg_log(x, epsilon):
    return -math.log(x + epsilon)


def l_q(p, q):
    return (1.0 - p**q) / q


def schedule(epoch, num_epochs, beta, alpha):
    """(w, b, mu, sigma) of an epoch counted from 1: w and b lag one epoch behind mu and sigma."""
    w0, w_end, b0, b_end = beta
    mu0, sigma0, mu_end, sigma_end = alpha
    early, late = max(epoch - 1, 0) / num_epochs, max(epoch, 0) / num_epochs
    w, b = w0 + (w_end - w0) * early, b0 + (b_end - b0) * early
    return w, b, mu0 + (mu_end - mu0) * late, sigma0 + (sigma_end - sigma0) * late


def confidence_and_weight(p_hat, epoch, num_epochs, beta, alpha):
    """K and V: the two factors that carry no gradient."""
    w, b, mu, sigma = schedule(epoch, num_epochs, beta, alpha)
    return 1.0 / (1.0 + math.exp(-(w * p_hat + b))), math.exp(-0.5 * ((p_hat - mu) / sigma) ** 2)


def gpr_entry(logit, frozen_logit, s, u, *, epoch, num_epochs, beta, alpha, q2, q3, lambda1, lambda2, rho):
    epsilon = EPSILON["gpr"]
    p, not_p = probability(logit)
    k, v = confidence_and_weight(probability(frozen_logit)[0], epoch, num_epochs, beta, alpha)
    if s == 1:
        return neg_log(p, epsilon)
    if u == 0:
        return v * (k * l_q(p, q2) + (1.0 - k) * l_q(not_p, q3))
    if u == 1:
        clamped = min(max(v, 1.0 - lambda1), 1.0 - lambda2)
        return (1.0 - clamped) * (rho * neg_log(p, epsilon) + (1.0 - rho) * neg_log(not_p, epsilon))
    return v * neg_log(not_p, epsilon)


def gpr(logits, observed, pseudo, *, frozen, epoch, num_epochs, regularizer, expected_positives, **entry):
    """`frozen` are the logits K and V are computed from (the same as `logits`, except under a numerical gradient)."""
    batch, classes = logits.shape
    total, positives = 0.0, 0.0
    for i in range(batch):
        for j in range(classes):
            labels = {"s": observed[i, j], "u": pseudo[i, j], "epoch": epoch, "num_epochs": num_epochs}
            total += gpr_entry(logits[i, j], frozen[i, j], **labels, **entry)
            positives += probability(logits[i, j])[0]
    return total / (batch * classes) + regularizer * (positives / batch - expected_positives) ** 2 / classes**2


def plain(name, logits, observed, pseudo, alpha=None):
    """an, bce, an_pl and em: the losses without a schedule."""
    epsilon = EPSILON[name]
    batch, classes = logits.shape
    total = 0.0
    for i in range(batch):
        for j in range(classes):
            p, not_p = probability(logits[i, j])
            if observed[i, j] == 1 or (name == "an_pl" and pseudo[i, j] == 1):
                total += neg_log(p, epsilon)
            elif name == "em":
                total -= alpha * (p * neg_log(p, epsilon) + not_p * neg_log(not_p, epsilon))
            else:
                total += neg_log(not_p, epsilon)
    return total / (batch * classes)


def loss(name, logits, observed, pseudo, *, epoch, num_epochs, frozen=None, **params):
    frozen = logits if frozen is None else frozen
    if name in LOSSES:
        return LOSSES[name](logits, observed, pseudo, frozen, epoch=epoch, num_epochs=num_epochs, **params)
    if name == "gr":
        pseudo = np.zeros(logits.shape)
        params = {"lambda1": 0.7, "lambda2": 0.4, "rho": 0.9, "regularizer": 0.0, "expected_positives": 0.0, **params}
    if name in ("gr", "gpr"):
        return gpr(logits, observed, pseudo, frozen=frozen, epoch=epoch, num_epochs=num_epochs, **params)
    return plain(name, logits, observed, pseudo, **params)


def loss_gradient(name, logits, observed, pseudo, step=1e-4, **rest):
    """Central differences in float64, with K and V held where they are."""
    gradient = np.zeros(logits.shape)
    for i in range(logits.shape[0]):
        for j in range(logits.shape[1]):
            ends = []
            for sign in (1.0, -1.0):
                moved = logits.copy()
                moved[i, j] += sign * step
                ends.append(loss(name, moved, observed, pseudo, frozen=logits, **rest))
            gradient[i, j] = (ends[0] - ends[1]) / (2.0 * step)
    return gradient


def softmax(row, temperature):
    top = max(row)
    powers = [math.exp((value - top) / temperature) for value in row]
    return [power / sum(powers) for power in powers]


def damp_image(cosines, observed, *, temperature, eta, threshold, top_k, negative_ratio, negatives):
    """Labels of one image (views x classes) and the smallest relative distance of any of its decisions."""
    views = [softmax([float(c) for c in view], temperature) for view in cosines]
    whole, tiles = views[0], views[1:]
    classes = len(whole)
    gate = min(max(whole[j] if observed[j] == 1 else 0.0 for j in range(classes)), eta)
    scores, means, distances = [], [], [1.0]
    for j in range(classes):
        highest = max(tile[j] for tile in tiles)
        lowest = min(tile[j] for tile in tiles)
        local = highest if highest > gate else lowest
        scores.append(0.5 * (whole[j] + local))
        means.append(0.5 * (whole[j] + sum(tile[j] for tile in tiles) / len(tiles)))
        distances.append(abs(scores[j] - threshold) / threshold)
        if gate > 0:
            distances.append(abs(highest - gate) / gate)
    labels, order = [0] * classes, sorted(range(classes), key=lambda j: -scores[j])
    for j in order[:top_k]:
        if scores[j] >= threshold:
            labels[j] = 1
    bottom, rising = math.floor(negative_ratio * classes + 1e-9), sorted(range(classes), key=lambda j: means[j])
    for j in rising[:bottom]:
        if negatives == "off":
            labels[j] = 0
        elif labels[j] != 1:
            labels[j] = -1
    if 0 < top_k < classes:
        distances.append(1.0 - scores[order[top_k]] / scores[order[top_k - 1]])
    if 0 < bottom < classes:
        distances.append(1.0 - means[rising[bottom - 1]] / means[rising[bottom]])
    return [0 if observed[j] == 1 else labels[j] for j in range(classes)], min(distances)


def single_positives(labels, seed=1200, shuffle_negatives=True):
    generator = np.random.RandomState(seed)
    observed = np.zeros_like(labels)
    for i in range(len(labels)):
        positives = np.array([j for j in range(labels.shape[1]) if labels[i, j] == 1], dtype=np.int64)
        negatives = np.array([j for j in range(labels.shape[1]) if labels[i, j] != 1], dtype=np.int64)
        generator.shuffle(positives)
        if shuffle_negatives:
            generator.shuffle(negatives)
        if len(positives):
            observed[i, positives[0]] = 1
    return observed


def average_precision(targets, scores):
    """Percent; precision at every distinct score from the top, weighted by the recall it adds; 0 without a positive."""
    wanted = sum(1 for t in targets if t == 1)
    area, found_before = 0.0, 0
    for level in sorted({float(s) for s in scores}, reverse=True):
        hits = [t == 1 for t, s in zip(targets, scores, strict=True) if s >= level]
        if wanted:
            area += sum(hits) / len(hits) * (sum(hits) - found_before) / wanted
        found_before = sum(hits)
    return 100.0 * area


def pseudo_quality(pseudo, observed, targets, sign):
    """Counts over unobserved entries: u > 0 against y = 1 for sign +1, u < 0 against y = 0 for sign -1."""
    right = assigned = wanted = 0
    for u, s, y in zip(pseudo.ravel(), observed.ravel(), targets.ravel(), strict=True):
        if s != 0:
            continue
        is_assigned, is_wanted = u * sign > 0, y == (1 if sign > 0 else 0)
        assigned += bool(is_assigned)
        wanted += bool(is_wanted)
        right += bool(is_assigned and is_wanted)
    precision = 100.0 * right / assigned if assigned else 0.0
    recall = 100.0 * right / wanted if wanted else 0.0
    f1 = 2.0 * precision * recall / (precision + recall) if precision and recall else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "count": assigned}


class DenseOnly(TorchDispatchMode):
    """Fails on operations whose output shape, or whose python value, depends on the data: they stall an accelerator."""

    BANNED = ("aten.nonzero", "aten._local_scalar_dense", "aten.masked_select", "aten.is_nonzero", "aten.equal", "aten._unique")
    INDEXING = ("aten.index.", "aten.index_put", "aten._index_put")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        masks = [mask for mask in args[1] if mask is not None] if name.startswith(self.INDEXING) else []
        if name.startswith(self.BANNED) or any(mask.dtype in (torch.bool, torch.uint8) for mask in masks):
            raise AssertionError(f"{name} is not a dense operation")
        return func(*args, **(kwargs or {}))
