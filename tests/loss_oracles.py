"""Slow float64 references of the losses beside GPR, as plain loops. `frozen` are the logits from which decisions are made."""

import math
from fractions import Fraction


def sigmoid(x):
    return 1.0 / (1.0 + math.exp(-x)) if x > -700 else 0.0


def nl(x, epsilon=1e-5):
    return -math.log(x + epsilon)


def bce(z, target, epsilon=1e-5):
    return target * nl(sigmoid(z), epsilon) + (1 - target) * nl(sigmoid(-z), epsilon)


def entropy(z):
    return sigmoid(z) * nl(sigmoid(z)) + sigmoid(-z) * nl(sigmoid(-z))


def logistic(z, target):
    """Cross-entropy in logit space."""
    return max(z, 0.0) - z * target + math.log1p(math.exp(-abs(z)))


def penalty(logits, expected):
    return (sum(sigmoid(z) for row in logits for z in row) / len(logits) - expected) ** 2 / len(logits[0]) ** 2


def mean(logits, entry):
    rows, columns = len(logits), len(logits[0])
    return sum(float(entry(i, j)) for i in range(rows) for j in range(columns)) / (rows * columns)


def an_ls(z, s, u, frozen, *, smoothing=0.1, **_):
    return mean(z, lambda i, j: bce(z[i][j], 1 - smoothing if s[i][j] == 1 else smoothing))


def wan(z, s, u, frozen, **_):
    weak = max(len(z[0]) - 1, 1)
    return mean(z, lambda i, j: nl(sigmoid(z[i][j])) if s[i][j] == 1 else nl(sigmoid(-z[i][j])) / weak)


def epr(z, s, u, frozen, *, expected_positives=2.9, **_):
    return mean(z, lambda i, j: float(s[i][j]) * nl(sigmoid(z[i][j]))) + penalty(z, expected_positives)


def suspect_entries(z, s, delta, times):
    """Unobserved entries, and those above the threshold; the count is exact in fractions."""
    entries = [(i, j) for i in range(len(z)) for j in range(len(z[0]))]
    count = min(math.ceil(len(entries) * times * Fraction(str(delta)) / 100), len(entries))
    if count == 0:
        return set(), set()
    loss = {(i, j): 0.0 if s[i][j] == 1 else logistic(z[i][j], 0) for i, j in entries}
    threshold = sorted(loss.values())[-count]
    unobserved = [(i, j) for i, j in entries if s[i][j] != 1]
    return {e for e in unobserved if loss[e] >= threshold}, {e for e in unobserved if loss[e] > threshold}


def ll_r(z, s, u, frozen, *, epoch, delta=0.4, **_):
    rejected, _above = suspect_entries(frozen, s, delta, epoch - 1)
    return mean(z, lambda i, j: 0.0 if (i, j) in rejected else logistic(z[i][j], float(s[i][j])))


def ll_ct(z, s, u, frozen, *, epoch, delta=0.2, **_):
    corrected, _above = suspect_entries(frozen, s, delta, epoch - 1)
    return mean(z, lambda i, j: logistic(z[i][j], 1 if (i, j) in corrected else float(s[i][j])))


def asl(z, s, u, frozen, *, gamma_positive=0.0, gamma_negative=4.0, clip=0.05, detach_focus=True, **_):
    def entry(i, j):
        p, f = sigmoid(z[i][j]), sigmoid((frozen if detach_focus else z)[i][j])
        if s[i][j] == 1:
            return -math.log(max(p, 1e-8)) * (1 - f) ** gamma_positive
        return -math.log(max(min(1 - p + clip, 1), 1e-8)) * (1 - min(1 - f + clip, 1)) ** gamma_negative

    return mean(z, entry)


def hill(z, s, u, frozen, *, hill=1.5, margin=1.0, gamma=2.0, **_):
    def entry(i, j):
        p, shifted = sigmoid(z[i][j]), sigmoid(z[i][j] - margin)
        return -((1 - shifted) ** gamma) * math.log(shifted) if s[i][j] == 1 else (hill - p) * p**2

    return mean(z, entry)


def splc(z, s, u, frozen, *, epoch, threshold=0.6, correct_from=2, margin=1.0, gamma=2.0, **_):
    def entry(i, j):
        shift = margin if s[i][j] == 1 else 0.0
        p = sigmoid(z[i][j] - shift)
        corrected = epoch >= correct_from and sigmoid(frozen[i][j] - shift) > threshold
        if s[i][j] == 1 or corrected:
            return -math.log(p) * (1 - p) ** gamma
        return logistic(z[i][j], 0) * p**gamma

    return mean(z, entry)


def vlpl(z, s, u, frozen, *, epoch, alpha=0.1, beta=0.7, target=0.9, warmup=0, **_):
    def entry(i, j):
        if s[i][j] == 1:
            return nl(sigmoid(z[i][j]))
        if epoch > warmup and u[i][j] == 1:
            return beta * bce(z[i][j], target)
        return 0.0 if epoch > warmup and u[i][j] == -1 else -alpha * entropy(z[i][j])

    return mean(z, entry)


def role(z, table, s, expected_positives, *, frozen=None, frozen_table=None):
    """`table` are the logits of the batch's rows; the frozen ones teach."""
    frozen, frozen_table = z if frozen is None else frozen, table if frozen_table is None else frozen_table
    seen = mean(z, lambda i, j: float(s[i][j]) * (nl(sigmoid(z[i][j])) + nl(sigmoid(table[i][j]))))
    taught = mean(z, lambda i, j: bce(z[i][j], sigmoid(frozen_table[i][j])) + bce(table[i][j], sigmoid(frozen[i][j])))
    return (seen + taught + penalty(z, expected_positives) + penalty(table, expected_positives)) / 2


def em_apl(z, soft, *, alpha, beta):
    """`soft` is the published matrix: 1 observed, 0 unknown, -r a soft negative."""

    def entry(i, j):
        label = soft[i][j]
        if label == 1:
            return nl(sigmoid(z[i][j]))
        return beta * bce(z[i][j], -label) if label < 0 else -alpha * entropy(z[i][j])

    return mean(z, entry)


LOSSES = {f.__name__: f for f in (an_ls, wan, epr, ll_r, ll_ct, asl, hill, splc, vlpl)}
