"""One clip from seed to pixels: a scene of moving cut-outs, its masks, and the sound that goes with it."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from avseg_cli.data.subsets import SUBSETS
from avseg_cli.synth.library import DISTRACTOR, SPLITS, Cutout, Library, Media
from avseg_cli.synth.sounds import OFF_SCREEN, SECONDS, SoundSource, make_schedule, make_waveform

VIDEO_FPS = 25
# AVSBench takes frame int(l*fps + 15/16*fps) of second l; the same moment here, video or not.
FRAME_TIMES = tuple(int(second * VIDEO_FPS + 15 / 16 * VIDEO_FPS) / VIDEO_FPS for second in range(SECONDS))

_BILINEAR = Image.Resampling.BILINEAR


@dataclass(frozen=True)
class Motion:
    """A smooth path: value(t) = start + drift·t + sway·sin(rate·t + phase); positions in frame heights."""

    start: float
    drift: float = 0.0
    sway: float = 0.0
    rate: float = 0.0
    phase: float = 0.0

    def at(self, time: float) -> float:
        return self.start + self.drift * time + self.sway * float(np.sin(self.rate * time + self.phase))


@dataclass(frozen=True)
class Layer:
    """A prepared cut-out and its path. label: its value in the object map; size: side in frame heights."""

    name: str
    label: int
    picture: Image.Image  # premultiplied RGBa
    x: Motion
    y: Motion
    scale: Motion
    angle: Motion  # degrees
    tilt: tuple[float, float]  # perspective terms
    shadow: tuple[float, float, float] | None  # dx, dy in frame heights, darkness


@dataclass(frozen=True)
class Scene:
    """Everything that is drawn, back to front, and how the camera and the recording treat it."""

    background: Image.Image
    background_name: str
    layers: list[Layer]
    pan: tuple[Motion, Motion]
    zoom: Motion
    tone: tuple[float, float, np.ndarray]  # contrast, brightness, per-channel gain (3,)
    noise: float  # standard deviation, of 255
    jpeg_quality: int | None
    blur: float  # pixels at height 224
    seed: tuple[int, ...]


@dataclass(frozen=True)
class SynthClip:
    """A finished clip.

    frames: uint8 (5, H, W, 3). waveform: float32 (80000,), 16 kHz mono. masks: bool (5, H, W), the visible
    pixels of what sounds in each second. object_map: uint8 (5, H, W), 0 background, 1 + index of the category
    of the topmost object, 255 a distractor. sounding: per second the categories heard and seen.
    off_screen: per second the categories heard but not seen. sounding_labels: per second the values in the object
    map of what sounds. parameters: what the manifest records.
    """

    frames: np.ndarray
    waveform: np.ndarray
    masks: np.ndarray
    object_map: np.ndarray
    sounding: list[list[str]]
    off_screen: list[list[str]]
    sounding_labels: list[list[int]]
    parameters: dict[str, Any]
    scene: Scene = field(repr=False)


def compose_clip(
    library: Library,
    split: str,
    seed: int,
    index: int = 0,
    size: tuple[int, int] = (224, 224),
    layout: str = "ms3",
    elsewhere: float = 0.0,
) -> SynthClip:
    """Make clip ``index`` of a split; the same library, split, seed and index give the same clip.

    size: (height, width) in pixels. layout: the subset it is made like: one source
    all along (s4), or several that come and go. elsewhere: how likely nothing in the picture sounds, but
    something else does: there is nothing to mark.
    """
    key = (seed, SPLITS.index(split), index)
    rng = np.random.default_rng(key)
    media = library.splits[split]
    steady = SUBSETS[layout].single
    names = list(media.objects)
    count = int(rng.choice((1, 2, 3, 4), p=(0.6, 0.3, 0.1, 0.0) if steady else (0.17, 0.41, 0.28, 0.14)))
    visible = [names[i] for i in rng.permutation(len(names))[:count]]
    hidden = None
    others = [name for name in library.categories if name not in visible]
    only_hidden = elsewhere > 0 and not steady and rng.random() < elsewhere
    if not steady and others and (only_hidden or rng.random() < OFF_SCREEN):
        hidden = others[rng.integers(len(others))]
    plan = make_schedule(len(visible), rng, steady) & (not only_hidden)
    waveform, sources, sound_parameters = make_waveform(media, visible, plan, rng, hidden)
    scene = _make_scene(library, media, visible, size[1] / size[0], rng, key)
    drawn = [draw(scene, time, size) for time in FRAME_TIMES]
    object_map = np.stack([labels for _, labels in drawn])
    sounding = _by_second(sources, on_screen=True)
    labels = [[library.categories.index(name) + 1 for name in names] for names in sounding]
    masks = np.stack([np.isin(values, heard) for values, heard in zip(object_map, labels, strict=True)])
    parameters = {
        "seed": seed,
        "index": index,
        "split": split,
        "layout": layout,
        "category": visible[0],
        "background": scene.background_name,
        "objects": [_layer_record(layer) for layer in scene.layers],
        "sources": [_source_record(source) for source in sources],
        "jpeg_quality": scene.jpeg_quality,
        "noise": round(scene.noise, 2),
        **sound_parameters,
    }
    frames = np.stack([frame for frame, _ in drawn])
    off_screen = _by_second(sources, on_screen=False)
    return SynthClip(frames, waveform, masks, object_map, sounding, off_screen, labels, parameters, scene)


def _by_second(sources: list[SoundSource], on_screen: bool) -> list[list[str]]:
    chosen = [source for source in sources if source.on_screen == on_screen]
    return [sorted(source.category for source in chosen if source.sounding[second]) for second in range(SECONDS)]


def _layer_record(layer: Layer) -> dict[str, object]:
    motions = {"x": layer.x, "y": layer.y, "size": layer.scale, "angle": layer.angle}
    # every motion as its value at the start, its change per second, and how far it sways
    paths = {
        name: [round(float(value), 4) for value in (motion.at(0), motion.drift, motion.sway)]
        for name, motion in motions.items()
    }
    tilt = [round(value, 3) for value in layer.tilt]
    return {
        "file": layer.name,
        "label": layer.label,
        **paths,
        "tilt": tilt,
        "shadow": layer.shadow is not None,
    }


def _source_record(source: SoundSource) -> dict[str, object]:
    return {
        "file": source.recording,
        "category": source.category,
        "on_screen": source.on_screen,
        "sounding": source.sounding.astype(int).tolist(),
        "speed": source.speed,
        "gain_db": source.gain_db,
    }


def _make_scene(
    library: Library,
    media: Media,
    visible: list[str],
    aspect: float,
    rng: np.random.Generator,
    key: tuple[int, ...],
) -> Scene:
    background_name, background = media.backgrounds[rng.integers(len(media.backgrounds))]
    if rng.random() < 0.5:
        background = background.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    ambient = np.asarray(background.resize((1, 1), Image.Resampling.BOX), dtype=np.float32)[0, 0]
    cutouts = [media.objects[name][rng.integers(len(media.objects[name]))] for name in visible]
    if media.distractors:
        extra = int(rng.choice((0, 1, 2), p=(0.45, 0.35, 0.2)))
        cutouts += [media.distractors[rng.integers(len(media.distractors))] for _ in range(extra)]
    placed = _places(len(cutouts), aspect, rng)
    layers = [
        _make_layer(cutout, _label(library, cutout), place, ambient, rng)
        for cutout, place in zip(cutouts, placed, strict=True)
    ]
    if rng.random() < 0.25:
        layers.append(_patch(media, layers, aspect, rng))
    order = rng.permutation(len(layers))
    return Scene(
        background,
        background_name,
        [layers[i] for i in order],
        (
            Motion(0, *rng.normal(0, (0.008, 0.012)), 1.3, rng.uniform(0, 6)),
            Motion(0, *rng.normal(0, (0.006, 0.01)), 1.1, rng.uniform(0, 6)),
        ),
        Motion(rng.uniform(1.0, 1.12), rng.normal(0, 0.012)),
        (rng.uniform(0.75, 1.2), rng.normal(0, 12), 1 + rng.normal(0, 0.05, 3)),
        noise=float(max(0.0, rng.normal(2, 3))),
        jpeg_quality=int(rng.integers(35, 96)) if rng.random() < 0.8 else None,
        blur=float(rng.uniform(0.3, 0.9)) if rng.random() < 0.3 else 0.0,
        seed=key,
    )


def _label(library: Library, cutout: Cutout) -> int:
    return library.categories.index(cutout.category) + 1 if cutout.category else DISTRACTOR


def _places(count: int, aspect: float, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """(x, y, size) per object in frame heights: 15–60 % of the frame, overlapping only in part."""
    largest = {1: 0.75, 2: 0.65, 3: 0.54}.get(count, 0.45)
    places: list[tuple[float, float, float]] = []
    for _ in range(count):
        best, best_room = None, -np.inf
        for _ in range(12):
            size = float(rng.uniform(0.3, largest) if rng.random() < 0.85 else rng.uniform(0.15, 0.3))
            margin = 0.42 * size
            x, y = rng.uniform(margin, aspect - margin), rng.uniform(margin, 1 - margin)
            room = min((np.hypot(x - px, y - py) - 0.42 * (size + other) for px, py, other in places), default=1.0)
            if room > best_room:
                best, best_room = (float(x), float(y), size), room
            if room > 0:
                break
        places.append(best)
    return places


def _make_layer(
    cutout: Cutout,
    label: int,
    place: tuple[float, float, float],
    ambient: np.ndarray,
    rng: np.random.Generator,
) -> Layer:
    x, y, size = place
    # a long thin object of a given length is hardly there: let it be longer
    size = min(0.75, size * (max(cutout.pixels.size) / min(cutout.pixels.size)) ** 0.4)
    speed = 0.03 if rng.random() < 0.7 else 0.0
    shadow = None
    if rng.random() < 0.45:
        shadow = (float(rng.normal(0, 0.02)), float(rng.uniform(0.005, 0.035)), float(rng.uniform(0.2, 0.6)))
    picture = _dressed(cutout.pixels, ambient, rng)
    return Layer(
        cutout.name,
        label,
        picture,
        _path(x, speed, rng),
        _path(y, 0.6 * speed, rng),
        Motion(size, rng.normal(0, 0.025 * size), 0.03 * size * rng.random(), *_rhythm(rng, 3)),
        Motion(rng.normal(0, 14), rng.normal(0, 3), abs(rng.normal(0, 4)), *_rhythm(rng, 4)),
        (float(rng.normal(0, 0.12)), float(rng.normal(0, 0.12))),
        shadow,
    )


def _path(start: float, speed: float, rng: np.random.Generator) -> Motion:
    drift = rng.normal(0, speed)
    # the middle of the way is at the chosen place, so that nobody walks out of the picture
    return Motion(start - 2.5 * drift, drift, abs(rng.normal(0, speed)), *_rhythm(rng, 4))


def _rhythm(rng: np.random.Generator, fastest: float) -> tuple[float, float]:
    """Rate, in radians a second, and phase of a sway."""
    return rng.uniform(0.5, fastest), rng.uniform(0, 6)


def _dressed(picture: Image.Image, ambient: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Mirror, colour, sharpness and edges of one cut-out; returns premultiplied RGBa."""
    if rng.random() < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(picture, dtype=np.float32)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    if rng.random() < 0.6:  # cut-outs bring a rim of the place they were cut from
        eroded = picture.getchannel("A").filter(ImageFilter.MinFilter(3))
        alpha = np.asarray(eroded, dtype=np.float32)[..., None]
    grey = colour.mean(axis=2, keepdims=True)
    colour = grey + (colour - grey) * rng.uniform(0.65, 1.25)
    colour = (colour - 128) * rng.uniform(0.8, 1.2) + 128 + rng.normal(0, 12)
    colour = colour * (1 + rng.normal(0, 0.06, 3))
    matched = rng.uniform(0, 0.22)  # light of the place falls on the object
    colour = colour * (1 - matched) + matched * colour * (ambient + 40) / 168
    dressed = np.concatenate([np.clip(colour, 0, 255), alpha], axis=2).astype(np.uint8)
    result = Image.fromarray(dressed, "RGBA").convert("RGBa")
    if rng.random() < 0.35:
        result = result.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.4)))
    return result


