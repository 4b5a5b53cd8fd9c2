"""The optimiser of a run, with a learning rate for the backbone, the head and the loss each."""

from __future__ import annotations

import torch
from torch import nn

from aevlp.config.schema import TrainerConfig


def build_optimizer(config: TrainerConfig, model: nn.Module, loss: nn.Module) -> torch.optim.Optimizer:
    """Groups: backbone at the learning rate, head times head_lr_mult, parameters of the loss times loss_lr_mult."""
    head = list(getattr(model, "head", nn.Module()).parameters())
    in_head = {id(parameter) for parameter in head}
    backbone = [parameter for parameter in model.parameters() if id(parameter) not in in_head]
    rates = ((backbone, 1.0), (head, config.head_lr_mult), (list(loss.parameters()), config.loss_lr_mult))
    groups = [
        {"params": parameters, "lr": config.learning_rate * factor, "base_lr": config.learning_rate * factor}
        for parameters, factor in rates
        if parameters
    ]
    # One kernel for all weights. Without it, Adam reads its step count from the device once a parameter and step.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameters, _ in rates for parameter in parameters)
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=config.weight_decay, fused=fused)
    if config.optimizer == "adamax":  # has no fused kernel
        return torch.optim.Adamax(groups, weight_decay=config.weight_decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, weight_decay=config.weight_decay, fused=fused)
