"""Driving: a policy that learned to drive by trial and error is read from its file, run, and taught to a smaller net.

    pip download --no-deps metadrive-simulator==0.4.3 && python examples/driving.py metadrive_simulator-*.whl

The expert of MetaDrive (Li et al. 2022, PPO) sees 275 numbers, of which the last 240 are a lidar's distances, and says
how to steer and how much gas to give, with a deviation for each: 275-256-256-4, tanh. A student of a fourteenth of its
size learns what it answers (Hinton, Vinyals & Dean 2015), on scenes drawn at random: no simulator is needed, and none
of its code runs. Beside it: the best linear map of the same scenes, by scikit-learn.
"""

import glob
import io
import os
import sys
import zipfile

import numpy as np
from sklearn.linear_model import Ridge

import pyengine as pe
from pyengine import nn, optim
from pyengine.optim.lr_scheduler import CosineAnnealingLR
from pyengine.train import Distiller
from pyengine.train.callbacks import LRSchedule

WEIGHTS = "metadrive/examples/ppo_expert/expert_weights.npz"
SEES, LASERS = 275, 240


def net(width):
    """275 -> width -> width -> 4 with tanh between: means of steering and gas, and logarithms of their deviations."""
    return nn.Sequential(nn.Linear(SEES, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 4))


def expert(wheel):
    """The policy in MetaDrive's wheel, whose matrices stand (in, out)."""
    arrays = np.load(io.BytesIO(zipfile.ZipFile(wheel).read(WEIGHTS)))
    names = {"fc_1": "0", "fc_2": "2", "fc_out": "4"}
    model = net(256)
    model.load_state_dict({f"{ours}.{kind}": pe.from_numpy(arrays[f"default_policy/{theirs}/{part}"].T.copy())
                           for theirs, ours in names.items()
                           for kind, part in (("weight", "kernel"), ("bias", "bias"))})  # fmt: skip
    return model.eval()


def scenes(count, rng):
    """What a car may see: its own state, and a free road around it but for a few things that hide what is behind."""
    seen = np.ones((count, SEES), "float32")
    seen[:, : SEES - LASERS] = rng.random((count, SEES - LASERS))
    lidar, angle = seen[:, SEES - LASERS :], np.arange(LASERS)
    for _ in range(6):
        where, wide, far = rng.integers(0, LASERS, (count, 1)), rng.integers(2, 25, (count, 1)), rng.random((count, 1))
        away = np.abs((angle - where + LASERS // 2) % LASERS - LASERS // 2)
        lidar[:] = np.where((away <= wide) & (rng.random((count, 1)) < 0.6), np.minimum(lidar, far), lidar)
    return seen


def agreement(ours, theirs):
    """(share of what the answers vary by that is told, share of steering and gas within a tenth, of -1 to 1)."""
    told = 1 - ((ours - theirs) ** 2).sum() / ((theirs - theirs.mean(0)) ** 2).sum()
    return told, (np.abs(ours[:, :2].clip(-1, 1) - theirs[:, :2].clip(-1, 1)) < 0.1).mean()


def main(quick=False, data=None):
    folder = os.environ.get("PYENGINE_DATA", ".")
    wheels = [data] if data else [*sys.argv[1:], *glob.glob(f"{folder}/metadrive_simulator-*.whl")]
    wheel = next((str(w) for w in wheels if str(w).endswith(".whl")), None)
    if wheel is None:
        raise FileNotFoundError("the wheel is not here: pip download --no-deps metadrive-simulator==0.4.3")
    teacher, rng = expert(wheel), np.random.default_rng(0)
    learned, test = scenes(2_000 if quick else 40_000, rng), scenes(2_000, rng)
    pe.manual_seed(0)
    student = net(32)
    optimizer, epochs = optim.AdamW(student.parameters(), lr=3e-3), 1 if quick else 40
    distiller = Distiller(student, teacher, nn.MSELoss(), optimizer, progress=False,
                          callbacks=[LRSchedule(CosineAnnealingLR(optimizer, epochs))])  # fmt: skip
    distiller.fit((learned,), epochs=epochs, batch_size=128)
    with pe.no_grad():
        said, answers = (teacher(pe.from_numpy(x)).numpy() for x in (learned, test))
    told, near = agreement(distiller.predict(test).numpy(), answers)
    linear_told, linear_near = agreement(Ridge(1.0).fit(learned, said).predict(test), answers)
    print(f"student 275-32-32-4: {told:.1%} of the variance, {near:.1%} of steering and gas within a tenth")
    print(f"linear map:          {linear_told:.1%} of the variance, {linear_near:.1%}")
    return {
        "task": "driving: a policy taught to a smaller net",
        "data": f"MetaDrive's PPO expert (275-256-256-4), {len(learned):,} random scenes, {len(test):,} to test",
        "model": "275-32-32-4, tanh: a fourteenth of the numbers",
        "figure": f"R2 {told:.3f}, {near:.1%} of steering and gas within a tenth of the expert's",
        "baseline": f"scikit-learn's ridge regression: R2 {linear_told:.3f}, {linear_near:.1%}",
    }


if __name__ == "__main__":
    main(quick="--quick" in sys.argv)
