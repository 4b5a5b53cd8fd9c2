"""Settings under which every part of a loss is at work in a batch of a few images."""

CURVES = {"beta": [0.0, 2.0, -2.0, -2.0], "alpha": [0.5, 2.0, 0.8, 0.5], "q2": 0.01, "q3": 1.0}
PARAMS = {
    "em": {"alpha": 0.2},
    "gr": CURVES,
    "em_apl": {"warmup": 1},
    "mime": {"warmup": 1, "threshold": 0.7},
    "ll_r": {"delta": 10},
    "ll_ct": {"delta": 10},
    "ll_cp": {"delta": 10},
    "gpr": {**CURVES, "lambda1": 0.7, "lambda2": 0.4, "rho": 0.9, "regularizer": 0.05, "expected_positives": 1.5},
}
