"""The labelled organs painted over the torso, back to front."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cst_image.abdomen.anatomy import KIDNEYS, LIVER, STOMACH, Organ
from cst_image.abdomen.canvas import OUTSIDE, Canvas, Paint
from cst_image.abdomen.contrast import Contrast
from cst_image.abdomen.random_field import Lattice
from cst_image.abdomen.shapes import Depth, Points, Tube
from cst_image.abdomen.torso_painting import GAS, Surfaces, Textures, gut

ORDER = (6, 1, 2, 3, 7, 11, 4, 10, 9, 8, 5, 12, 13)  # where two organs claim a place, the later has it
TISSUE = {
    1: "spleen",
    6: "liver",
    8: "aorta",
    9: "vena cava",
    10: "portal vein",
    11: "pancreas",
    12: "adrenal",
    13: "adrenal",
}
HOLLOW = {4: "bile", 5: "mucus"}
INNER = {2: "fat", 3: "fat", 6: "hepatic veins"}
TEXTURE = {1: 6.0, 2: 6.0, 3: 6.0, 6: 7.0, 11: 16.0}  # HU, standard deviation; of the others
PLAIN = 3.0
CONFINED = (1, 2, 3, 4, 6, 7)  # what would otherwise stick out of the cavity
CLEARANCE = 3.0  # mm between these and the wall and the diaphragm
RENAL_CORTEX = 6.0  # mm


def paint_organs(
    canvas: Canvas,
    layers: Surfaces,
    organs: Mapping[int, Organ],
    wobbles: Mapping[int, Lattice],
    contrast: Contrast,
    textures: Textures,
) -> None:
    """Paint each organ and label it.

    Args:
        canvas: With the torso on it.
        layers: The trunk's; organs stay inside.
        organs: By label.
        wobbles: By label, of unit deviation: how the surface of organs that are no vessels rises and falls.
        contrast: How tissues show.
        textures: Give tissues their grain.
    """
    for label in ORDER:
        if label not in organs or (found := canvas.depth(organs[label].parts)) is None:
            continue
        organ = organs[label]
        box, depth = found
        if organ.cuts:
            np.minimum(depth, -canvas.depth_in(box, organ.cuts), out=depth)
        if label == STOMACH or not isinstance(organ.parts[0], Tube):
            depth += np.float32(organ.variation.wobble) * wobbles[label].on(canvas.axes_of(box))[0]
        if label in CONFINED:
            inside = np.minimum(layers.cavity[box], layers.below[box])
            depth = np.minimum(depth, inside - np.float32(CLEARANCE))
        hu = organ_hu(label, depth, canvas.canonical[:, *box], contrast)
        canvas.paint(box, depth, hu + np.float32(TEXTURE.get(label, PLAIN)) * textures.fine[box], label)
        if organ.inner:
            inner = np.where(canvas.labels[box] == label, canvas.depth_in(box, organ.inner), OUTSIDE)
            canvas.paint(box, inner, contrast.hu[INNER[label]], label if label == LIVER else 0)


def organ_hu(label: int, depth: Depth, at: Points, contrast: Contrast) -> Paint:
    """HU inside an organ, by its depth or, where gas floats on fluid, by height."""
    hu = contrast.hu
    if label in TISSUE:
        return hu[TISSUE[label]]
    if label in HOLLOW:
        return gut(depth, hu[HOLLOW[label]], hu["gut wall"])
    if label in KIDNEYS:
        inside = np.clip((depth - np.float32(RENAL_CORTEX)) / 3, 0, 1)
        return np.float32(hu["renal cortex"]) + inside * np.float32(hu["renal medulla"] - hu["renal cortex"])
    gas = np.clip((at[1] - np.float32(contrast.meal.level)) / 3, 0, 1)
    content = np.float32(contrast.meal.stomach) + gas * np.float32(GAS - contrast.meal.stomach)
    return gut(depth - 1, content, hu["gut wall"])
