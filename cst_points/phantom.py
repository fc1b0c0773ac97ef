"""The lung phantom: pairs of vessel keypoint clouds under a large known breathing deformation, drawn from a seed.

It stands in for the COPDGene pairs where those are not at hand, so its counts, spacing, overlap and motion follow what
was measured on them (Sec. 3), and it is made so that random features with the published solver solve it badly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.random import Generator
from torch import Tensor

from cst_core.plugin import EvalCase, Landmarks
from cst_points.cloud import CloudPair
from cst_points.vessels import SITES, Candidates, Lung, candidates, grow

HALF_EXTENT = (130.0, 96.0, 168.0)  # mm; the crop of the real pairs, 192 x 192 x 208 voxels
FIXED_COUNT = (1130, 1620)  # keypoints at exhale; real pairs: 1130 to 1750
MOVING_PER_FIXED = (2.05, 2.2)  # real pairs: 1.99 to 2.28
UNMATCHED = (0.30, 0.40)  # share of the fixed keypoints that no moving one shows
FORK_WEIGHT = 3.0  # a corner detector finds forks and ends more readily than a plain stretch of vessel
JITTER = 0.7  # mm, standard deviation per axis of a keypoint's localisation
# By exp(+-HAZE) each state's chance of showing a vessel rises and falls across the lungs: tissue is denser at exhale,
# and unevenly so. This sets the difficulty, for random features see above all the local density of points. Measured on
# four pairs: at 0 one random network with the published solver leaves about 40 % of the initial error; at 0.8 even
# sixteen of them, in a well-tuned solver, leave two thirds.
HAZE = 0.35
HAZE_WAVELENGTH = 220.0  # mm, about a lung's height
LANDMARKS = 300  # as in the real pairs
MARGIN = 4.0  # mm under the pleura that stay free of vessels, so that jitter leaves no keypoint outside
WAVES = 5  # plane waves in a patient's own smooth component
WAVELENGTH = (140.0, 320.0)  # mm: from half a lung to more than one
RISE = 0.3  # part of that which shows as a rise of the apex: every scan is cropped around its own lungs
WAVE_STRAIN = 0.5  # bound on the waves' summed strain; with breathing's own strain the Jacobian stays positive


@dataclass(frozen=True)
class Breathing:
    """Displacement from exhale to inhale in closed form: smooth everywhere and without folds."""

    descent: float
    """How much further the base goes down than the apex, mm."""
    turning: tuple[float, float]
    """z of half that descent and the height over which it builds up, mm."""
    lateral: float
    """Outward motion of the flanks, mm."""
    anterior: float
    """Forward motion of the front, mm; the back lies on the table."""
    asymmetry: float
    """By which part the lung at x > 0 moves more, and the other less."""
    shift: Float[np.ndarray, "3"]
    """How the patient moved between the scans, mm."""
    amplitudes: Float[np.ndarray, "W 3"]
    """Of the plane waves, mm."""
    wave_vectors: Float[np.ndarray, "W 3"]
    """Of the plane waves, radians a mm."""
    phases: Float[np.ndarray, "W"]

    def __call__(self, points: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        """The displacement u(x), mm, at exhaled positions x, mm: x shows at inhale in x + u(x)."""
        x, y, z = points.T
        lung = 1 + self.asymmetry * np.tanh(x / 40)
        # each component rises along its own axis, so breathing alone stretches and never folds
        low = 0.5 - 0.5 * np.tanh((z - self.turning[0]) / self.turning[1])
        breath = np.stack(
            [
                self.lateral * np.tanh(x / 70),
                self.anterior * (0.5 + 0.5 * np.tanh(y / 60)),
                self.descent * (RISE - low),
            ],
            axis=1,
        )
        waves = np.sin(points @ self.wave_vectors.T + self.phases) @ self.amplitudes
        return lung[:, None] * breath + self.shift + waves


class Patient(NamedTuple):
    """The anatomy at exhale and how it breathes; mm, relative to the crop's centre."""

    lungs: tuple[Lung, Lung]
    breathing: Breathing
    origin: Float[np.ndarray, "3"]
    """The crop's centre in the scanner, mm: what the clouds are shifted by."""


class Detections(NamedTuple):
    """Indices of the candidates that become keypoints; those in both are the pair's true matches."""

    fixed: Int[np.ndarray, "N"]
    moving: Int[np.ndarray, "M"]


def patient_generator(seed: int, index: int) -> Generator:
    """The generator that `lung_phantom` draws its pair number `index` (from 0) with."""
    return np.random.default_rng([seed, index])


def draw_breathing(generator: Generator) -> Breathing:
    """Draw one patient's breathing, from shallow to so deep that the base moves by about 4 cm."""
    effort = generator.uniform(0.35, 1.0)
    wave_vectors = generator.standard_normal((WAVES, 3))
    wave_vectors *= (
        2 * np.pi / generator.uniform(*WAVELENGTH, (WAVES, 1)) / np.linalg.norm(wave_vectors, axis=1)[:, None]
    )
    amplitudes = generator.standard_normal((WAVES, 3))
    strain = (np.linalg.norm(amplitudes, axis=1) * np.linalg.norm(wave_vectors, axis=1)).sum()
    return Breathing(
        descent=effort * 54,
        turning=(generator.uniform(-50, -10), generator.uniform(60, 90)),
        lateral=effort * generator.uniform(8, 16),
        anterior=effort * generator.uniform(8, 18),
        asymmetry=generator.uniform(-0.3, 0.3),
        shift=generator.normal(0, 1.5, 3),
        amplitudes=amplitudes * WAVE_STRAIN * (0.5 + 0.5 * effort) / strain,
        wave_vectors=wave_vectors,
        phases=generator.uniform(0, 2 * np.pi, WAVES),
    )


