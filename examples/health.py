"""Health: is a lump malignant? 569 biopsies, 30 measures of cell nuclei each. (Street, Wolberg & Mangasarian 1993)

    python examples/health.py

A network and scikit-learn's logistic regression are judged on the same ten parts, each by a model that never saw it:
repeated three times, since a part has only 57 rows.
"""

import sys

from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pyengine.data import load_breast_cancer
from pyengine.train.sklearn import PyEngineClassifier


def main(quick=False, data=None):
    x, y = load_breast_cancer(data)
    parts = RepeatedStratifiedKFold(n_splits=2 if quick else 10, n_repeats=1 if quick else 3, random_state=0)
    network = PyEngineClassifier((64, 64), dropout=0.3, max_iter=5 if quick else 60, weight_decay=0.1, random_state=0)
    models = {"network": network, "logistic regression": make_pipeline(StandardScaler(), LogisticRegression())}
    told = {}
    for name, model in models.items():
        found = cross_validate(model, x, y, cv=parts, scoring=("accuracy", "roc_auc"))
        told[name] = f"{found['test_accuracy'].mean():.2%}, AUROC {found['test_roc_auc'].mean():.4f}"
        print(f"{name:20} accuracy {told[name]}")
    return {
        "task": "health: malignant or benign",
        "data": f"breast cancer, {len(y)} samples, {len(y)} of them in turn unseen",
        "model": "MLP 30-64-64-2, dropout, as a scikit-learn estimator",
        "figure": f"accuracy {told['network']}",
        "baseline": f"scikit-learn's logistic regression: {told['logistic regression']}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
