"""Rows of dropout where it is deterministic; ``tests/test_dropout.py`` has the random side."""

from tests.table import row, s, t


def unchanged(x, p=0.5, training=True):
    return x


NAMES = {"dropout": "nn.functional.dropout", "dropout1d": "nn.functional.dropout1d",
         "dropout2d": "nn.functional.dropout2d", "dropout3d": "nn.functional.dropout3d",
         "alpha_dropout": "nn.functional.alpha_dropout",
         "feature_alpha_dropout": "nn.functional.feature_alpha_dropout"}  # fmt: skip

ROWS = [
    row(dotted, s(t(2, 3, 5), 0.5, False), s(t(2, 3, 5), 0.0, True), ref=unchanged)
    for dotted in NAMES.values()
]
