"""Which device a network runs on."""

import torch

from models.errors import DeviceError


def pick(device: str) -> torch.device:
    """Turn ``auto``, ``cpu``, ``cuda`` or ``cuda:1`` into a device that exists.

    ``auto`` is the first CUDA device where there is one, else the CPU.

    Raises:
        DeviceError: the name is none of these, or no such CUDA device is visible.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return torch.device("cuda:0" if gpus else "cpu")
    kind, _, index = device.partition(":")
    if device == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (index and not index.isdecimal()) or device.endswith(":"):
        raise DeviceError(f"device {device!r} is unknown: use auto, cpu, cuda or cuda:N")
    if int(index or 0) >= gpus:
        raise DeviceError(
            f"device {device!r} is not there ({gpus} CUDA devices are visible): "
            "use auto or cpu, or check the driver with nvidia-smi"
        )
    return torch.device("cuda", int(index or 0))
