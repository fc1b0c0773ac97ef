"""The torso painted from the skin inwards: all that has no label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cst_image.abdomen import torso
from cst_image.abdomen.canvas import Canvas, Paint
from cst_image.abdomen.contrast import Contrast
from cst_image.abdomen.shapes import Bounds, Depth, Solid
from cst_image.abdomen.torso import Bowel, Build

SKIN = 2.5  # mm
CORTEX = 2.2  # mm, over which compact bone gives way to spongy bone
COMPACT = 420.0  # HU that compact bone has more than spongy bone
GUT_WALL = 3.0  # mm
GAS = -900.0  # HU, of gas among other content
TABLE = (-138.0, 6.0e-4)  # mm and 1/mm: the table's lowest y, and how it bends up with x squared
TABLE_HU = 60.0
LUMP = 9.0  # mm by which the edge of a lump moves where its random field changes by one deviation
SACRUM = -66.0  # z, mm: above it the spine has vertebrae and discs


class Textures(NamedTuple):
    """Random fields of unit deviation over the whole volume, from coarse to fine grain."""

    coarse: Float[np.ndarray, "X Y Z"]
    lumps: Float[np.ndarray, "X Y Z"]
    medium: Float[np.ndarray, "X Y Z"]
    fine: Float[np.ndarray, "X Y Z"]


class Surfaces(NamedTuple):
    """The trunk's layers over the whole volume: mm inside the muscle wall, inside the cavity, below the diaphragm."""

    wall: Float[np.ndarray, "X Y Z"]
    cavity: Float[np.ndarray, "X Y Z"]
    below: Float[np.ndarray, "X Y Z"]


def surfaces(canvas: Canvas, build: Build) -> Surfaces:
    """Measure the trunk's layers."""
    wall = torso.wall_depth(canvas.canonical)
    return Surfaces(wall, torso.cavity_depth(canvas.canonical, wall), torso.under_diaphragm(canvas.canonical, build))


def bone(depth: Depth, hu: Mapping[str, float]) -> Depth:
    """Compact at the surface, spongy inside; HU."""
    return np.float32(hu["spongy bone"]) + np.float32(COMPACT) * np.exp(-np.maximum(depth, 0) / np.float32(CORTEX))


def gut(depth: Depth, content: Paint, wall: float) -> Depth:
    """A wall about the content; HU."""
    inside = np.clip(depth - np.float32(GUT_WALL - 1), 0, 1)
    return np.float32(wall) + inside * (content - np.float32(wall))


def paint_torso(
    canvas: Canvas, layers: Surfaces, build: Build, bowel: Bowel, contrast: Contrast, textures: Textures
) -> None:
    """Paint everything that has no label."""
    hu = contrast.hu
    flesh = hu["muscle"] + 7 * textures.fine - 30 * np.clip(textures.medium - np.float32(1.2), 0, 1)

    def paint(solids: Sequence[Solid], tissue: str, inset: float = 0.0) -> None:
        if (found := canvas.depth(solids)) is not None:
            box, depth = found
            paints = {"bone": bone(depth, hu), "muscle": flesh[box]}
            canvas.paint(box, depth - np.float32(inset), paints[tissue] if tissue in paints else hu[tissue])

    paint_trunk(canvas, layers, build, flesh, contrast, textures)
    paint(torso.HEART, "heart")
    paint(torso.BACK_MUSCLES, "muscle")
    paint(torso.HIP_MUSCLES, "muscle")
    canvas.paint(canvas.everywhere, torso.rib_depth(canvas.canonical, layers.wall, build), hu["spongy bone"] + 120.0)
    paint(torso.HIP_BONES, "bone")
    paint(torso.HIP_JOINTS, "muscle")
    paint(torso.FEMORA, "bone")
    paint_spine(canvas, build, contrast, textures)
    paint_bowel(canvas, bowel, contrast, textures)
    paint(torso.PELVIC_FLOOR, "muscle")
    paint(torso.BLADDER, "gut wall")
    paint(torso.BLADDER, "urine", inset=GUT_WALL)
    paint(torso.VEINS, "vena cava")
    paint(torso.ARTERIES, "aorta")


