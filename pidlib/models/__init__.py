"""Multimodal models: the facts about each, one way to load them, and the small ones that come along."""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError as error:
    # The published torchvision wheel is built against CUDA; beside a CPU-only torch its import stops at two operators that nothing
    # here calls. Declaring them is enough. The library object must live as long as the process.
    if torch.version.cuda is not None or "torchvision::nms" not in str(error):
        raise
    _operators = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

from pidlib.models.registry import LoadedModel, load

__all__ = ["LoadedModel", "load"]
