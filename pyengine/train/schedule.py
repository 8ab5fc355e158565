"""The learning rate of the trainings that come with the package."""

import math

from pyengine.optim.lr_scheduler import LambdaLR


def rise_and_fall(optimizer, steps, warm):
    """A schedule, to be stepped after each of so many steps: the rate rises in a line to the optimizer's own in the
    first `warm`, as one cycle (Smith & Topin 2018), and falls along half a cosine to 0. (Loshchilov & Hutter 2017)"""

    def share(taken):
        if taken < warm:
            return (taken + 1) / warm
        return (1 + math.cos(math.pi * (taken - warm) / max(steps - warm, 1))) / 2

    return LambdaLR(optimizer, share)