def paint_trunk(
    canvas: Canvas,
    layers: Surfaces,
    build: Build,
    flesh: Float[np.ndarray, "X Y Z"],
    contrast: Contrast,
    textures: Textures,
) -> None:
    """Paint the table, the trunk's layers, the lungs and, between them, the mediastinum."""
    hu, everywhere, at = contrast.hu, canvas.everywhere, canvas.canonical
    x, y, _ = (axis.astype(np.float32) for axis in np.meshgrid(*canvas.axes, indexing="ij", sparse=True))
    table = np.float32(2) - np.abs(y - np.float32(TABLE[0]) - np.float32(TABLE[1]) * x**2)
    canvas.paint(everywhere, np.broadcast_to(table, canvas.volume.shape), TABLE_HU)

    skin = layers.wall + np.float32(build.fat) * (1 + np.float32(0.12) * textures.coarse)
    fat = np.float32(hu["fat"]) + 6 * textures.fine
    canvas.paint(everywhere, skin, -10.0)
    canvas.paint(everywhere, skin - np.float32(SKIN), fat)
    canvas.paint(everywhere, layers.wall, flesh)
    # vessels and sheets that cross the fat, and lumps in it
    strands = np.float32(75) * np.exp(-((textures.medium / np.float32(0.07)) ** 2))
    canvas.paint(everywhere, layers.cavity, fat + strands)
    lumps = np.float32(LUMP) * (textures.lumps - np.float32(build.crowding))
    canvas.paint(everywhere, np.minimum(layers.cavity - 4, lumps), hu["gut wall"] - 15 + 20 * textures.coarse)

    lung = np.minimum(layers.cavity, -layers.below)
    vessels = np.float32(320) * np.clip(textures.fine - np.float32(1.3), 0, 1)
    canvas.paint(everywhere, lung, np.float32(hu["lung"]) + 40 * textures.coarse + vessels)
    canvas.paint(everywhere, np.minimum(lung + 3, 3 - np.abs(layers.below + 1)), flesh)
    middle = np.float32(26) * (1 - np.sqrt((at[0] / 32) ** 2 + ((at[1] - 20) / 80) ** 2))
    canvas.paint(everywhere, np.minimum(np.minimum(middle, lung + 4), at[2] - 120), fat)


def paint_spine(canvas: Canvas, build: Build, contrast: Contrast, textures: Textures) -> None:
    """Paint vertebrae, discs and the spinal canal down to the sacrum."""
    box = canvas.box(Bounds(np.array([-45.0, -110.0, SACRUM]), np.array([45.0, -10.0, 300.0])))
    if box is None:
        return
    hu, at = contrast.hu, canvas.canonical[:, *box]
    end = at[2] - np.float32(SACRUM)
    canvas.paint(box, np.minimum(torso.disc_depth(at), end), hu["disc"])
    vertebra = np.minimum(torso.vertebra_depth(at, build), end)
    canvas.paint(box, vertebra, bone(vertebra, hu) + 25 * textures.fine[box])
    canvas.paint(box, np.minimum(torso.canal_depth(at), end), hu["nerve"])


def paint_bowel(canvas: Canvas, bowel: Bowel, contrast: Contrast, textures: Textures) -> None:
    """Paint the gut below the stomach, with gas where it happens to hold some."""
    # content's HU, how many deviations gas takes, HU of its lumps: stool is coarse, and much of it gas
    kinds = (
        (bowel.colon, contrast.meal.colon, 0.1, 150.0),
        (bowel.small, contrast.meal.bowel, 1.1, 15.0),
        (bowel.duodenum, contrast.meal.bowel, 2.5, 15.0),
    )
    for solid, filling, rarity, grain in kinds:
        if (found := canvas.depth([solid])) is not None:
            box, depth = found
            content = np.float32(filling) + np.float32(grain) * np.minimum(textures.fine[box], np.float32(0.5))
            bubbles = textures.coarse[box] + textures.medium[box] / 3 - np.float32(rarity)
            content += np.clip(4 * bubbles, 0, 1) * (np.float32(GAS) - content)
            canvas.paint(box, depth, gut(depth, content, contrast.hu["gut wall"]))
