"""Import transformers with a CPU-only torch.

The published torchvision wheel is built against CUDA; with a CPU-only torch its import stops at two
operators that pidlib never calls. Declaring them is enough. The library object must live as long as
the process.
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
