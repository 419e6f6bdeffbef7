"""Drawing at the source's own frames, in the source's own colours.

Pictures stay in YUV 4:2:0 planes, so that what is not touched stays exactly as it was and a 1080p frame costs
milliseconds. All planes are upright, with even sides.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from av.video.frame import VideoFrame

from avseg_cli.base.grids import resized
from avseg_cli.media.scale import scaled
from avseg_cli.media.video import BT709, FULL_RANGE, LIMITED_RANGE, UNSPECIFIED, Picture, Pictures, even, is_yuv
from avseg_cli.outputs.contour import Contour
from avseg_cli.outputs.labels import Labels
from avseg_cli.outputs.logits import EDGE, logit
from avseg_cli.outputs.palette import palette, places_in_palette, spread
from avseg_cli.outputs.style import Style
from avseg_cli.outputs.yuv import to_yuv
from avseg_cli.tracks.tracker import Tracked


class Upsampler:
    """Logits at a picture's full resolution: ``transforms.upsample_logits`` but for rounding."""

    def __init__(self, low_res: int, image_size: int, size: tuple[int, int]) -> None:
        self.size, self._low, self._image = size, (low_res, low_res), (image_size, image_size)

    def full(self, logits: np.ndarray) -> np.ndarray:
        """(h, w) float32 -> (H, W); what is not of the model's own grid is enlarged in one step."""
        return resized(resized(logits, self._image) if logits.shape == self._low else logits, self.size)

    def region(self, wanted: np.ndarray, margin: int) -> tuple[slice, slice]:
        """Rows and columns, with even ends, that hold all True low-resolution cells and ``margin`` pixels more."""
        rows, columns = (_reach(wanted.any(1 - axis), self.size[axis], margin) for axis in (0, 1))
        return rows, columns


