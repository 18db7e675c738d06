"""The functions that `ascend demo` runs: a hyper-parameter search on the handwritten digits of scikit-learn.

They are importable where a task runs, as this package is; scikit-learn is installed there only.
"""

from __future__ import annotations

from time import perf_counter
from typing import Any, NamedTuple

from ascend._core.decorator import ascend

REQUIREMENTS = ("scikit-learn",)


class Point(NamedTuple):
    """One choice of hyper-parameters of a support vector machine."""

    c: float
    gamma: float


class Score(NamedTuple):
    """How well a point did: the mean accuracy over three folds, their spread, and how many seconds that took."""

    point: Point
    accuracy: float
    spread: float
    seconds: float


class Exam(NamedTuple):
    """How a model did on digits that it had not seen, and which digit it mistook for which, most often first."""

    accuracy: float
    digits: int
    mistakes: tuple[tuple[int, int, int], ...]


def grid() -> list[Point]:
    """Return all points of the search, those around the usual choice first."""
    return [Point(c, gamma) for gamma in (1e-3, 1e-2, 1e-4, 1e-5, 1e-1) for c in (1.0, 10.0, 0.1, 100.0)]


def score(point: Point) -> Score:
    """Return how well *point* does in cross-validation."""
    # Not installed here, but where it runs.
    from sklearn.model_selection import cross_val_score  # pyright: ignore[reportMissingImports] # noqa: PLC0415

    started = perf_counter()
    images, labels = _digits()
    accuracies = cross_val_score(_model(point), images, labels, cv=3)
    return Score(point, float(accuracies.mean()), float(accuracies.std()), perf_counter() - started)


@ascend(requirements=REQUIREMENTS)
def examine(point: Point) -> Exam:
    """Train with *point* on three quarters of the digits, and return how that does on the last quarter."""
    from collections import Counter  # noqa: PLC0415 - the client does not need it

    from sklearn.model_selection import train_test_split  # pyright: ignore[reportMissingImports] # noqa: PLC0415

    images, labels = _digits()
    known, unseen, names, truths = train_test_split(images, labels, test_size=0.25, random_state=0)
    answers = _model(point).fit(known, names).predict(unseen)
    pairs = Counter((int(truth), int(answer)) for truth, answer in zip(truths, answers, strict=True) if truth != answer)
    mistakes = tuple((truth, answer, count) for (truth, answer), count in pairs.most_common(3))
    return Exam(float((answers == truths).mean()), len(truths), mistakes)


def learn_only(digit: int) -> float:
    """Train with one digit only, which no classifier takes: this is what fails."""
    images, labels = _digits()
    mine = labels == digit
    model = _model(grid()[0]).fit(images[mine], labels[mine])
    return float(model.score(images, labels))


def _digits() -> Any:
    from sklearn.datasets import load_digits  # pyright: ignore[reportMissingImports] # noqa: PLC0415

    return load_digits(return_X_y=True)


def _model(point: Point) -> Any:
    from sklearn.svm import SVC  # pyright: ignore[reportMissingImports] # noqa: PLC0415

    return SVC(C=point.c, gamma=point.gamma)
