"""A phantom of the PH2 data set: synthetic dermoscopy in PH2's folders, for demos and tests without patient images.

Colours follow the Beer-Lambert law: a picture is skin * exp(-absorption of pigment) * light of the instrument. Dark
corners, shading, hairs, gel bubbles and faint lesions defeat a threshold on grey values.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from scipy.ndimage import fourier_gaussian, gaussian_filter

SUPERSAMPLING = 3  # pictures are drawn larger by this factor, for smooth hairs and borders

# absorption in red, green and blue of brown pigment near the surface, deep blue-grey pigment and blood
MELANIN = np.array([0.40, 0.82, 1.22])
DEEP_MELANIN = np.array([1.10, 0.95, 0.80])
BLOOD = np.array([0.06, 0.55, 0.45])


def write_phantom(folder: str | Path, cases: int = 40, size: tuple[int, int] = (96, 128), seed: int = 0) -> Path:
    """Write `cases` images and lesion masks to `folder`/PH2Dataset, in PH2's own layout.

    Args:
        size: height and width of the images in pixels, at least 32 each.
        seed: the same seed gives the same bytes.
    Returns:
        The folder PH2Dataset.
    Raises:
        ValueError: fewer than 1 or more than 400 cases, or a side below 32.
        FileExistsError: `folder` holds a PH2Dataset already.
    """
    if not 1 <= cases <= 400:
        raise ValueError(f"got cases={cases}, wanted 1 to 400")
    if min(size) < 32:
        raise ValueError(f"got size={tuple(size)}, wanted (height, width) of at least 32 each")
    root = Path(folder) / "PH2Dataset"
    images = root / "PH2 Dataset images"
    images.mkdir(parents=True)
    # ids with gaps, as in the real data set
    ids = np.sort(np.random.default_rng(seed).choice(np.arange(2, 450), cases, replace=False))
    for number, case in enumerate(ids):
        image, lesion = draw_case(size, np.random.default_rng([seed, number]))
        _write_case(images, f"IMD{case:03d}", image, lesion)
    return root


def _write_case(images: Path, name: str, image: np.ndarray, lesion: np.ndarray) -> None:
    grey = image.mean(axis=-1)
    darkest = lesion & (grey <= np.quantile(grey[lesion], 0.2))  # stands in for a colour region in PH2's _roi folders
    for kind, file, picture in (
        ("Dermoscopic_Image", name, Image.fromarray(image)),
        ("lesion", f"{name}_lesion", Image.fromarray(lesion)),
        ("roi", f"{name}_R1_Label4", Image.fromarray(darkest)),
    ):
        folder = images / name / f"{name}_{kind}"
        folder.mkdir(parents=True)
        picture.save(folder / f"{file}.bmp")


def draw_case(size: tuple[int, int], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """One picture and its lesion: ((H, W, 3) uint8, (H, W) bool)."""
    height, width = (side * SUPERSAMPLING for side in size)
    unit = min(height, width)  # all lengths are relative to it, so that a larger picture shows the same scene
    y, x = np.mgrid[:height, :width]
    y, x = (y - height / 2) / unit, (x - width / 2) / unit

    depth = _lesion_depth(y, x, unit, rng)
    absorption = _skin_absorption(y, x, unit, rng) + _lesion_absorption(depth, y, x, unit, rng)
    pink, fair = rng.random(2)
    skin = np.array([0.93, 0.73 + 0.02 * pink, 0.56 + 0.17 * pink]) + 0.08 * fair
    picture = skin * np.exp(-absorption)
    picture = _add_hairs(picture, rng)
    picture = _add_bubbles(picture, rng)
    picture *= _light(y, x, unit, rng)[..., None]
    picture = np.concatenate([_reduce(picture[..., channel])[..., None] for channel in range(3)], axis=-1)
    picture = picture + rng.normal(0, 0.012, picture.shape)
    return (255 * picture.clip(0, 1) + 0.5).astype(np.uint8), _reduce((depth > 0).astype(float)) > 0.5


def _reduce(plane: np.ndarray) -> np.ndarray:
    height, width = (side // SUPERSAMPLING for side in plane.shape)
    return plane.reshape(height, SUPERSAMPLING, width, SUPERSAMPLING).mean(axis=(1, 3))


def _noise(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit variance; `scale` is the size of its blobs in pixels."""
    spectrum = fourier_gaussian(np.fft.rfft2(rng.normal(size=shape)), scale, n=shape[1])
    noise = np.fft.irfft2(spectrum, shape)
    return (noise - noise.mean()) / noise.std()


