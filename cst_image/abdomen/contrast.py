"""What a CT scanner sees: HU of each tissue, which for most depends on how long ago contrast medium was given."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.random import Generator

# HU at four phases: native, late arterial (35 s after injection), portal venous (70 s), late (3 min). Rounded from
# radiology textbooks; the organs' means over 20 abdominal CTs (Learn2Reg AbdomenCTCT) lie between portal and late.
ENHANCEMENT = {
    "aorta": (42, 280, 155, 110),
    "vena cava": (40, 80, 125, 108),
    "portal vein": (42, 100, 170, 115),
    "hepatic veins": (42, 70, 150, 112),
    "renal cortex": (32, 175, 185, 150),
    "renal medulla": (30, 60, 140, 165),
    "liver": (57, 64, 105, 92),
    "spleen": (47, 115, 118, 98),
    "pancreas": (40, 95, 92, 72),
    "adrenal": (28, 60, 62, 48),
    "gut wall": (40, 80, 85, 70),
    "muscle": (52, 56, 62, 62),
    "heart": (42, 200, 140, 110),
}
PHASE = (2.2, 0.5)  # mean and standard deviation of the phase that is drawn, where 2 is portal venous
# Contrast medium for a patient's weight: all of a patient's enhancement scales with it. Between the same 20 CTs the
# organs' means differ by 30 to 50 HU, and by nearly the same factor in all organs of one patient.
DOSE = 0.4  # standard deviation of its logarithm, which is drawn within two of them
NATIVE = 0.06  # scanned without any
SPREAD = 0.12  # relative standard deviation of an organ's own enhancement
FATTY_LIVER = 14.0  # HU, standard deviation of the liver's native density between patients
CONSTANT = {
    "fat": -104.0,
    "bile": 10.0,
    "urine": 4.0,
    "mucus": 5.0,
    "lung": -840.0,
    "disc": 85.0,
    "spongy bone": 190.0,
    "nerve": 35.0,
}


class Meal(NamedTuple):
    """What fills the gut, HU."""

    stomach: float
    bowel: float
    colon: float
    level: float
    """y, mm, above which the stomach of one who lies on the back holds gas."""


class Contrast(NamedTuple):
    """How one patient's tissues show."""

    phase: float
    """0 native, 1 late arterial, 2 portal venous, 3 late; anything between."""
    hu: dict[str, float]
    """By tissue."""
    meal: Meal


def draw_contrast(generator: Generator) -> Contrast:
    """Draw a scan's phase, each tissue's response to it, and what the patient has eaten and drunk."""
    phase = float(np.clip(generator.normal(*PHASE), 0, 3))
    dose = float(np.exp(DOSE * np.clip(generator.standard_normal(), -2, 2)))
    if generator.random() < NATIVE:
        phase = 0.0
    hu = dict(CONSTANT)
    for tissue, curve in ENHANCEMENT.items():
        gain = dose * (1 + SPREAD * generator.standard_normal())
        hu[tissue] = curve[0] + gain * (float(np.interp(phase, range(4), curve)) - curve[0])
    hu["liver"] += FATTY_LIVER * generator.standard_normal()
    hu["bile"] += 8 * generator.standard_normal()
    # water, food, or contrast medium that was drunk and has come just so far
    drink = generator.choice(3, p=[0.3, 0.25, 0.45])
    full = generator.uniform(150, 260)
    arrived = generator.random() < 0.7
    meal = Meal(
        stomach=(8.0, 45.0, full)[drink],
        bowel=full if drink == 2 and arrived else generator.uniform(10, 50),
        colon=full if drink == 2 and not arrived else generator.uniform(0, 60),
        level=generator.uniform(35, 85),
    )
    return Contrast(phase, hu, meal)
