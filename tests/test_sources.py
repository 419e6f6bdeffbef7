"""Sources told apart: pieces, tracks, names, and what the outputs say of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from plain_forms import decode_rle

from avseg_cli.base.errors import InputError
from avseg_cli.media.recording import Recording
from avseg_cli.media.video import probe
from avseg_cli.motion.timeline import Instant, Pair
from avseg_cli.outputs.borders import Borders
from avseg_cli.outputs.formats import open_writer
from avseg_cli.outputs.formats.masks import numbered
from avseg_cli.outputs.labels import Labels
from avseg_cli.outputs.palette import PALETTE, colour, palette
from avseg_cli.outputs.results import MaskResult
from avseg_cli.outputs.source_rows import ROWS, SourceRow, source_rows
from avseg_cli.outputs.stills import video_of
from avseg_cli.outputs.style import Style
from avseg_cli.outputs.writers import Job
from avseg_cli.outputs.yuv import to_yuv
from avseg_cli.scoring.source_scores import Named, score_sources
from avseg_cli.segment.render import _numbers, render
from avseg_cli.segment.runner import segment_video
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.tracks.naming import alike, named, scores
from avseg_cli.tracks.pieces import CRUMB, pieces, territories
from avseg_cli.tracks.track_list import TrackList
from avseg_cli.tracks.tracker import MEMORY, Told, Tracked, Tracker
from tests.media_files import Clip, LoudRed, rgb_of

SIDE = 64


def boxes(*places: tuple[int, int, int, int]) -> np.ndarray:
    """A mask with boxes at (row, column, height, width)."""
    mask = np.zeros((SIDE, SIDE), bool)
    for row, column, height, width in places:
        mask[row : row + height, column : column + width] = True
    return mask


def seen(tracker: Tracker, time: float, *places: tuple[int, int, int, int], **placed: np.ndarray) -> list[int]:
    """The numbers of the sources at the boxes' centres."""
    numbers = tracker.step(time, boxes(*places), placed).numbers
    return [int(numbers[row + height // 2, column + width // 2]) for row, column, height, width in places]


def test_pieces_hang_together_across_small_gaps_and_leave_crumbs() -> None:
    mask = boxes((4, 4, 20, 20), (4, 25, 20, 10), (40, 40, 12, 12), (60, 2, 1, 2))
    numbers = pieces(mask)
    assert numbers[10, 10] == numbers[10, 28] != numbers[45, 45]
    assert numbers[60, 2] == CRUMB
    assert ((numbers != 0) == mask).all()
    assert set(np.unique(pieces(boxes((9, 9, 1, 1))))) == {0, 1}, "the largest piece is none"


def test_territories_are_the_nearest_number() -> None:
    numbers = np.zeros((4, 9), np.int32)
    numbers[:, 0], numbers[:, 8] = 3, 7
    assert (territories(numbers) == [3, 3, 3, 3, territories(numbers)[0, 4], 7, 7, 7, 7]).all()
    assert (territories(np.zeros((3, 3), np.int32)) == 0).all()


def test_a_source_keeps_its_number_while_it_moves_and_over_a_gap() -> None:
    tracker = Tracker()
    for second in range(6):
        assert seen(tracker, second, (10, 4 + 5 * second, 12, 12), (45, 45, 12, 12)) == [1, 2]
    assert seen(tracker, 7, (45, 45, 12, 12)) == [2]
    assert seen(tracker, 6 + MEMORY - 1.5, (10, 30, 12, 12), (45, 45, 12, 12)) == [1, 2]
    assert seen(tracker, 30, (10, 30, 12, 12)) == [3], "what was silent for long is a new source"


def test_a_piece_broken_in_two_stays_one_source() -> None:
    tracker = Tracker()
    assert seen(tracker, 0, (10, 4, 12, 40)) == [1]
    assert seen(tracker, 1, (10, 4, 12, 16), (10, 26, 12, 18)) == [1, 1]


def test_sources_that_meet_stay_two_if_they_had_stood_apart() -> None:
    tracker = Tracker()
    for second in range(4):
        seen(tracker, second, (10, 4, 20, 20), (10, 30, 20, 20))
    assert seen(tracker, 4, (10, 4, 20, 22), (10, 26, 20, 24)) == [1, 2]
    assert seen(tracker, 5, (10, 4, 20, 22), (10, 26, 20, 24)) == [1, 2]
    tracker = Tracker()
    seen(tracker, 0, (10, 4, 20, 20), (10, 30, 20, 20))
    assert len(set(seen(tracker, 1, (10, 4, 20, 22), (10, 26, 20, 24)))) == 1, "one source, found in two at first"


@pytest.mark.parametrize(("missing", "numbers"), [(1, [1, 2]), (25, [1, 1])])
def test_sources_that_meet_after_one_flickered_stay_two(missing: int, numbers: list[int]) -> None:
    tracker = Tracker()
    for mask in range(100):
        seen(tracker, mask / 25, (10, 4, 20, 20), (10, 30, 20, 20))
    for mask in range(missing):
        seen(tracker, (100 + mask) / 25, (10, 4, 20, 20))
    assert seen(tracker, (100 + missing) / 25, (10, 4, 20, 22), (10, 26, 20, 24)) == numbers


def test_a_source_taken_for_a_part_of_another_leaves_no_piece_behind() -> None:
    tracker = Tracker()
    for second in range(4):
        seen(tracker, second, (4, 4, 10, 10))
    assert seen(tracker, 4, (4, 4, 10, 10), (4, 20, 10, 40)) == [1, 2]
    tracked = tracker.step(5, boxes((4, 4, 10, 36), (4, 50, 10, 10)), {})
    assert set(np.unique(tracked.numbers)) == {0, 1} and [told.id for told in tracked.sources] == [1]


def test_sources_of_other_names_are_never_taken_for_one() -> None:
    dog, cat = np.zeros((2, 32, 32), np.float32)
    dog[:, :13], cat[:, 14:] = 0.9, 0.9
    tracker = Tracker()
    seen(tracker, 0, (10, 4, 20, 20), (10, 30, 20, 20), dog=dog, cat=cat)
    assert seen(tracker, 1, (10, 4, 20, 22), (10, 26, 20, 24), dog=dog, cat=cat) == [1, 2]
    tracked = tracker.step(2, boxes((10, 4, 20, 20), (10, 30, 20, 20)), {"dog": dog, "cat": cat})
    assert [(told.id, told.label) for told in tracked.sources] == [(1, "dog"), (2, "cat")]


def test_a_name_is_the_kind_seen_under_the_piece_over_all_its_masks() -> None:
    dog, bird = np.zeros((2, 16, 16), np.float32)
    dog[:, :8], bird[:, 8:] = 0.8, 0.9
    piece = boxes((0, 0, 32, 32))
    found = scores(piece, {"dog": dog, "bird": bird})
    assert found == pytest.approx({"dog": 0.8, "bird": 0.0}, abs=1e-6)
    assert named(found, 1)[0] == "dog" and named({"dog": 0.1}, 1) == ("", 0.0) and named({}, 0) == ("", 0.0)
    assert alike({"dog": 0.8}, {"dog": 0.3}) == pytest.approx(1) and alike({"dog": 0.8}, {"bird": 0.9}) == 0
    assert scores(piece, {}) == {}


def test_every_number_in_a_mask_is_a_source_whatever_happens() -> None:
    """Boxes that come, go, jump, break and meet at random, in all lengths of steps."""
    rng = np.random.default_rng(5)
    for _ in range(60):
        tracker, time = Tracker(), 0.0
        for _ in range(12):
            places = [tuple(rng.integers((0, 0, 3, 3), (50, 50, 30, 30))) for _ in range(rng.integers(0, 5))]
            time += float(rng.choice((0.1, 1.0, 3.0)))
            mask = boxes(*places)
            tracked = tracker.step(time, mask, {})
            assert set(np.unique(tracked.numbers)) - {0, CRUMB} == {told.id for told in tracked.sources}
            assert ((tracked.numbers != 0) == mask).all()


def test_a_long_video_is_not_held() -> None:
    tracker = Tracker()
    for mask in range(300):
        seen(tracker, float(mask), (4 + 20 * (mask // 3 % 3), 4 + 14 * (mask // 9 % 4), 10, 10))
    assert len(tracker._tracks) < 10


def test_after_a_cut_numbers_begin_anew() -> None:
    tracker = Tracker()
    mask, nothing = boxes((10, 10, 20, 20)), {}
    assert [told.id for told in tracker.step(0, mask, nothing).sources] == [1]
    assert [told.id for told in tracker.step(1, mask, nothing, cut=True).sources] == [2]
    assert [told.id for told in tracker.step(2, mask, nothing).sources] == [2]


def test_a_cut_in_the_video_begins_the_numbers_anew() -> None:
    grounds = np.random.default_rng(0).integers(0, 200, (2, 12, 16, 1), np.uint8).repeat(10, 1).repeat(10, 2)
    frames = grounds.repeat(3, 3)[[0] * 25 + [1] * 35]  # 2.5 and 3.5 seconds
    frames[:, 40:80, 40:80] = 255, 0, 0
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 6 * 16_000)
    found = list(segment_video(Recording(frames, 10, noise), LoudRed()))
    assert [[source.id for source in one.sources] for one in found] == [[1], [1], [2], [2], [2], [2]]
    assert [one.cuts for one in found] == [(), (), (2.5,), (), (), ()]


@pytest.mark.parametrize("fps", (1, 10))
def test_a_flash_changes_no_numbers(fps: int) -> None:
    ground = np.random.default_rng(0).integers(0, 200, (12, 16, 1), np.uint8).repeat(10, 0).repeat(10, 1).repeat(3, 2)
    ground[40:80, 40:80] = 255, 0, 0
    frames = np.stack([ground] * 40)
    frames[15] = 255
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 4 * 16_000)
    found = list(segment_video(Recording(frames, 10, noise), LoudRed(), fps=fps))
    assert {source.id for one in found for source in one.sources} == {1}
    assert {one.cuts for one in found} == {()}


def test_time_passes_under_a_picture_that_is_held() -> None:
    """A source begins when its sound does, and one that is silent for longer than is remembered has a new number, as
    in a film of many equal pictures."""
    ground = np.random.default_rng(0).integers(0, 200, (120, 160, 1), np.uint8).repeat(3, 2)
    ground[40:80, 40:80] = 255, 0, 0
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 10 * 16_000)
    noise[: round(1.6 * 16_000)] = noise[3 * 16_000 : round(8.4 * 16_000)] = 0
    for rate in (0.1, 10):
        found = segment_video(Recording(np.stack([ground] * round(10 * rate)), rate, noise), LoudRed())
        borders, tracks = Borders(0.0), TrackList()
        for one in found:
            border = borders.step(one)
            tracks.take(border.seen, one.end, one.sketches, border.gone)
        times = [[pytest.approx(end, abs=0.1) for end in track.spans[0]] for track in tracks]
        assert times == [[1.6, 3], [8.4, 10]], rate


def result(index: int, mask: np.ndarray, tracker: Tracker | None, size: tuple[int, int] = (90, 160)) -> MaskResult:
    logits = np.where(mask, 4.0, -4.0).astype(np.float32)
    tracked = None if tracker is None else tracker.step(index + 0.9, mask, {"dog": np.full((16, 16), 0.6, np.float32)})
    return MaskResult(index, index + 0.9, index + 1.0, logits, size, 2 * SIDE, tracked=tracked)


TWO = boxes((10, 4, 20, 20), (34, 36, 20, 20))


def test_sources_of_a_result_are_its_mask_told_apart() -> None:
    sources = result(0, TWO, Tracker()).sources
    whole = result(0, TWO, None)
    assert (sources[0].mask | sources[1].mask).tolist() == whole.mask.tolist()
    assert not (sources[0].mask & sources[1].mask).any()
    assert sum(source.area for source in sources) == whole.area
    assert repr(sources[0]).startswith("Source(1, 'dog', area=") and sources[0].confidence == pytest.approx(
        0.982, abs=0.001
    )
    x, y, width, height = sources[1].bbox
    assert sources[1].mask[y : y + height, x : x + width].sum() == sources[1].area
    assert [source.id for source in whole.sources] == [1] and (whole.sources[0].mask == whole.mask).all()
    assert result(0, boxes(), Tracker()).sources == () == result(0, boxes(), None).sources


def test_sources_with_one_cell_between_them_share_it() -> None:
    mask = boxes((10, 4, 40, 25), (10, 31, 40, 25))
    tracked = Tracked(np.where(mask, np.where(np.arange(SIDE) < 30, 1, 2), 0).astype(np.int32), ())
    tracked = Tracked(tracked.numbers, Tracker().step(0, TWO, {}).sources)
    logits = np.where(mask, 4.0, -1.0).astype(np.float32)
    one, two = MaskResult(0, 0.9, 1.0, logits, (256, 256), 256, tracked=tracked).sources
    assert one.bbox[0] + one.bbox[2] <= two.bbox[0]


def test_tracks_have_the_times_at_which_they_sound() -> None:
    tracks, tracker = TrackList(), Tracker()
    for index, mask in enumerate((TWO, TWO, boxes((10, 4, 20, 20)), TWO)):
        made = result(index, mask, tracker)
        assert [one.id for one in made.sketches] == [source.id for source in made.sources]
        for one, source in zip(made.sketches, made.sources, strict=True):
            assert one.area == pytest.approx(source.area, rel=0.05), "by the cells of the model's grid"
        tracks.take(made.end - 1, made.end, made.sketches)
    first, second = (track.to_dict() for track in tracks)
    assert (first["id"], first["label"], first["masks"], first["times"]) == (1, "dog", 4, [[0, 4]])
    assert second["times"] == [[0, 2], [3, 4]]
    tracks.take(4.6, 5, result(4, boxes(), tracker).sketches, gone=4.2)
    assert [track.spans[-1] for track in tracks] == [(0, 4.2), (3, 4.2)]


def test_borders_lie_where_the_sound_changes_or_at_a_cut() -> None:
    quiet, loud = (np.full((96, 16), level, np.float16) for level in (-4, 2))
    turning = loud.copy()
    turning[:40] = -4
    changes = {  # what is seen, with what spectrum, and the cuts before it
        "begins": (TWO, turning, ()), "goes on": (TWO, loud, ()), "cut": (TWO, loud, (3.2,)),
        "ends": (boxes(), quiet, ()), "is seen without a sound": (TWO, quiet, ()), "cuts": (TWO, loud, (6.1, 6.5)),
        "flash": (TWO, loud, (7.4, 7.5)),
    }  # fmt: skip
    borders, tracker = Borders(0.0), Tracker()
    made = replace(result(0, boxes(), tracker), spectrum=quiet)
    found = [borders.step(made)]
    for index, (mask, heard, cuts) in enumerate(changes.values(), 1):
        made = replace(result(index, mask, tracker), spectrum=heard, cuts=cuts)
        found.append(borders.step(made))
    seen = [0, pytest.approx(1.4, abs=0.02), 2, 3.2, pytest.approx(4, abs=0.1), 5, 6.5, 7.5]
    assert [border.seen for border in found] == seen
    assert [border.gone for border in found] == [*seen[:6], 6.1, 7.5], "not in a scene between"
    assert [border.heard for border in found] == [0, 1, 2, 3, 4, 5, 6, 7], "names were the same"
    dog, none = ({"heard": heard, "loudness": -20.0} for heard in ((("dog", 0.9),), (("dog", 0.1),)))
    borders = Borders(0.0)
    closer = [
        MaskResult(k, end - 0.1, end, made.logits, (90, 160), 128, spectrum=spectrum, **names)
        for k, (end, spectrum, names) in enumerate([(1.0, quiet, none), (1.2, quiet, none), (1.4, turning, dog)])
    ]
    assert [border.heard for border in map(borders.step, closer)] == [0, 1, pytest.approx(1.2, abs=0.1)]
    borders, ended = Borders(0.0), np.concatenate([quiet[:90], quiet[:6] - 4])  # changes after what is shown
    last = [replace(closer[1], ahead=0.375), replace(closer[2], ahead=0.375, spectrum=ended)]
    assert borders.step(last[0]).heard == 0 and borders.step(last[1]).heard <= last[1].end


def test_the_first_colours_differ_for_every_kind_of_colour_vision() -> None:
    """By the matrices of Machado, Oliveira and Fernandes (2009) for people without one kind of cones."""
    blind = {
        "none": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
        "tritanopia": [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]],
    }
    for matrix in blind.values():
        looks = [np.array(matrix) @ (np.array(rgb) / 255) ** 2.2 for rgb in PALETTE[:3]]
        assert min(np.linalg.norm(looks[i] - looks[k]) for i, k in ((0, 1), (0, 2), (1, 2))) > 0.35
    assert colour(1, palette((1, 2, 3))) == (1, 2, 3) and colour(2) == PALETTE[1] == colour(2 + len(PALETTE))
    assert palette((50, 130, 250))[:3] == ((50, 130, 250), PALETTE[0], PALETTE[2]), "no two are alike"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the writers make of three masks: two sources, one, none."""
    folder = tmp_path_factory.mktemp("written")
    video = probe(Clip(seconds=1).write(folder / "clip.mp4"))
    about = {"model": {"config": {"seen_kinds": ["cat", "dog"]}}}
    for sources, formats in {
        "auto": ("json", "coco", "youtube-vis", "masks"),
        "split": ("masks",),
        "index": ("masks",),
    }.items():
        job = Job(video, (0.0, None), SIDE, 2 * SIDE, 0.5, Style(), about, sources)
        for name in formats:
            writer = open_writer(name, folder / sources / name, job)
            tracker, tracks = Tracker(), TrackList()
            for index, mask in enumerate((TWO, boxes((10, 4, 20, 20)), boxes())):
                made = result(index, mask, tracker)
                writer.take(made)
                tracks.take(made.end - 1, made.end, made.sources)
            writer.finish({"tracks": [track.to_dict() for track in tracks]})
            writer.commit()
    return folder


def test_json_has_the_sources_of_each_mask_and_the_tracks(written: Path) -> None:
    document = json.loads((written / "auto/json").read_text())
    sources = [mask["sources"] for mask in document["masks"]]
    assert [[source["id"] for source in found] for found in sources] == [[1, 2], [1], []]
    assert sources[0][0]["label"] == "dog" and len(sources[0][0]["bbox"]) == 4
    assert decode_rle(sources[0][0]["rle"]).sum() == sources[0][0]["area"]
    assert document["tracks"][1]["times"] == [[0, 1]]


def test_coco_is_read_by_its_own_library(written: Path) -> None:
    coco = pytest.importorskip("pycocotools.coco").COCO(str(written / "auto/coco"))
    assert len(coco.imgs) == 3 and [coco.cats[k]["name"] for k in (1, 2, 3)] == ["unknown", "cat", "dog"]
    found = coco.loadAnns(coco.getAnnIds())
    assert [(own["image_id"], own["track_id"], own["category_id"]) for own in found] == [
        (1, 1, 3),
        (1, 2, 3),
        (2, 1, 3),
    ]
    for own in found:
        assert coco.annToMask(own).sum() == own["area"]
        x, y, width, height = own["bbox"]
        assert coco.annToMask(own)[y : y + height, x : x + width].sum() == own["area"]


def test_youtube_vis_has_a_place_for_every_frame(written: Path) -> None:
    """Against the format as its authors describe it: lists as long as the video, null where nothing is."""
    document = json.loads((written / "auto/youtube-vis").read_text())
    video = document["videos"][0]
    assert video["length"] == 3 == len(video["file_names"]) and (video["width"], video["height"]) == (160, 90)
    categories = {category["id"] for category in document["categories"]}
    assert [own["id"] for own in document["annotations"]] == [1, 2]
    for own in document["annotations"]:
        assert own["video_id"] == video["id"] and own["category_id"] in categories and own["iscrowd"] == 0
        for mask, box, area in zip(own["segmentations"], own["bboxes"], own["areas"], strict=True):
            assert (mask is None) == (box is None) == (area is None)
            assert mask is None or (mask["size"] == [90, 160] and decode_rle(mask).sum() == area)
    assert [[mask is None for mask in own["segmentations"]] for own in document["annotations"]] == [
        [False, False, True], [False, True, True],
    ]  # fmt: skip


def test_masks_are_one_a_source_or_numbered_if_asked(written: Path) -> None:
    merged, split, index = (
        sorted(path.name for path in (written / name / "masks").iterdir() if path.name != "masks.json")
        for name in ("auto", "split", "index")
    )
    assert len(merged) == 3 == len(index) and split == ["source-001", "source-002"]
    whole = np.asarray(Image.open(written / "auto/masks" / merged[0]))
    numbers = Image.open(written / "index/masks" / index[0])
    own = [np.asarray(Image.open(written / "split/masks" / name / merged[0])) for name in split]
    assert ((own[0] | own[1]) == whole).all() and set(np.unique(own[0])) == {0, 255}
    assert numbers.mode == "P" and ((np.asarray(numbers) == 2) == (own[1] > 0)).all()
    assert tuple(numbers.getpalette()[3:6]) == PALETTE[0]


def test_numbers_above_255_take_sixteen_bits() -> None:
    made = result(0, TWO, Tracker())
    tracked = Tracked(
        np.where(made.tracked.numbers == 2, 300, made.tracked.numbers), (made.tracked.sources[0], Told(300, "", 0.0))
    )
    image = numbered(replace(made, tracked=tracked))
    assert image.mode == "I;16" and set(np.unique(np.asarray(image))) == {0, 1, 300}


def test_the_overlay_has_a_colour_for_each_source() -> None:
    made = result(0, TWO, Tracker(), (128, 128))
    grey = np.full((128, 128, 3), 120, np.uint8)
    drawn = made.overlay(Style(opacity=1.0), grey).astype(int)
    for row, column, source in ((40, 28, 1), (88, 92, 2)):
        u, v = to_yuv(PALETTE[source - 1], video_of(grey))[1:]
        _, *seen = to_yuv(tuple(drawn[row, column]), video_of(grey))
        assert np.abs(np.subtract(seen, (u, v))).max() < 12, f"source {source}"
    merged = result(0, TWO, None, (128, 128)).overlay(Style(opacity=1.0), grey).astype(int)
    assert (merged[88, 92] == merged[40, 28]).all() and (merged[40, 28] == drawn[40, 28]).all()


@pytest.mark.parametrize("ground", [8, 120, 250, PALETTE[0]], ids=["dark", "grey", "light", "pink"])
def test_names_stand_at_the_top_of_their_sources_and_are_readable(ground: int | tuple[int, int, int]) -> None:
    made = result(0, TWO, Tracker(), (256, 256))
    frame = np.full((256, 256, 3), ground, np.uint8)
    without, names = (made.overlay(Style(labels=labels), frame).astype(int) for labels in (False, True))
    changed = np.abs(names - without).max(-1) > 40
    rows, columns = np.nonzero(changed)
    for (top, middle), source in zip(((40, 56), (136, 184)), made.sources, strict=True):
        own = (np.abs(rows - top) < 24) & (np.abs(columns - middle) < 40)
        assert own.sum() > 40, source
        assert rows[own].max() < top + 6 and abs(columns[own].mean() - middle) < 6
        written = names[rows[own].min() : rows[own].max() + 1, columns[own].min() : columns[own].max() + 1].mean(-1)
        assert written.max() > 190 and written.min() < 70, "light letters with a dark rim"
        changed[rows[own], columns[own]] = False
    assert not changed.any(), "nothing else"


def test_names_in_the_way_of_each_other_move_and_stay_in_the_picture() -> None:
    labels, taken = Labels(video_of(np.zeros((96, 128, 3), np.uint8)), PALETTE), []
    for rows, columns in (((2, 40), (40, 60)), ((2, 40), (60, 80)), ((60, 90), (110, 126))):
        weight = np.zeros((96, 128), np.float32)
        weight[slice(*rows), slice(*columns)] = 1
        labels.place(weight, (16, 40), taken)
    assert taken == [(0, 30, 16, 70), (16, 50, 32, 90), (42, 88, 58, 128)]


def test_a_name_stays_until_another_is_known() -> None:
    labels = Labels(video_of(np.zeros((96, 128, 3), np.uint8)), PALETTE)

    def written(name: str) -> bytes:
        labels.learn([Told(1, name, 0.5 if name else 0.0)])
        planes = [np.full(size, 100, np.uint8) for size in ((96, 128), (48, 64), (48, 64))]
        labels.draw(planes, np.full((24, 32), 5.0, np.float32), np.ones((24, 32), np.int32))
        return planes[0].tobytes()

    unknown, dog, unsure, cat = map(written, ("", "dog", "", "cat"))
    assert dog == unsure and len({unknown, dog, cat}) == 3


def test_the_overlay_of_a_video_has_names_if_asked(tmp_path: Path) -> None:
    path = Clip(seconds=1, size=(320, 240), tags=(1, 1, 1, 1)).write(tmp_path / "clip.mp4")
    drawn = []
    for labels in (False, True):
        outputs = {name: tmp_path / f"{name}{labels}.mp4" for name in ("overlay", "side-by-side")}
        render(path, LoudRed(), outputs, SegmentOptions(style=Style(labels=labels)), "test")
        drawn.append({name: rgb_of(out)[8].astype(int) for name, out in outputs.items()})
    for name, without in drawn[0].items():
        changed = np.abs(drawn[1][name] - without).max(-1) > 60
        assert changed.any() and not changed[130:].any(), "above the middle of the square only"
        assert name == "overlay" or not changed[:, :320].any(), "the original is left alone"


def test_a_source_keeps_its_colour_while_it_fades_to_silence() -> None:
    tracker = Tracker()
    sounding, silent = (result(index, mask, tracker) for index, mask in enumerate((TWO, boxes())))
    assert not silent.territories.any()
    numbers = _numbers(Instant(Pair(sounding, silent), 0.8))
    assert (numbers == sounding.territories).all()


def test_of_many_sources_the_longest_have_lines() -> None:
    tracks = [{"id": number, "label": None, "times": [(0.0, 1.0 + number % 7)]} for number in range(1, 40)]
    rows = source_rows(tracks, (1, 2, 3))
    assert len(rows) == ROWS and min(row.times[0][1] for row in rows) == 5
    assert source_rows([{"id": 1, "label": "race_car", "times": []}], (1, 2, 3)) == [
        SourceRow("source 1: race car", "#010203", [])
    ]


def test_merged_nothing_is_said_of_sources(tmp_path: Path) -> None:
    path = Clip(seconds=2).write(tmp_path / "clip.mp4")
    render(path, LoudRed(), {"json": tmp_path / "merged.json"}, SegmentOptions(sources="merge"))
    render(path, LoudRed(), {"json": tmp_path / "told.json"})
    merged, told = (json.loads((tmp_path / name).read_text()) for name in ("merged.json", "told.json"))
    assert "tracks" not in merged and not any("sources" in mask for mask in merged["masks"])
    assert [track["times"] for track in told["tracks"]] == [[[0.0, 2.0]]]
    for mask in told["masks"]:
        assert mask.pop("sources")[0]["rle"] == mask["rle"]
    assert merged["masks"] == told["masks"]


def test_a_way_to_tell_sources_that_is_unknown_is_said() -> None:
    with pytest.raises(InputError, match="sources is 'both'; give one of auto, merge, split, index"):
        SegmentOptions(sources="both")


def test_scores_count_what_changes_its_number_or_holds_two() -> None:
    one, two, both = boxes((4, 4, 20, 20)), boxes((34, 34, 20, 20)), boxes((4, 4, 20, 20), (34, 34, 20, 20))
    truth = [{"dog": one, "cat": two}] * 3
    told = [
        [Named(1, "dog", one), Named(2, "", two)],
        [Named(1, "dog", one), Named(3, "dog", two)],
        [Named(1, "dog", both)],
    ]
    score = score_sources(truth, told, ("dog", "cat"))
    assert (score.objects, score.found, score.again, score.switches) == (6, 5, 3, 1)
    assert (score.merged, score.split, score.named, score.right) == (1, 0, 4, 3)