def _lesion_depth(y: np.ndarray, x: np.ndarray, unit: int, rng: np.random.Generator) -> np.ndarray:
    """Depth inside the lesion, one or two warped ellipses: positive inside, about 1 at the centre."""
    warp = rng.uniform(0.006, 0.022)
    warped_y = y + 2 * warp * _noise(y.shape, unit * 0.09, rng) + 0.6 * warp * _noise(y.shape, unit * 0.022, rng)
    warped_x = x + 2 * warp * _noise(y.shape, unit * 0.09, rng) + 0.6 * warp * _noise(y.shape, unit * 0.022, rng)
    centre = rng.uniform([-0.17, -0.28], [0.17, 0.28])
    radius = rng.choice([rng.uniform(0.13, 0.22), rng.uniform(0.20, 0.36)])
    depth = _lobe(warped_y, warped_x, centre, radius, rng)
    if rng.random() < 0.4:  # a second lobe makes it asymmetric
        angle = rng.uniform(0, 2 * np.pi)
        aside = centre + radius * rng.uniform(0.6, 0.9) * np.array([np.sin(angle), np.cos(angle)])
        depth = np.maximum(depth, _lobe(warped_y, warped_x, aside, radius * rng.uniform(0.45, 0.7), rng))
    return depth


def _lobe(y: np.ndarray, x: np.ndarray, centre: np.ndarray, radius: float, rng: np.random.Generator) -> np.ndarray:
    """An ellipse whose radius varies with the angle by a few Fourier terms."""
    tilt = rng.uniform(0, np.pi)
    stretch = rng.uniform(1.0, 1.35)
    dy, dx = y - centre[0], x - centre[1]
    along, across = dx * np.cos(tilt) + dy * np.sin(tilt), dy * np.cos(tilt) - dx * np.sin(tilt)
    angle = np.arctan2(across, along)
    border = sum(
        rng.normal(0, 0.16) / order * np.cos(order * angle + rng.uniform(0, 2 * np.pi)) for order in range(2, 8)
    )
    return 1 - np.hypot(along / stretch, across * stretch) / (radius * (1 + border))