def draw_patient(generator: Generator) -> Patient:
    """Draw a patient: the first draws of `lung_pair`, so a fresh generator of the same seed recovers its truth."""
    size = generator.uniform(0.92, 1.04)
    semi_axes = size * generator.uniform([88, 70, 200], [96, 76, 212])
    base, dome = generator.uniform(-104, -96), generator.uniform(18, 30)
    # the heart takes room on one side, the liver lifts the other lung's base
    lungs = (Lung(-1.0, semi_axes, base + 6, dome), Lung(1.0, semi_axes * [0.92, 1, 1], base, dome - 6))
    return Patient(lungs, draw_breathing(generator), generator.uniform(-20, 20, 3))


def vessel_points(patient: Patient, generator: Generator) -> Candidates:
    """Grow a tree in each of a patient's lungs; all candidate keypoints, mm, at exhale, in the lungs."""
    parts = []
    for lung in patient.lungs:
        hilum = np.array([lung.side * 25, -5.0, lung.base + 0.45 * lung.semi_axes[2]])
        found = candidates(grow(lung.sample(SITES, MARGIN, generator), hilum, generator), generator)
        inside = lung.depth(found.points) > MARGIN
        parts.append(Candidates(found.points[inside], found.fork[inside]))
    return Candidates(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def detect(found: Candidates, generator: Generator) -> Detections:
    """Draw which candidates each scan's detector finds: forks above all, and each state in regions of its own."""
    n_fixed = int(generator.integers(*FIXED_COUNT, endpoint=True))
    n_moving = round(n_fixed * generator.uniform(*MOVING_PER_FIXED))
    n_alone = round(n_fixed * generator.uniform(*UNMATCHED))

    direction = generator.standard_normal(3)
    wave_vector = 2 * np.pi / HAZE_WAVELENGTH * direction / np.linalg.norm(direction)
    haze = np.exp(HAZE * np.sin(found.points @ wave_vector + generator.uniform(0, 2 * np.pi)))
    salience = np.where(found.fork, FORK_WEIGHT, 1.0)

    def draw(count: int, weight: Float[np.ndarray, "P"]) -> Int[np.ndarray, "C"]:
        chosen = generator.choice(len(weight), count, replace=False, p=weight / weight.sum())
        return generator.permutation(chosen)

    fixed = draw(n_fixed, salience * haze)
    unseen = salience / haze
    unseen[fixed] = 0
    only_moving = draw(n_moving - n_fixed + n_alone, unseen)
    return Detections(fixed, np.concatenate([fixed[n_alone:], only_moving]))


def lung_pair(generator: Generator) -> tuple[CloudPair, Landmarks]:
    """Draw one pair: fixed at exhale, moving at inhale and denser, float32, mm.

    Landmarks lie on vessels, apart from all keypoints, and follow the patient's `Breathing` exactly.
    """
    patient = draw_patient(generator)
    found = vessel_points(patient, generator)
    points = found.points
    fixed, moving = detect(found, generator)
    free = np.setdiff1d(np.arange(len(points)), np.union1d(fixed, moving))
    landmarks = points[generator.choice(free, LANDMARKS, replace=False)]

    def detected(at: Float[np.ndarray, "N 3"]) -> Tensor:
        jittered = at + generator.normal(0, JITTER, at.shape)
        return to_tensor(generator.permutation(jittered))

    def to_tensor(at: Float[np.ndarray, "N 3"]) -> Tensor:
        return torch.as_tensor(at + patient.origin, dtype=torch.float32)

    def inhaled(at: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
        return at + patient.breathing(at)

    pair = CloudPair(
        fixed=detected(points[fixed]),
        moving=detected(inhaled(points[moving])),
        origin=torch.as_tensor(patient.origin, dtype=torch.float32),
        half_extent=torch.tensor(HALF_EXTENT),
    )
    return pair, Landmarks(to_tensor(landmarks), to_tensor(inhaled(landmarks)))


def lung_phantom(n_pairs: int = 10, seed: int = 0) -> list[EvalCase[CloudPair]]:
    """Draw `n_pairs` cases, ``phantom_01`` onwards; each depends on the seed and its own number only."""
    cases = []
    for index in range(n_pairs):
        pair, landmarks = lung_pair(patient_generator(seed, index))
        cases.append(
            EvalCase(f"phantom_{index + 1:02d}", pair, landmarks, correspondence=true_field(pair, seed, index))
        )
    return cases


def true_field(pair: CloudPair, seed: int, index: int) -> Float[Tensor, "3 N"]:
    """The patient's `Breathing` at the fixed keypoints of `lung_phantom`'s pair number ``index``, mm."""
    patient = draw_patient(patient_generator(seed, index))
    moved = patient.breathing(pair.fixed.double().numpy() - patient.origin)
    return torch.as_tensor(moved.T, dtype=torch.float32).contiguous()
