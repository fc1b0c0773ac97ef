"""Two lungs and the vessel trees that fill them, in the exhaled state: what the phantom's keypoints lie on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.random import Generator
from scipy.spatial import KDTree

MEDIASTINUM = 14.0  # mm from the midplane to either lung: room for heart and great vessels
REACH = 0.55  # part of the way to its territory's centroid that a vessel runs before it forks: lengths shrink with it
TILT = 0.5  # how far a fork's plane leans off the territory's widest axis; at 0 all forks are square
SITES = 2400  # terminal vessels a lung: enough candidates for the largest pair and its landmarks in the smallest lungs
SPACING = 6.0  # mm between candidate points along a vessel: the nearest-neighbour distance of real lung keypoints
SEPARATION = 3.5  # mm, the least distance of two candidates: non-maximum suppression two voxels wide


@dataclass(frozen=True)
class Lung:
    """Half an ellipsoid that stands on the diaphragm's dome and is flattened towards the mediastinum."""

    side: float
    """-1 or +1: the sign of x inside."""
    semi_axes: Float[np.ndarray, "3"]
    """Width, depth and height of the ellipsoid, mm; its centre lies on the base, at the mediastinal face."""
    base: float
    """z of the costal rim, mm: the lowest point."""
    dome: float
    """How far the diaphragm rises above the rim, mm."""

    def depth(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N"]:
        """About how far each point (mm) lies inside the surface, mm; negative outside."""
        local = points - np.array([self.side * MEDIASTINUM, 0.0, self.base])
        width, depth, _ = self.semi_axes
        wall = (1 - np.linalg.norm(local / self.semi_axes, axis=1)) * self.semi_axes.min()
        # the dome is highest half-way across the base and meets the rim at the wall
        off_top = ((self.side * local[:, 0] / width - 0.5) / 0.5) ** 2 + (local[:, 1] / depth) ** 2
        floor = local[:, 2] - self.dome * np.clip(1 - off_top, 0, None)
        return np.minimum(np.minimum(wall, floor), self.side * local[:, 0])

    def sample(self, count: int, margin: float, generator: Generator) -> Float[np.ndarray, "N 3"]:
        """Draw `count` points uniformly, each at least `margin` mm inside."""
        kept: list[np.ndarray] = []
        while sum(map(len, kept)) < count:
            unit = generator.uniform([0, -1, 0], 1, (4 * count, 3))
            points = unit * self.semi_axes * [self.side, 1, 1] + [self.side * MEDIASTINUM, 0, self.base]
            kept.append(points[self.depth(points) > margin])
        return np.concatenate(kept)[:count]


class Tree(NamedTuple):
    """A vessel tree: straight vessels from `nodes[parents[i]]` to `nodes[i]`; node 0 is the hilum, its own parent."""

    nodes: Float[np.ndarray, "V 3"]
    parents: Int[np.ndarray, "V"]


class Candidates(NamedTuple):
    """Places (mm) where a detector may find a keypoint, and whether a vessel forks or ends there."""

    points: Float[np.ndarray, "P 3"]
    fork: Bool[np.ndarray, "P"]


def grow(sites: Float[np.ndarray, "S 3"], hilum: Float[np.ndarray, "3"], generator: Generator) -> Tree:
    """Grow a tree from `hilum` that ends in every one of `sites` (mm).

    Each vessel runs towards the centroid of its territory, where the territory is cut in two by a plane across its
    widest direction (volume filling as in Tawhai et al., "Generation of an anatomically based three-dimensional model
    of the conducting airways", 2000).
    """
    nodes, parents = [hilum], [0]
    open_territories = [(0, sites)]
    while open_territories:
        parent, territory = open_territories.pop()
        centroid = territory.sum(0) / len(territory)
        parents.append(parent)
        if len(territory) == 1:
            nodes.append(centroid)
            continue
        nodes.append(nodes[parent] + REACH * (centroid - nodes[parent]))
        offsets = territory - centroid
        normal = TILT * generator.standard_normal(3)
        normal[np.abs(offsets).max(0).argmax()] += 1
        beyond = offsets @ normal > 0
        open_territories += [(len(nodes) - 1, territory[beyond]), (len(nodes) - 1, territory[~beyond])]
    return Tree(np.array(nodes), np.array(parents))


def candidates(tree: Tree, generator: Generator) -> Candidates:
    """Forks, ends and points along the vessels, thinned to `SEPARATION`; where two compete, a fork stays."""
    start, end = tree.nodes[tree.parents[1:]], tree.nodes[1:]
    inner = (np.linalg.norm(end - start, axis=1) // SPACING).astype(int)
    vessel = np.repeat(np.arange(len(end)), inner)
    along = generator.random(len(vessel))[:, None]
    points = np.concatenate([generator.permutation(end), start[vessel] + along * (end - start)[vessel]])
    fork = np.arange(len(points)) < len(end)
    keep = np.ones(len(points), bool)
    # first come, first kept: pairs in order of their earlier point, whose own fate is settled by then
    pairs = KDTree(points).query_pairs(SEPARATION, output_type="ndarray")
    for earlier, later in pairs[pairs[:, 0].argsort()].tolist():
        if keep[earlier]:
            keep[later] = False
    return Candidates(points[keep], fork[keep])