def _reach(wanted: np.ndarray, full: int, margin: int) -> slice:
    places, low = np.flatnonzero(wanted), len(wanted)
    first, last = (places[0] - 2) * full // low - margin, -(-(places[-1] + 3) * full // low) + margin
    return slice(max(0, first) // 2 * 2, min(full, -(-last // 2) * 2))


def opacity(margin: np.ndarray, top: int, ground: int = 0) -> np.ndarray:
    """How much each pixel belongs to the mask, by how far its logit is above the threshold: a soft edge.

    margin: float32 (H, W), which is lost. Returns ``ground`` outside to ``ground + top`` inside, uint8 where that is
    enough, else uint16.
    """
    kind = cv2.CV_8U if ground + top < 256 else cv2.CV_16U
    np.clip(margin, -0.5 / EDGE, 0.5 / EDGE, out=margin)
    return cv2.addWeighted(margin, EDGE * top, margin, 0, ground + top / 2, dtype=kind)


class Highlighter:
    """Draws masks into the planes of one video's frames."""

    def __init__(self, video: Pictures, low_res: int, image_size: int, threshold: float, style: Style) -> None:
        self.style, self.level = style, np.float32(logit(threshold))
        self.height, self.width = even(video.height), even(video.width)
        self.upsampler = Upsampler(low_res, image_size, (self.height, self.width))
        self.black = 0 if video.full_range else 16
        colours = palette(style.color)
        self.tints = np.array([to_yuv(own, video) for own in colours], np.int16)
        self.contour = Contour(video, colours) if style.contour else None
        self.labels = Labels(video, colours) if style.labels else None

    def draw(self, planes: list[np.ndarray], logits: np.ndarray, numbers: np.ndarray) -> None:
        """Highlight in place: planes are writable uint8 Y (H, W), U and V (H/2, W/2).

        numbers: of the nearest source at each place, (h, w), which have the colours of the palette in turn.
        """
        margin = logits - self.level
        shown = min(1.0, max(0.0, float(margin.max()) * EDGE + 0.5))  # fades the dimming in and out with the mask
        if shown == 0.0:
            return
        rest = 1 - self.style.dim * shown
        region = self.upsampler.region(margin > -0.5 / EDGE, self.contour.reach if self.contour else 0)
        alpha = opacity(self.upsampler.full(margin)[region], 255)
        self._dim(planes, region, alpha, rest)
        places = places_in_palette(numbers)
        self._colour(planes, region, alpha, places)
        if self.contour:
            self.contour.draw(planes, margin, places)
        if self.labels:
            self.labels.draw(planes, margin, numbers)

    def learn(self, tracked: Tracked | None) -> None:
        """Take the names of the sources of a mask that is to be drawn; they are written where the style asks for it."""
        if self.labels and tracked:
            self.labels.learn(tracked.sources)

    def _dim(self, planes: list[np.ndarray], region: tuple[slice, slice], alpha: np.ndarray, rest: float) -> None:
        """Darken what does not sound, colours in step with brightness so that it does not look more vivid."""
        _fade(planes[:1], region, alpha, rest, self.black)
        _fade(planes[1:], _half(region), np.ascontiguousarray(alpha[::2, ::2]), rest, 128)

    def _colour(
        self, planes: list[np.ndarray], region: tuple[slice, slice], alpha: np.ndarray, places: np.ndarray
    ) -> None:
        """Mix the tints into the colour planes; brightness stays, so that the picture stays readable."""
        half = _half(region)
        share = alpha[::2, ::2].astype(np.int16)
        share *= round(self.style.opacity * 128)
        share >>= 8  # 0 to 127, in 1/128
        own = spread(places, planes[1].shape, half)
        for index, plane in enumerate(planes[1:], start=1):
            part = plane[half]
            change = np.take(self.tints[:, index], own) - part.astype(np.int16)  # within +-255, times 127 fits int16
            change *= share
            change += 64
            change >>= 7
            np.add(part, change, out=part, casting="unsafe")


def _half(region: tuple[slice, slice]) -> tuple[slice, slice]:
    rows, columns = (slice(side.start // 2, side.stop // 2) for side in region)
    return rows, columns


def _fade(planes: list[np.ndarray], region: tuple[slice, slice], alpha: np.ndarray, rest: float, ground: int) -> None:
    """plane -> ground + (plane - ground) * gain, gain from ``rest`` where alpha is 0 to 1 where it is 255."""
    gain = cv2.convertScaleAbs(alpha, alpha=1 - rest, beta=255 * rest)
    offset = cv2.convertScaleAbs(gain, alpha=-ground / 255, beta=ground)
    least = round(255 * rest) / 255  # as where alpha is 0, so that the region's edge does not show
    for plane in planes:
        part = cv2.add(cv2.multiply(plane[region], gain, scale=1 / 255), offset)
        cv2.convertScaleAbs(plane, dst=plane, alpha=least, beta=round(ground * (1 - least)))
        plane[region] = part


def plane_array(frame: VideoFrame, index: int, dtype: type = np.uint8) -> np.ndarray:
    """One plane of a frame as an array (H, W) that shares its memory."""
    plane = frame.planes[index]
    row = plane.line_size // np.dtype(dtype).itemsize
    values = np.frombuffer(plane, dtype)
    return values[: row * plane.height].reshape(plane.height, row)[:, : plane.width]


def upright(picture: Picture, pixel_format: str = "yuv420p", full_range: bool | None = None) -> VideoFrame:
    """A new frame in planar ``pixel_format``: upright, with even sides (the last row or column repeated).

    YUV sources keep their matrix and, unless ``full_range`` says otherwise, their range, so that their values are
    not touched; RGB becomes BT.709.
    """
    source = picture.frame
    video = picture.video if full_range is None else replace(picture.video, full_range=full_range)
    stored = (video.height, video.width) if video.rotation % 180 == 90 else (video.width, video.height)
    kept = same_layout(source, pixel_format, stored) and video.full_range == picture.video.full_range
    planar = source if kept else _converted(picture, pixel_format, stored, video)
    out = blank(video, even(video.width), picture.pts, pixel_format)
    dtype = np.uint16 if "10" in pixel_format else np.uint8
    for index in range(len(out.planes)):
        values = np.rot90(plane_array(planar, index, dtype), video.rotation // 90)
        target = plane_array(out, index, dtype)
        height, width = values.shape
        target[:height, :width] = values
        target[height:] = target[height - 1 : height]
        target[:, width:] = target[:, width - 1 : width]
    return out


def blank(video: Pictures, width: int, pts: int, pixel_format: str = "yuv420p") -> VideoFrame:
    """A frame of undefined pixels, as high as the video, with the video's colour tags and the time ``pts``."""
    out = VideoFrame(width, even(video.height), pixel_format)
    out.pts, out.time_base = pts, video.time_base
    out.colorspace, out.color_primaries, out.color_trc = video.matrix, video.primaries, video.transfer
    out.color_range = FULL_RANGE if video.full_range else LIMITED_RANGE
    return out


def same_layout(frame: VideoFrame, pixel_format: str, stored: tuple[int, int]) -> bool:
    """Whether a frame's planes can be used as they are (yuvj420p differs from yuv420p in its tag only)."""
    return frame.format.name.replace("yuvj", "yuv") == pixel_format and (frame.width, frame.height) == stored


def _converted(picture: Picture, pixel_format: str, stored: tuple[int, int], video: Pictures) -> VideoFrame:
    """The picture in another format and size, in the range of ``video``."""
    frame = picture.frame
    if not is_yuv(frame):
        return scaled(frame, *stored, pixel_format, dst_colorspace=BT709, dst_color_range=LIMITED_RANGE)
    kept = video.guessed_matrix if frame.colorspace in (0, UNSPECIFIED) else None
    return scaled(
        frame,
        *stored,
        pixel_format,
        src_colorspace=kept,
        dst_colorspace=kept,
        src_color_range=FULL_RANGE if picture.video.full_range else LIMITED_RANGE,
        dst_color_range=FULL_RANGE if video.full_range else LIMITED_RANGE,
    )