def _skin_absorption(y: np.ndarray, x: np.ndarray, unit: int, rng: np.random.Generator) -> np.ndarray:
    """Skin lines, mottling, redness, freckles, and sometimes a faint brown patch that is not a lesion."""
    lines = gaussian_filter(rng.normal(size=y.shape), (unit * 0.003, unit * 0.02), mode="wrap")
    melanin = 0.05 + 0.015 * _noise(y.shape, unit * 0.008, rng) + 0.015 * lines / lines.std()
    blood = 0.05 + rng.uniform(0.02, 0.06) * _noise(y.shape, unit * 0.15, rng)
    for _ in range(rng.poisson(5)):
        centre = rng.uniform(-0.6, 0.6, 2)
        spread = rng.uniform(0.008, 0.02)
        melanin = melanin + rng.uniform(0.05, 0.3) * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / spread**2)
    if rng.random() < 0.25:
        angle = rng.uniform(0, 2 * np.pi)
        patch = _lobe(y, x, np.array([0.5 * np.sin(angle), 0.65 * np.cos(angle)]), 0.2, rng)
        melanin = melanin + 0.12 / (1 + np.exp(-patch / 0.15))
    if rng.random() < 0.25:
        centre = rng.uniform(-0.6, 0.6, 2)
        blood = blood + 0.3 * np.exp(-((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / rng.uniform(0.15, 0.3) ** 2)
    return melanin[..., None] * MELANIN + blood[..., None] * BLOOD


def _lesion_absorption(
    depth: np.ndarray, y: np.ndarray, x: np.ndarray, unit: int, rng: np.random.Generator
) -> np.ndarray:
    """Pigment: a soft border, uneven density, a network of lines, globules, and sometimes a blue-grey veil."""
    pale = rng.random() < 0.3
    density = rng.uniform(0.28, 0.42) if pale else rng.uniform(0.6, 1.5)
    inside = 1 / (1 + np.exp(-depth / rng.uniform(0.03, 0.12)))
    uneven = 1 + 0.25 * _noise(depth.shape, unit * 0.06, rng) + 0.2 * _noise(depth.shape, unit * 0.015, rng)
    fine = _noise(depth.shape, unit * 0.011, rng)
    network = rng.uniform(0.1, 0.5) * (0.8 - np.abs(fine))  # thin dark lines where the noise changes sign
    centre_weight = 1 + rng.uniform(-0.2, 0.6) * np.clip(depth, 0, 1)
    melanin = density * inside * (uneven * centre_weight + network).clip(0.35, None)
    if rng.random() < 0.5:
        melanin = melanin + density * _globules(depth, y, x, rng)
    absorption = melanin[..., None] * MELANIN + 0.15 * inside[..., None] * BLOOD
    if not pale and rng.random() < 0.35:
        veil = 1 / (1 + np.exp(-(depth - 0.35 + 0.25 * _noise(depth.shape, unit * 0.07, rng)) / 0.08))
        absorption = absorption + rng.uniform(0.4, 0.9) * (veil * inside)[..., None] * DEEP_MELANIN
    return absorption


def _globules(depth: np.ndarray, y: np.ndarray, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    globules = np.zeros_like(depth)
    where = np.argwhere((depth > 0.05) & (depth < 0.5))
    for row, column in where[rng.integers(len(where), size=rng.integers(8, 35))]:
        distance = (y - y[row, column]) ** 2 + (x - x[row, column]) ** 2
        globules = np.maximum(globules, np.exp(-distance / rng.uniform(0.006, 0.016) ** 2))
    return globules * rng.uniform(0.4, 0.9)


def _add_hairs(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds curved dark hairs; many pictures get none."""
    height, width = picture.shape[:2]
    hairs = Image.new("L", (width, height))
    draw = ImageDraw.Draw(hairs)
    main_angle = rng.uniform(0, np.pi)
    step = np.linspace(0, 1, 24)[:, None]
    for _ in range(rng.choice([0, 0, 3, 6, 14]) + rng.integers(0, 3)):
        angle = main_angle + rng.normal(0, 0.45)
        length = rng.uniform(0.25, 1.2) * height
        start = rng.uniform([0, 0], [width, height])
        end = start + length * np.array([np.cos(angle), np.sin(angle)])
        bend = (start + end) / 2 + rng.normal(0, 0.12 * length, 2)
        curve = (1 - step) ** 2 * start + 2 * step * (1 - step) * bend + step**2 * end
        draw.line([tuple(point) for point in curve], fill=int(rng.integers(150, 235)), width=int(rng.integers(1, 4)))
    opacity = gaussian_filter(np.asarray(hairs, dtype=float) / 255, 0.7)[..., None]
    colour = rng.uniform(0.1, 0.4) * np.array([1.0, 0.65, 0.45])
    return picture * (1 - opacity) + colour * opacity


def _add_bubbles(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds gel bubbles, bright rims with a glint, and scattered specular specks."""
    height, width = picture.shape[:2]
    shine = Image.new("L", (width, height))
    draw = ImageDraw.Draw(shine)
    for _ in range(rng.poisson(rng.choice([0, 2, 9]))):
        radius = rng.uniform(0.008, 0.035) * height
        column, row = rng.uniform([0, 0], [width, height])
        start = rng.uniform(0, 360)
        box = (column - radius, row - radius, column + radius, row + radius)
        draw.arc(box, start, start + rng.uniform(120, 360), fill=int(rng.integers(70, 150)), width=2)
        glint = (column - radius * 0.5, row - radius * 0.6, column - radius * 0.1, row - radius * 0.2)
        draw.ellipse(glint, fill=int(rng.integers(150, 255)))
    centre = rng.uniform([0, 0], [width, height])
    for _ in range(rng.choice([0, 0, 20, 60])):
        column, row = centre + rng.normal(0, 0.15 * height, 2)
        end = (column + rng.normal(0, 4), row + rng.normal(0, 4))
        draw.line([(column, row), end], fill=int(rng.integers(80, 200)), width=1)
    opacity = gaussian_filter(np.asarray(shine, dtype=float) / 255, 0.8)[..., None]
    return picture * (1 - opacity) + opacity


def _light(y: np.ndarray, x: np.ndarray, unit: int, rng: np.random.Generator) -> np.ndarray:
    """The instrument's light: a gradient, darker towards the rim, and almost black outside the round aperture."""
    angle = rng.uniform(0, 2 * np.pi)
    slope = 1 + rng.uniform(0.05, 0.30) * (x * np.cos(angle) + y * np.sin(angle))
    centre = rng.uniform(-0.06, 0.06, 2)
    distance = np.hypot(y - centre[0], x - centre[1])
    fall = 1 - rng.uniform(0.25, 0.55) * (distance / 0.8) ** 3
    aperture = rng.uniform(0.60, 0.74)
    dark = 1 / (1 + np.exp((distance - aperture) / rng.uniform(0.015, 0.035)))
    return rng.uniform(0.92, 1.04) * slope * fall.clip(0.2, None) * (0.12 + 0.88 * dark)
