"""torch's calls of operations and optimizers; at its best with its many-tensor and its fused steps."""

import torch
import torchlike_ops as ops


class Lion(torch.optim.Optimizer):
    """As published (torch has none): one tensor after the other, or with operations on lists of tensors."""

    def __init__(self, params, lr, weight_decay, betas=(0.9, 0.99), foreach=False):
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "betas": betas})
        self.foreach = foreach

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            params = group["params"]
            for p in params:
                if not self.state[p]:
                    self.state[p]["m"] = torch.zeros_like(p)
            moments, grads, (b1, b2) = [self.state[p]["m"] for p in params], [p.grad for p in params], group["betas"]
            keep = 1 - group["lr"] * group["weight_decay"]
            if self.foreach:
                signs = torch._foreach_lerp(grads, moments, b1)
                torch._foreach_sign_(signs)
                torch._foreach_mul_(params, keep)
                torch._foreach_add_(params, signs, alpha=-group["lr"])
                torch._foreach_lerp_(moments, grads, 1 - b2)
                continue
            for p, g, m in zip(params, grads, moments, strict=True):
                p.mul_(keep).add_(torch.lerp(g, m, b1).sign_(), alpha=-group["lr"])
                m.lerp_(g, 1 - b2)


def optimizer(p, make, tuned):
    kind = Lion if p["name"] == "Lion" else None
    ways = {"": {}}
    if tuned:
        ways |= {"foreach": {"foreach": True}, **({} if kind else {"fused": {"fused": True}})}
    return {name: [ops.optimizer(torch, p, make, kind, **how)] for name, how in ways.items()}


def only(call):
    return lambda p, make, tuned: {"": [call(torch, p, make)]}


BUILDERS = {
    "attention": only(ops.attention), "attention_backward": only(ops.attention_backward),
    "simple": only(ops.simple), "both_ways": only(ops.both_ways), "tape": only(ops.tape), "optimizer": optimizer,
}  # fmt: skip
