"""YOLOX: an anchor-free convolutional detector, from nano to large by its config.

Source: Ge et al., "YOLOX: Exceeding YOLO Series in 2021" (arXiv 2107.08430) and the official
code, Megvii-BaseDetection/YOLOX (Apache-2.0). Parameters bear the names of the official
checkpoints, so that fitting one is a comparison of names and shapes.

Axes: B frames, F channels, H and W pixels or cells, C classes, A = places (cells of the three
grids together: 3,549 at 416 x 416).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.vision.grid import STRIDES, places


@dataclass(frozen=True, slots=True)
class YoloxConfig:
    """Sizes of the network; `size` is (H, W) of its input in pixels, multiples of 32."""

    depth: float = 0.33
    width: float = 0.25
    depthwise: bool = True
    classes: int = 80
    size: tuple[int, int] = (416, 416)

    def __post_init__(self) -> None:
        if self.classes < 1 or any(side < 32 or side % STRIDES[-1] for side in self.size):
            raise ValueError(f"{self}: needs a class, and sides that are multiples of 32")

    def channels(self, base: int) -> int:
        """Channels where the full-width network has `base`."""
        return int(base * self.width)

    def blocks(self, base: int) -> int:
        """Bottlenecks where the full-depth network has `base`."""
        return max(round(base * self.depth), 1)


NANO: Final = YoloxConfig()
PRESETS: Final[dict[str, YoloxConfig]] = {
    "nano": NANO,
    "tiny": replace(NANO, width=0.375, depthwise=False),
    "s": YoloxConfig(0.33, 0.50, depthwise=False, size=(640, 640)),
    "m": YoloxConfig(0.67, 0.75, depthwise=False, size=(640, 640)),
    "l": YoloxConfig(1.0, 1.0, depthwise=False, size=(640, 640)),
}


class ConvBlock(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, f: int, g: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(f, g, kernel, stride, kernel // 2, 1, groups, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(g, eps=1e-3, momentum=0.03)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, H, W) -> (B, G, H / stride, W / stride)."""
        return functional.silu(self.bn(self.conv(x)))


