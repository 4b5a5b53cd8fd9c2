"""For tests of the embedding cache: rows whose content follows from their number."""

import numpy as np

COUNT, VIEWS, WIDTH = 12, 4, 8
FAMILY = {"encoder": "some/clip", "files": "0123", "part": "grid 2", "views": VIEWS}


def identities(count=COUNT, first=0):
    return [f"image {i:<10}".encode() for i in range(first, first + count)]


def values(row, version=0):
    return np.random.default_rng([row, version]).normal(size=(VIEWS, WIDTH)).astype(np.float16)


def fill(rows, which=range(COUNT)):
    for row in which:
        rows.write(row, values(row))
    rows.close()


def there(rows, count=COUNT):
    """Rows that are found; each must hold what was written."""
    found_values, found = rows.read(range(count))
    for row in np.flatnonzero(found):
        np.testing.assert_array_equal(found_values[row], values(row))
    return np.flatnonzero(found).tolist()