def _patch(media: Media, layers: list[Layer], aspect: float, rng: np.random.Generator) -> Layer:
    """A piece of another photograph in some object's outline: a pasted edge that is no object."""
    photo_name, photo = media.backgrounds[rng.integers(len(media.backgrounds))]
    shape = layers[rng.integers(len(layers))].picture.getchannel("a")
    outline = shape.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    width, height = outline.size
    left, top = (
        int(rng.integers(0, max(1, photo.width - width))),
        int(rng.integers(0, max(1, photo.height - height))),
    )
    piece = photo.crop((left, top, left + width, top + height)).convert("RGBA")
    piece.putalpha(outline)
    place = (
        float(rng.uniform(0.1, aspect - 0.1)),
        float(rng.uniform(0.1, 0.9)),
        float(rng.uniform(0.12, 0.28)),
    )
    return _make_layer(Cutout(f"{photo_name} (patch)", "", piece), DISTRACTOR, place, np.full(3, 128.0), rng)


def draw(scene: Scene, time: float, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scene at a time in seconds: frame uint8 (H, W, 3) and object map uint8 (H, W)."""
    height, width = size
    zoom = scene.zoom.at(time)
    shift = np.array([scene.pan[0].at(time), scene.pan[1].at(time)])
    canvas = _draw_background(scene.background, zoom, shift, size)
    labels = Image.new("L", (width, height), 0)
    for layer in scene.layers:
        _draw_layer(canvas, labels, layer, time, zoom, shift)
    if scene.blur:
        canvas = canvas.filter(ImageFilter.GaussianBlur(scene.blur * height / 224))
    return _developed(canvas, scene, time), np.asarray(labels)


def _draw_background(photo: Image.Image, zoom: float, shift: np.ndarray, size: tuple[int, int]) -> Image.Image:
    height, width = size
    # photo pixels per frame pixel; zoomed out as far as the photo goes and no further
    scale = min(0.88 / zoom, 0.999) * min(photo.width / width, photo.height / height)
    centre = np.array([photo.width, photo.height]) / 2 - shift * height * scale * 0.6
    left, top = centre[0] - scale * width / 2, centre[1] - scale * height / 2
    left = float(np.clip(left, 0, photo.width - scale * width))
    top = float(np.clip(top, 0, photo.height - scale * height))
    box = (left, top, left + scale * width, top + scale * height)
    return photo.resize((width, height), _BILINEAR, box=box)


def _draw_layer(
    canvas: Image.Image, labels: Image.Image, layer: Layer, time: float, zoom: float, shift: np.ndarray
) -> None:
    width, height = canvas.size
    centre_x = ((layer.x.at(time) - 0.5 * width / height) * zoom + shift[0]) * height + width / 2
    centre_y = ((layer.y.at(time) - 0.5) * zoom + shift[1]) * height + height / 2
    side = max(8.0, layer.scale.at(time) * zoom * height)
    piece = _warped(layer, side, np.deg2rad(layer.angle.at(time)))
    corner = (int(round(centre_x - piece.width / 2)), int(round(centre_y - piece.height / 2)))
    alpha = piece.getchannel("a")
    if layer.shadow is not None:
        dx, dy, darkness = layer.shadow
        veil = alpha.filter(ImageFilter.GaussianBlur(0.02 * height)).point(lambda value: int(value * darkness))
        canvas.paste((0, 0, 0), (corner[0] + int(dx * height), corner[1] + int(dy * height)), veil)
    _over(canvas, piece, alpha, corner)
    solid = alpha.point([0] * 128 + [255] * 128)
    labels.paste(layer.label, corner, solid)


def _warped(layer: Layer, side: float, angle: float) -> Image.Image:
    """The cut-out turned, tilted and sized, longer side ``side`` pixels, in a box that just holds it."""
    source = layer.picture
    scale = side / max(source.size)
    shrunk = source
    if scale < 0.75:  # shrink first: a warp alone would skip pixels and shimmer
        target = (max(2, round(source.width * scale * 1.15)), max(2, round(source.height * scale * 1.15)))
        shrunk = source.resize(target, Image.Resampling.BOX)
        scale = side / max(shrunk.size)
    cos, sin = np.cos(angle), np.sin(angle)
    w, h = shrunk.width * scale, shrunk.height * scale
    out = (int(abs(w * cos) + abs(h * sin)) + 6, int(abs(w * sin) + abs(h * cos)) + 6)
    # output pixel → source pixel: centre, turn back, unscale; the tilt is the projective row
    to_centre = np.array([[1, 0, -out[0] / 2], [0, 1, -out[1] / 2], [0, 0, 1.0]])
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [layer.tilt[0] / side, layer.tilt[1] / side, 1.0]])
    unscale = np.array([[1 / scale, 0, shrunk.width / 2], [0, 1 / scale, shrunk.height / 2], [0, 0, 1.0]])
    matrix = unscale @ turn @ to_centre
    coefficients = (matrix / matrix[2, 2]).ravel()[:8]
    return _transform(shrunk, out, coefficients)


def _transform(picture: Image.Image, out: tuple[int, int], coefficients: np.ndarray) -> Image.Image:
    # PIL warps RGBA by bands without regard to alpha, which is right for premultiplied colours
    bands = Image.merge("RGBA", picture.split())
    warped = bands.transform(out, Image.Transform.PERSPECTIVE, tuple(coefficients), _BILINEAR)
    return Image.merge("RGBa", warped.split())


def _over(canvas: Image.Image, piece: Image.Image, alpha: Image.Image, corner: tuple[int, int]) -> None:
    """canvas = piece + (1 − alpha)·canvas, for premultiplied pieces that may stick out of the canvas."""
    box = (corner[0], corner[1], corner[0] + piece.width, corner[1] + piece.height)
    below = canvas.crop(box)
    keep = ImageChops.invert(alpha)
    dimmed = ImageChops.multiply(below, Image.merge("RGB", (keep, keep, keep)))
    canvas.paste(ImageChops.add(dimmed, Image.merge("RGB", piece.split()[:3])), corner)


def _developed(canvas: Image.Image, scene: Scene, time: float) -> np.ndarray:
    """Tone, sensor noise and compression, as a camera and a file would add them: uint8 (H, W, 3)."""
    contrast, brightness, gain = scene.tone
    pixels = (np.asarray(canvas, dtype=np.float32) - 128) * contrast + (128 + brightness)
    pixels *= gain.astype(np.float32)
    if scene.noise > 0:
        rng = np.random.default_rng((*scene.seed, round(time * VIDEO_FPS)))
        pixels += scene.noise * rng.standard_normal(pixels.shape, dtype=np.float32)
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    if scene.jpeg_quality is None:
        return pixels
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=scene.jpeg_quality)
    return np.asarray(Image.open(buffer))
