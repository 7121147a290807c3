import pytest
import torch

from models.device import pick
from models.errors import DeviceError


def test_the_cpu_is_always_there() -> None:
    assert pick("cpu") == torch.device("cpu")


def test_auto_takes_a_gpu_only_where_there_is_one() -> None:
    assert pick("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CPU"])
def test_an_unknown_name_is_refused_with_the_names_that_exist(name: str) -> None:
    with pytest.raises(DeviceError, match="use auto, cpu, cuda or cuda:N"):
        pick(name)


def test_a_gpu_that_is_not_there_is_refused_with_the_number_that_are() -> None:
    with pytest.raises(DeviceError, match="CUDA devices are visible"):
        pick("cuda:99")
