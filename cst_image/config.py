"""Settings of the image backend."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cst_core.config import Settings


def _ascending(bounds: tuple[float, float]) -> tuple[float, float]:
    if not bounds[0] < bounds[1]:
        raise ValueError("the lower bound must come first, below the upper one")
    return bounds


def _rising(blocks: tuple[int, ...]) -> tuple[int, ...]:
    if list(blocks) != sorted(set(blocks)):
        raise ValueError(f"each block once, the first one first, got {list(blocks)}")
    return blocks


def _odd(window: int) -> int:
    if window % 2 == 0:
        raise ValueError(f"a window must have a middle voxel, so an odd number of them, got {window}")
    return window


Bounds = Annotated[tuple[float, float], AfterValidator(_ascending)]
Percent = Annotated[float, Field(ge=0, le=100)]
Channels = Annotated[int, Field(ge=1, le=4096)]
Voxels = Annotated[int, Field(ge=2)]
Blocks = Annotated[tuple[Literal[1, 2], ...], Field(min_length=1, max_length=2), AfterValidator(_rising)]


class ImageConfig(Settings):
    """Data, g, h, refinement and augmentation for volumes; published values in brackets, all in preset ``paper``."""

    # data
    intensity: Literal["ct", "mr"] = "ct"
    """How intensities are mapped: ``ct`` by `window`, ``mr`` by `percentiles` of each scan."""
    window: Bounds = (-200.0, 300.0)
    """HU: divided by the window's width and clamped to it, so to [-0.4, 0.6] (Sec. 3)."""
    percentiles: Annotated[tuple[Percent, Percent], AfterValidator(_ascending)] = (1.0, 99.0)
    """Of a scan's intensities: mapped to -0.4 and 0.6, clamped."""
    spacing: float | None = Field(default=None, gt=0)
    """Working resolution, mm, the same along each axis; None: that of the scans, which must then be one."""
    shape: tuple[Voxels, Voxels, Voxels] | None = None
    """Working size, voxels; scans are padded or cropped to it about their centre. None: the largest of every axis."""
    alignment: Literal["centre", "world"] = "centre"
    """How scans on different grids come onto one: centre on centre, or where their headers say."""
    memory_gb: float = Field(default=8.0, gt=0)
    """Volumes kept in memory; what exceeds it is read from its file again when needed."""
    max_train_pairs: int | None = Field(default=1000, ge=1)
    """Of more pairs of scans, as many are drawn once and for all. None: all. A stage draws 2000 (Sec. 3: of 190)."""
    max_test_pairs: int = Field(default=40, ge=1)
    """The same for test pairs that are made of test scans; pairs that the data set itself lists are all tested."""
    label_interpolation: Literal["nearest", "label"] = "nearest"
    """How label maps are warped for Dice and HD95: nearest neighbour, as Learn2Reg does, or each label linearly and
    the largest taken. Figures of the two are not comparable: on small anatomy the second ones are better."""

    # g
    channels: Annotated[tuple[Channels, ...], Field(max_length=32)] = (32, 64, 128, 128, 128)
    """Of each block (Sec. 3)."""
    strides: tuple[Literal[1, 2], ...] = (2, 1, 2, 1, 2)
    """Of each block (Sec. 3). The second block's lattice is that of labels and of instance optimisation."""
    features: Channels = 16
    """Channels of g's output (published code)."""
    norm: Literal["batch", "instance"] = "batch"
    """Normalisation in the blocks (published code: batch)."""
    towers: int = Field(default=1, ge=1, le=256)
    """Networks side by side in the trained g (published: 1)."""
    first_towers: int = Field(default=4, ge=1, le=256)
    """Networks side by side in the untrained g_0 that makes the first labels (published: 1)."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """In which g computes; ``auto``: bfloat16 on CUDA, float32 on the CPU, where all processors then agree. bfloat16 is
    twice as fast on those that have it (AVX512_BF16, AMX), and slower on others."""
    first_features: Literal["random", "mind"] = "random"
    """What makes the first labels: g_0, of random weights (Sec. 2.2), or MIND-SSC in its place."""
    standardise: bool = True
    """Bring every channel of every scan to mean 0 and deviation 1 before matching (published: no)."""

    # h
    reach: int = Field(default=2, ge=1)
    """Candidates lie within this many lattice voxels along each axis (Sec. 3: 2, so 125)."""
    cost_scale: float = Field(default=5.0, gt=0)
    """Of the mean absolute difference over channels (published: 80, as 5 a channel, summed over 16)."""
    sharpness: float = Field(default=20.0, gt=0)
    """Of the softmax over candidates (published code)."""
    coupling: tuple[float, ...] = (0.003, 0.03, 0.3)
    """c of each coupled step (published code)."""

    # refinement of labels, and of the result at test time
    consistency: bool = True
    """Solve from moving to fixed as well, and make the two fields each other's inverse."""
    consistency_steps: int = Field(default=15, ge=1)
    """Fixed-point iterations (published code)."""
    warps: Literal[1, 2] = 2
    """2: warp the moving scan by the first field, solve again, compose."""
    adam: bool = True
    """Instance optimisation of the field."""
    adam_steps: int = Field(default=50, ge=1)
    """Sec. 3."""
    adam_rounds: int = Field(default=2, ge=1)
    """Times that Adam runs; each after the first on features of the moving scan as warped so far, from zero, so that
    only the roughness of what it adds counts (published: 1)."""
    adam_rate: float = Field(default=1.0, gt=0)
    """Learning rate, lattice voxels (published code)."""
    instance_blocks: Blocks = (2,)
    """Whose features it matches, side by side (Sec. 3: 2). Those of the first are sharper."""
    instance_mind: bool = False
    """Match MIND-SSC beside them, which needs no learning."""
    instance_channels: int = Field(default=32, ge=1)
    """Random projections of the features, where they have more channels (paper: 16, published code: 32)."""
    instance_scale: float = Field(default=1.0, gt=0)
    """Of those features (published code: 5)."""
    data_weight: float = Field(default=1.0, gt=0)
    """Of the mean squared feature difference (published code: 12)."""
    smoothness: float = Field(default=0.65, ge=0)
    """Of the summed mean squared forward differences, for labels (published code: 0.65)."""
    test_smoothness: float = Field(default=0.65, ge=0)
    """The same at test time (published test script: 6.5)."""
    divergence: float = Field(default=0.0, ge=0)
    """Of the mean squared divergence, the change of volume, for labels (published: none)."""
    test_divergence: float = Field(default=0.0, ge=0)
    """The same at test time."""
    field_smoothing: int = Field(default=3, ge=0)
    """3-box means of the optimised field at every step (published code)."""
    final_smoothing: int = Field(default=3, ge=0)
    """3-box means at full resolution in the end (published code)."""

    # augmentation
    sigma_first: float = Field(default=0.075, ge=0)
    """A1 = I + 0.075 N on normalised coordinates (Sec. 3)."""
    sigma_second: float = Field(default=0.05, ge=0)
    """A2 = (I + 0.05 N') A1 (published code)."""

    # supervision other than by pseudo labels
    mind_radius: int = Field(default=1, ge=0)
    """Voxels; patches of MIND-SSC (its authors' code), as a supervision and as features."""
    mind_dilation: int = Field(default=2, ge=1)
    """Voxels from a site to the patches that it compares (its authors' code)."""
    mind_smoothness: float = Field(default=0.1, ge=0)
    """Of the summed mean squared forward differences beside the mean squared difference of MIND-SSC (0.1 did better
    than 1 among hippocampus training pairs)."""
    ncc_window: Annotated[int, Field(ge=3), AfterValidator(_odd)] = 9
    """Voxels along each axis of a window of the local correlation (VoxelMorph)."""
    ncc_smoothness: float = Field(default=1.0, ge=0)
    """Of the summed mean squared forward differences beside the mean squared local correlation."""
    synthetic_amplitude: float = Field(default=0.3, gt=0)
    """Largest deviation of a synthetic field's components, in units of `reach`; that of each is drawn below it."""
    synthetic_grain: float = Field(default=3.0, gt=0)
    """Width of the Gaussian that makes them smooth, in lattice voxels of h."""
    synthetic_contrast: float = Field(default=0.2, ge=0)
    """Deviation of the logarithm of the exponent that each scan's intensities get."""
    synthetic_noise: float = Field(default=0.02, ge=0)
    """Deviation of the noise that each scan gets, of intensities that are 1 wide."""

    @model_validator(mode="after")
    def _blocks_agree(self) -> "ImageConfig":
        if len(self.channels) != len(self.strides) or len(self.channels) < 2:
            raise ValueError(f"channels and strides must be as many, two or more, got {self.channels}, {self.strides}")
        if 1 in self.instance_blocks and self.strides[1] != 1:
            raise ValueError(
                "a 1 in instance_blocks needs the first block on the second one's lattice, that of labels, so the "
                f"second of strides must be 1, got {self.strides}"
            )
        return self

    @property
    def stride(self) -> int:
        """Of the lattice on which h matches."""
        return 2 ** sum(s == 2 for s in self.strides)

    @property
    def label_stride(self) -> int:
        """Of the lattice of labels and instance optimisation."""
        return 2 ** sum(s == 2 for s in self.strides[:2])
