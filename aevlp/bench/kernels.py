"""Small pairs, measured in turns in one process: the GPR loss, and the views of one photo."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from aevlp.bench.baseline import masked_gpr_loss, pillow_views, to_tensor
from aevlp.bench.material import draw_photo
from aevlp.bench.stages import wait
from aevlp.data.images import ImageFiles, resize
from aevlp.losses.gpr import GPRConfig, gpr_loss
from aevlp.training.precision import time_steps
from aevlp.vision_language.views import cut_views

READ_BACK = {"aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal"}
INDEXING = {"aten::index", "aten::index_put", "aten::index_put_"}


class SyncCounter(TorchDispatchMode):
    """Counts operations for which a GPU would have to be waited for: a value is read back, or a shape depends on one."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Count, and go on."""
        name = function._schema.name
        by_mask = name in INDEXING and any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1])
        self.count += name in READ_BACK or by_mask
        return function(*args, **(kwargs or {}))


def compare_losses(device: str = "cpu", images: int = 64, classes: int = 312) -> dict[str, float]:
    """Seconds and syncs of forward and backward of one batch on a device, for the baseline and for this project."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(images, classes, generator=generator)
    observed = torch.zeros(images, classes, dtype=torch.uint8)
    observed[torch.arange(images), torch.randint(classes, (images,), generator=generator)] = 1
    pseudo = (torch.randint(-1, 2, (images, classes), generator=generator) * (1 - observed.long())).to(torch.int8)
    logits, observed, pseudo = (tensor.to(device) for tensor in (logits, observed, pseudo))
    config = GPRConfig(name="gpr", regularizer=0.01, expected_positives=31.4, q3=1.5)

    def run(loss: Any) -> Any:
        def step() -> None:
            leaf = logits.clone().requires_grad_()
            for _ in range(20):
                loss(leaf, observed, pseudo, config, epoch=3, num_epochs=10).backward()
            wait()

        return step

    steps = {"baseline": run(masked_gpr_loss), "aevlp": run(gpr_loss)}
    result = {f"{name}_seconds": seconds / 20 for name, seconds in time_steps(steps).items()}
    for name, loss in (("baseline", masked_gpr_loss), ("aevlp", gpr_loss)):
        leaf = logits.clone().requires_grad_()
        with SyncCounter() as counter:
            loss(leaf, observed, pseudo, config, epoch=3, num_epochs=10).backward()
        result[f"{name}_syncs"] = counter.count
    return result


def compare_views(grid: int = 4, size: int = 224, image_size: int = 448) -> dict[str, float]:
    """Seconds of one thread for what training needs of a photo of 640x480: the classifier's input and the views.

    The baseline's float tensors are normalised on the way; here uint8 goes to the device, which normalises.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photo.jpg"
        path.write_bytes(draw_photo(0))
        files = ImageFiles(path.parent, [path.name])

        def baseline() -> None:
            to_tensor(Image.open(path).convert("RGB").resize((image_size, image_size), Image.Resampling.BILINEAR))
            pillow_views(Image.open(path).convert("RGB"), grid, size)

        def project() -> None:
            image = files[0]
            resize(image[None], image_size)
            cut_views(image, grid, size)

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            seconds = time_steps({"baseline": baseline, "aevlp": project})
        finally:
            torch.set_num_threads(threads)
    return {f"{name}_seconds": value for name, value in seconds.items()}
