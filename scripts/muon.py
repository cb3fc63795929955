"""Muon (Jordan et al. 2024): the momentum of a matrix, made nearly orthogonal, is its update. Matrices of one shape are
worked on together, in float32 where bfloat16 is no faster."""

import torch

ITERATIONS = 5
A, B, C = 3.4445, -4.7750, 2.0315  # of the quintic that drives all singular values towards one (the paper's)


def orthogonal(matrices):
    """(n, rows, columns), rows <= columns."""
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        squares = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(squares, squares, squares, beta=B, alpha=C), x, beta=A)
    return x


class Muon(torch.optim.Optimizer):
    """Nesterov's momentum, decoupled decay, and updates as large as AdamW's, so that one learning rate serves both."""

    def __init__(self, matrices, lr, momentum=0.95, weight_decay=0.1):
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            by_shape = {}
            for weight in group["params"]:
                by_shape.setdefault((min(weight.shape), max(weight.shape)), []).append(weight)
            for (_, longer), weights in by_shape.items():
                self.step_together(weights, 0.2 * longer**0.5, group["lr"], group["momentum"], group["weight_decay"])

    def step_together(self, weights, size, lr, momentum, weight_decay):
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
        buffers = [self.state[weight]["momentum"] for weight in weights]
        gradients = [weight.grad for weight in weights]
        torch._foreach_lerp_(buffers, gradients, 1 - momentum)
        steps = torch._foreach_lerp(gradients, buffers, momentum)
        wide = torch.stack([step if step.size(0) <= step.size(1) else step.T for step in steps])
        updates = orthogonal(wide.bfloat16() if wide.is_cuda else wide).float()
        torch._foreach_mul_(weights, 1 - lr * weight_decay)
        turned = [update if weight.size(0) <= weight.size(1) else update.T for weight, update in zip(weights, updates)]
        torch._foreach_add_(weights, turned, alpha=-lr * size)
