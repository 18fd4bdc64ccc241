"""Import transformers with a CPU-only torch, where torchvision's wheel lacks two operators.

They are never called, so declaring them is enough, in an object that lives as long as the process.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError as error:
    if torch.version.cuda is not None or "torchvision::nms" not in str(error):
        raise
    _operators = torch.library.Library("torchvision", "DEF")
    for _name in ("nms", "qnms"):
        _operators.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

import transformers

transformers.utils.logging.disable_progress_bar()  # "Loading weights"

__all__ = ["transformers"]
