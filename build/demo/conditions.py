"""Conditions: everything about a photograph that has nothing to do with weights — light, camera, soil, marks.

Part of it is shared by all photographs of one state and date (one crew, one camera, one afternoon), as in the field.
"""

from dataclasses import dataclass

import numpy as np

from build.demo.labels import Quadrat

# Mean soil colours (R, G, B) per state: grey clay, brown loam, red-brown earth, pale sand.
SOIL_RGB = {"NSW": (102, 84, 64), "Tas": (96, 83, 66), "Vic": (108, 91, 68), "WA": (126, 119, 105)}
# Share of photographs from the second, softer and noisier camera.
SECOND_CAMERA = {"NSW": 0.85, "Tas": 0.2, "Vic": 0.15, "WA": 0.7}
# Mean level that the exposure meter aims at; WA's are darker (competition's colour statistics).
EXPOSURE = {"NSW": 0.42, "Tas": 0.43, "Vic": 0.42, "WA": 0.36}
STAMP_SHARE, FLASH_SHARE, CARDBOARD_SHARE, FRAME_SHARE = 0.27, 0.04, 0.08, 0.12


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """Light, camera, soil and marks of one photograph."""

    soft_camera: bool
    sun_angle: float  # radians in the picture, where the light comes from
    sun_slope: float  # fall of the ray per pixel: tan(elevation)
    sunlight: float  # 0 overcast … 1 hard sun
    exposure: float  # mean level aimed at, 0…1
    contrast: float  # standard deviation of the green levels aimed at
    warmth: float  # white balance: > 0 redder and less blue
    tint: float  # white balance: > 0 greener
    hue: float  # −1 yellowish … 1 bluish leaves, beyond what NDVI says
    soil_rgb: tuple[float, float, float]
    vignette: float
    haze: float  # stray light, or blacks that the camera crushes where it is negative
    saturation: float
    bleach: tuple[float, float, float]  # how red, green, blue follow lightness, adds up to 0
    shade: bool  # the shadow of a person or of the frame falls into the picture
    stamp: bool
    flash: bool
    cardboard: bool
    frame: bool


def draw_conditions(quadrat: Quadrat, group: np.random.Generator, own: np.random.Generator) -> Conditions:
    """Draw the conditions from a generator common to the state and date and from the photograph's own."""
    soft = bool(group.random() < SECOND_CAMERA[quadrat.state])
    bleach = group.normal(0, 0.013, 3) + own.normal(0, 0.016, 3) + (0.0, -0.01, 0.01)
    bleach -= bleach.mean()
    overcast = bool(group.random() < 0.3) != bool(own.random() < 0.12)
    tone = np.clip(group.normal(0, 0.16) + own.normal(0, 0.10), -0.5, 0.45)
    soil = np.array(SOIL_RGB[quadrat.state]) * np.exp(tone) + group.normal(0, 3, 3) + own.normal(0, 2, 3)
    return Conditions(
        soft_camera=soft,
        sun_angle=group.uniform(0, 2 * np.pi) + own.normal(0, 0.7),
        sun_slope=float(np.clip(group.normal(1.1, 0.25) + own.normal(0, 0.1), 0.55, 1.8)),
        sunlight=float(own.uniform(0.0, 0.3) if overcast else own.uniform(0.6, 1.0)),
        exposure=float(EXPOSURE[quadrat.state] + np.clip(group.normal(0, 0.025) + own.normal(0, 0.035), -0.1, 0.1)),
        contrast=float(np.clip(0.244 - 0.03 * overcast + group.normal(0, 0.015) + own.normal(0, 0.024), 0.175, 0.285)),
        warmth=float(np.clip(group.normal(0.01, 0.045) + own.normal(0, 0.035), -0.08, 0.11)),
        tint=float(group.normal(0, 0.02) + own.normal(0, 0.02)),
        hue=float(np.clip(group.normal(-0.2, 0.32) + own.normal(0, 0.28), -1.0, 0.4)),
        soil_rgb=(float(soil[0]), float(soil[1]), float(soil[2])),
        vignette=float(own.uniform(0.0, 0.22) if soft else own.uniform(0.0, 0.12)),
        haze=float(np.clip(own.normal(0.008, 0.012), -0.015, 0.035)),
        saturation=float(np.exp(np.clip(group.normal(0.04, 0.09) + own.normal(0, 0.09), -0.3, 0.26))),
        bleach=(float(bleach[0]), float(bleach[1]), float(bleach[2])),
        shade=bool(own.random() < 0.14),
        stamp=bool(own.random() < STAMP_SHARE),
        flash=bool(own.random() < FLASH_SHARE and quadrat.green_g + quadrat.clover_g < 30),
        cardboard=bool(own.random() < CARDBOARD_SHARE),
        frame=bool(own.random() < FRAME_SHARE),
    )
