"""Vision: which piece of clothing is it? Fashion-MNIST, 28 x 28 pixels, ten kinds. (Xiao, Rasul & Vollgraf 2017)

    python examples/vision.py

is `pyengine train fashion-mnist` from Python: the job's description, run in a folder, then judged on the 10,000 test
pictures, beside scikit-learn's random forest of the bare pixels.
"""

import sys
import tempfile

from sklearn.ensemble import RandomForestClassifier

from pyengine.train.job import Data
from pyengine.train.jobs.fashion_mnist import FashionMNIST
from pyengine.train.run import evaluate_job, train_job


def main(quick=False, data=None):
    job = FashionMNIST(data=data, epochs=1 if quick else 3)
    found = job.load()
    if quick:
        found = Data(*(tuple(part[:512] for part in side) for side in found[:2]), "a few pictures")
    with tempfile.TemporaryDirectory() as folder:
        train_job(job, folder, data=found, progress=False)
        accuracy = evaluate_job(folder, data=found)[1]["accuracy"]
    train, test = ((images.reshape(len(images), -1), labels) for images, labels in found[:2])
    forest = RandomForestClassifier(5 if quick else 30, n_jobs=2, random_state=0).fit(*train).score(*test)
    print(f"convolutions {accuracy:.2%}, random forest {forest:.2%}")
    return {
        "task": "vision: ten kinds of clothes",
        "data": "Fashion-MNIST, 60,000 pictures, 10,000 to test",
        "model": "a CNN of 104,426 parameters, three epochs",
        "figure": f"accuracy {accuracy:.2%}",
        "baseline": f"scikit-learn's random forest: {forest:.2%}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
