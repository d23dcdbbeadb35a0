"""The gated blocks, each declared once.

From a declaration follow the composites' schemas, their torch reference, their ONNX bodies, the dense counterpart, the
torch modules' stages, and the tables that the C library and the TensorRT plugins are compiled with
(``python -m dyn2trt.ops.document`` writes those).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Convolution:
    """One convolution of a block's branch, BatchNorm folded in. Its padding keeps the grid, but for the stride.

    Attributes:
        name: prefix of its weight and bias among the op's inputs.
        kernel: height and width, 1 or 3.
        channels: symbol of its output channels; those of a depthwise one are its input's.
        strided: takes the block's stride.
        depthwise: one filter a channel, laid out [kh, kw, C].
        activated: the block's activation follows.
    """

    name: str
    kernel: int
    channels: str
    strided: bool = False
    depthwise: bool = False
    activated: bool = True


@dataclass(frozen=True)
class BlockKind:
    """y = f(identity + branch(x)) at the active sites, f(identity) elsewhere; the branch is a chain of convolutions.

    Attributes:
        name: as the ops are called after it: ``GatedBasicBlock``.
        doc: what it is, for the documents.
        convolutions: the branch, in order. One at most, beside the first, is larger than 1×1: the convolutions before
            it run at the sites that it reads, the *halo*, the others at the active sites.
        activation: default of the attribute.
        identity_is_x: x itself is added, so the op has no input ``identity`` and no stride.
        activated_sum: f is the block's activation; otherwise the sum is left as it is.
    """

    name: str
    doc: str
    convolutions: tuple[Convolution, ...]
    activation: str
    identity_is_x: bool = False
    activated_sum: bool = True

    def __post_init__(self) -> None:
        larger = [convolution.name for convolution in self.convolutions[1:] if convolution.kernel > 1]
        if len(larger) > 1:
            raise ValueError(f"{self.name}: one convolution at most behind the first reads neighbours, not {larger}")
        if self.identity_is_x and self.is_strided:
            raise ValueError(f"{self.name}: x cannot be added to a branch with a stride")

    @property
    def is_strided(self) -> bool:
        """Whether the block may have a stride."""
        return any(convolution.strided for convolution in self.convolutions)

    @property
    def halo_reader(self) -> Convolution | None:
        """The convolution that reads the halo; None when the branch runs at the active sites alone."""
        return next((convolution for convolution in self.convolutions[1:] if convolution.kernel > 1), None)

    def is_on_halo(self, index: int) -> bool:
        """Whether convolution ``index`` runs at the halo of the active sites, not at the active sites themselves."""
        return any(convolution.kernel > 1 for convolution in self.convolutions[index + 1 :])

    def channels_in(self, index: int) -> str:
        """Symbol of the input channels of convolution ``index``."""
        return self.convolutions[index - 1].channels if index else "C"

    def weight_shape(self, index: int) -> tuple[str | int, ...]:
        """[Cout, kh, kw, Cin], so that a kernel's K axis is contiguous; depthwise [kh, kw, C]."""
        convolution = self.convolutions[index]
        kernel = (convolution.kernel, convolution.kernel)
        if convolution.depthwise:
            return (*kernel, convolution.channels)
        return (convolution.channels, *kernel, self.channels_in(index))


INVERTED_RESIDUAL = BlockKind(
    name="InvertedResidual",
    doc="1×1 expand → 3×3 depthwise → 1×1 project at the active sites, added to x (MobileNetV2's identity block).",
    convolutions=(
        Convolution("expand", 1, "E"),
        Convolution("depthwise", 3, "E", depthwise=True),
        Convolution("project", 1, "C", activated=False),
    ),
    activation="relu6",
    identity_is_x=True,
    activated_sum=False,
)
BASIC_BLOCK = BlockKind(
    name="BasicBlock",
    doc="3×3 (strided) → 3×3 at the active sites, added to identity (ResNet's basic block).",
    convolutions=(
        Convolution("conv1", 3, "Co", strided=True),
        Convolution("conv2", 3, "Co", activated=False),
    ),
    activation="relu",
)
BOTTLENECK = BlockKind(
    name="Bottleneck",
    doc="1×1 → 3×3 (strided) → 1×1 at the active sites, added to identity (ResNet's bottleneck, stride on the 3×3).",
    convolutions=(
        Convolution("conv1", 1, "B"),
        Convolution("conv2", 3, "B", strided=True),
        Convolution("conv3", 1, "Co", activated=False),
    ),
    activation="relu",
)

BLOCKS = (INVERTED_RESIDUAL, BASIC_BLOCK, BOTTLENECK)
"""In the order of ``Dyn2trtBlockKind``."""