class DepthwiseBlock(nn.Module):
    """A convolution per channel, then one across channels: a small model's `ConvBlock`."""

    def __init__(self, f: int, g: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.dconv = ConvBlock(f, f, kernel, stride, groups=f)
        self.pconv = ConvBlock(f, g, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, H, W) -> (B, G, H / stride, W / stride)."""
        return self.pconv(self.dconv(x))  # type: ignore[no-any-return]


def spatial(config: YoloxConfig, f: int, g: int, stride: int = 1) -> nn.Module:
    """The 3 x 3 convolution of this config."""
    kind = DepthwiseBlock if config.depthwise else ConvBlock
    return kind(f, g, 3, stride)


class Bottleneck(nn.Module):
    """Two convolutions, with a shortcut around them where `shortcut`."""

    def __init__(self, config: YoloxConfig, f: int, *, shortcut: bool) -> None:
        super().__init__()
        self.conv1 = ConvBlock(f, f, 1)
        self.conv2 = spatial(config, f, f)
        self.shortcut = shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, H, W) -> the same."""
        y: torch.Tensor = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class CspLayer(nn.Module):
    """Half of the channels through `n` bottlenecks, half past them."""

    def __init__(self, config: YoloxConfig, f: int, g: int, n: int, *, shortcut: bool) -> None:
        super().__init__()
        half = g // 2
        self.conv1 = ConvBlock(f, half, 1)
        self.conv2 = ConvBlock(f, half, 1)
        self.conv3 = ConvBlock(2 * half, g, 1)
        self.m = nn.Sequential(*(Bottleneck(config, half, shortcut=shortcut) for _ in range(n)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, H, W) -> (B, G, H, W)."""
        through, past = self.conv1(x), self.conv2(x)  # (B, G / 2, H, W) each
        return self.conv3(torch.cat((self.m(through), past), 1))  # type: ignore[no-any-return]


class Focus(nn.Module):
    """Squares of four pixels become channels."""

    def __init__(self, g: int) -> None:
        super().__init__()
        self.conv = ConvBlock(12, g, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, 12, H / 2, W / 2) -> (B, G, H / 2, W / 2)."""
        top, bottom = x[..., ::2, :], x[..., 1::2, :]  # (B, 3, H / 2, W)
        corners = (top[..., ::2], bottom[..., ::2], top[..., 1::2], bottom[..., 1::2])
        return self.conv(torch.cat(corners, 1))  # type: ignore[no-any-return]


class SppBottleneck(nn.Module):
    """Maxima over 5, 9 and 13 cells beside the cell itself."""

    def __init__(self, f: int) -> None:
        super().__init__()
        self.conv1 = ConvBlock(f, f // 2, 1)
        self.conv2 = ConvBlock(f * 2, f, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, F, H, W) -> the same."""
        x = self.conv1(x)  # (B, F / 2, H, W)
        pools = [functional.max_pool2d(x, kernel, 1, kernel // 2) for kernel in (5, 9, 13)]
        return self.conv2(torch.cat((x, *pools), 1))  # type: ignore[no-any-return]


class Darknet(nn.Module):
    """The backbone: features at strides 8, 16 and 32."""

    def __init__(self, config: YoloxConfig) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (config.channels(base) for base in (64, 128, 256, 512, 1024))
        few, many = config.blocks(3), 3 * config.blocks(3)
        self.stem = Focus(c1)
        self.dark2 = nn.Sequential(
            spatial(config, c1, c2, 2), CspLayer(config, c2, c2, few, shortcut=True)
        )
        self.dark3 = nn.Sequential(
            spatial(config, c2, c3, 2), CspLayer(config, c3, c3, many, shortcut=True)
        )
        self.dark4 = nn.Sequential(
            spatial(config, c3, c4, 2), CspLayer(config, c4, c4, many, shortcut=True)
        )
        self.dark5 = nn.Sequential(
            spatial(config, c4, c5, 2),
            SppBottleneck(c5),
            CspLayer(config, c5, c5, few, shortcut=False),
        )

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) -> (B, c3, H / 8, W / 8), (B, c4, H / 16, ..), (B, c5, H / 32, ..)."""
        x = self.dark2(self.stem(x))  # (B, 3, H, W) -> (B, c2, H / 4, W / 4)
        c3 = self.dark3(x)  # (B, c3, H / 8, W / 8)
        c4 = self.dark4(c3)  # (B, c4, H / 16, W / 16)
        return c3, c4, self.dark5(c4)  # (B, c5, H / 32, W / 32)


class Pafpn(nn.Module):
    """The neck: what the coarse grids know goes down to the fine ones, and back up."""

    def __init__(self, config: YoloxConfig) -> None:
        super().__init__()
        c3, c4, c5 = (config.channels(base) for base in (256, 512, 1024))

        def csp(f: int, g: int) -> CspLayer:
            return CspLayer(config, f, g, config.blocks(3), shortcut=False)

        self.backbone = Darknet(config)
        self.lateral_conv0 = ConvBlock(c5, c4, 1)
        self.C3_p4 = csp(2 * c4, c4)
        self.reduce_conv1 = ConvBlock(c4, c3, 1)
        self.C3_p3 = csp(2 * c3, c3)
        self.bu_conv2 = spatial(config, c3, c3, 2)
        self.C3_n3 = csp(2 * c3, c4)
        self.bu_conv1 = spatial(config, c4, c4, 2)
        self.C3_n4 = csp(2 * c4, c5)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(B, 3, H, W) -> the same three shapes as the backbone's."""
        c3, c4, c5 = self.backbone(x)
        top = self.lateral_conv0(c5)  # (B, c4, H / 32, W / 32)
        p4 = self.C3_p4(torch.cat((functional.interpolate(top, scale_factor=2.0), c4), 1))
        mid = self.reduce_conv1(p4)  # (B, c3, H / 16, W / 16)
        p3 = self.C3_p3(torch.cat((functional.interpolate(mid, scale_factor=2.0), c3), 1))
        n3 = self.C3_n3(torch.cat((self.bu_conv2(p3), mid), 1))  # (B, c4, H / 16, W / 16)
        n4 = self.C3_n4(torch.cat((self.bu_conv1(n3), top), 1))  # (B, c5, H / 32, W / 32)
        return p3, n3, n4


class Head(nn.Module):
    """Judges every cell of every grid: is an object's centre here, of which class, how large."""

    def __init__(self, config: YoloxConfig) -> None:
        super().__init__()
        f = config.channels(256)

        def tower() -> nn.Module:
            return nn.Sequential(spatial(config, f, f), spatial(config, f, f))

        levels = [config.channels(base) for base in (256, 512, 1024)]
        self.stems = nn.ModuleList(ConvBlock(c, f, 1) for c in levels)
        self.cls_convs = nn.ModuleList(tower() for _ in levels)
        self.reg_convs = nn.ModuleList(tower() for _ in levels)
        self.cls_preds = nn.ModuleList(nn.Conv2d(f, config.classes, 1) for _ in levels)
        self.reg_preds = nn.ModuleList(nn.Conv2d(f, 4, 1) for _ in levels)
        self.obj_preds = nn.ModuleList(nn.Conv2d(f, 1, 1) for _ in levels)
        for pred in (*self.cls_preds, *self.obj_preds):
            # Nearly every cell is background: start from 1 %, or its loss drowns the rest.
            nn.init.constant_(pred.bias, -math.log(99))

    def forward(self, features: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Three levels of features -> (B, A, 5 + C)."""
        levels = []
        for k, feature in enumerate(features):
            x = self.stems[k](feature)  # (B, F, H, W)
            about_class = self.cls_preds[k](self.cls_convs[k](x))  # (B, C, H, W)
            x = self.reg_convs[k](x)
            level = torch.cat((self.reg_preds[k](x), self.obj_preds[k](x), about_class), 1)
            levels.append(level.flatten(2))  # (B, 5 + C, H * W)
        return torch.cat(levels, 2).transpose(1, 2)  # (B, A, 5 + C)


class Yolox(nn.Module):
    """Frames to the raw outputs of every place; `decode` makes boxes of them."""

    def __init__(self, config: YoloxConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Pafpn(config)
        self.head = Head(config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Judge B letterboxed frames; any size of multiples of 32 will do.

        Args:
            x: (B, 3, H, W), BGR from 0 to 255.

        Returns:
            (B, A, 5 + C): box offsets (4), logit of objectness, logits of the classes; places in
            the order of strides 8, 16, 32, row by row.
        """
        return self.head(self.backbone(x))  # type: ignore[no-any-return]


class ServedYolox(nn.Module):
    """A network as it is served and exported: folded, probabilities in the place of logits.

    Its outputs are laid out as those of the official ONNX files.
    """

    def __init__(self, network: Yolox) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> (B, A, 5 + C)."""
        raw = self.network(x)  # (B, A, 5 + C)
        return torch.cat((raw[..., :4], raw[..., 4:].sigmoid()), 2)


def decode(raw: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Boxes from offsets: centre = (offset + cell) * stride, side = exp(offset) * stride.

    Args:
        raw: (B, A, 5 + C), the network's outputs.
        size: (H, W) of the frames that it saw.

    Returns:
        (B, A, 5 + C), its first four x, y of the centre, width, height in pixels of the input.
    """
    cells, strides = (torch.from_numpy(a).to(raw) for a in places(size))  # (A, 2), (A, 1)
    centre = (raw[..., :2] + cells) * strides  # (B, A, 2)
    side = raw[..., 2:4].exp() * strides
    return torch.cat((centre, side, raw[..., 4:]), 2)


def fold(network: Yolox) -> Yolox:
    """Merge every batch norm into its convolution, in place: the same outputs, for serving only."""
    network.eval()
    for block in network.modules():
        if isinstance(block, ConvBlock) and isinstance(block.bn, nn.BatchNorm2d):
            block.conv, block.bn = fuse_conv_bn_eval(block.conv, block.bn), nn.Identity()
    return network
