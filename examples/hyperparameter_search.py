"""Search hyper-parameters: a decorated function with a package that only its tasks have."""

# ruff: noqa: PLC0415 - what a function imports is installed where it runs, and not here

from __future__ import annotations

from itertools import product

from ascend import ascend


@ascend(cpu="1", memory="2Gi", timeout=300, requirements=["scikit-learn"])
def train_and_validate(hparams: dict[str, float]) -> dict[str, float]:
    from sklearn.datasets import load_breast_cancer
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    data, labels = load_breast_cancer(return_X_y=True)
    model = make_pipeline(StandardScaler(), SVC(**hparams))
    return {**hparams, "accuracy": float(cross_val_score(model, data, labels, cv=5).mean())}


def main() -> None:
    # One call blocks until it has answered, as any function does.
    print("usual choice:", train_and_validate({"C": 1.0, "gamma": 0.03}))

    # Many calls run side by side.
    grid = [{"C": c, "gamma": gamma} for c, gamma in product((0.1, 10.0), (0.01, 0.1))]
    best = max(train_and_validate.map(grid), key=lambda result: result["accuracy"])
    print("best of the grid:", best)


if __name__ == "__main__":
    main()
