"""``segment --report``: what the page holds, and, in a real browser, what it does."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import Clip, LoudRed, frames_of, rgb_of
from PIL import Image

import avseg_cli.outputs.formats.report as segment_page
from avseg_cli.base.errors import OutputError
from avseg_cli.media.video import probe
from avseg_cli.segment.index_page import BESIDE, write_index
from avseg_cli.segment.inputs import InputVideo, check_outputs
from avseg_cli.segment.render import render
from avseg_cli.segment.segment_options import SegmentOptions
from avseg_cli.segment.segmenter import Segmenter

browser = pytest.importorskip("browser", reason="websockets is not installed, so no browser can be driven")
with_chromium = pytest.mark.skipif(browser.installed() is None, reason="Chromium is not installed")


def loud_until_four(times: np.ndarray) -> np.ndarray:
    return np.where(times < 4, 0.4, 0.0)


def left_then_right(time: float) -> tuple[float, float]:
    return (0.25 if time < 2 else 0.75), 0.5


def write_report(folder: Path, clip: Clip, name: str = "clip.mp4", **settings: object) -> Path:
    path = clip.write(folder / name)
    page = path.with_name(f"{path.stem}.avseg.html")
    render(probe(path), LoudRed(), {"report": page}, SegmentOptions(**settings), "test")
    return page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds: the square on the left, from 2 s on the right, from 4 s silent."""
    clip = Clip(size=(320, 240), seconds=6, loudness=loud_until_four, place=left_then_right)
    return write_report(tmp_path_factory.mktemp("report"), clip)


def text_of(page: Path, element: str) -> str:
    from html import unescape

    found = re.search(rf'id="{element}"[^>]*>(.*?)</(?:script|pre)>', page.read_text(), re.S).group(1)
    return unescape(found)


def movie_of(page: Path, folder: Path) -> Path:
    path = folder / "movie.mp4"
    path.write_bytes(base64.b64decode(text_of(page, "movie")))
    return path


def test_the_page_is_one_file_with_both_videos_in_step(report: Path, tmp_path: Path) -> None:
    assert sorted(path.name for path in report.parent.iterdir()) == ["clip.avseg.html", "clip.mp4"]
    assert not re.search(r"""(src|href)=["'](?!data:)""", report.read_text()), "nothing outside the page"
    movie = movie_of(report, tmp_path)
    clip = report.with_name("clip.mp4")
    assert [frame.time for frame in frames_of(movie)] == [frame.time for frame in frames_of(clip)]
    left, right = np.split(rgb_of(movie)[10].astype(int), 2, axis=1)
    assert np.abs(left - rgb_of(clip)[10]).mean() < 5
    assert line_share(right) > 0.005 and line_share(left) == 0


def test_facts_say_when_what_sounds_changes(report: Path) -> None:
    facts = json.loads(text_of(report, "facts"))
    assert [(change["since"], change["what"]) for change in facts["changes"]] == [
        (0, "starts"),
        (2, "changes"),
        (4, "falls silent"),
    ]
    assert [mask["fraction"] > 0 for mask in facts["masks"]] == [True] * 4 + [False] * 2
    assert facts["video"]["width"] == 320 and facts["model"]["checkpoint"] == "test"
    card = json.loads(re.search(r'id="card">(.*?)</script>', report.read_text()).group(1))
    assert (card["masks"], card["changes"], card["length"]) == (6, 3, 6.0)
    with Image.open(io.BytesIO(base64.b64decode(card["poster"].partition(",")[2]))) as poster:
        assert poster.size == (240, 180)


def test_changes_within_a_second_are_told_where_the_sound_has_them(tmp_path: Path) -> None:
    page = write_report(tmp_path, Clip(seconds=4, loudness=lambda times: np.where(times >= 1.6, 0.4, 0.0)))
    facts = json.loads(text_of(page, "facts"))
    assert [change["what"] for change in facts["changes"]] == ["starts"]
    assert facts["changes"][0]["since"] == pytest.approx(1.6, abs=0.03) == facts["masks"][0]["end"]
    assert facts["tracks"][0]["times"] == [[pytest.approx(1.6, abs=0.03), 4]]


def test_changes_beyond_those_with_a_picture_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_page, "SHOWN", 1)
    page = write_report(tmp_path, Clip(seconds=6, loudness=lambda times: np.where(times % 2 < 1, 0.4, 0.0)))
    card = json.loads(re.search(r'id="card">(.*?)</script>', page.read_text()).group(1))
    assert card["changes"] == 6 and len(json.loads(text_of(page, "facts"))["changes"]) == 1


def test_a_change_is_told_where_the_timeline_marks_it(report: Path) -> None:
    cards = re.findall(r'data-seek="([\d.]+)".*?<span>(\S+) ·', report.read_text(), re.S)
    assert [(float(seek), written) for seek, written in cards] == [(0, "0:00"), (2, "0:02"), (4, "0:04")]
    marks = re.findall(r'class="mark" style="left: ([\d.]+)%"', report.read_text())
    assert [6 * float(mark) / 100 for mark in marks] == pytest.approx([0, 2, 4], abs=0.01)


def test_what_a_file_is_called_cannot_become_code(tmp_path: Path) -> None:
    page = write_report(tmp_path, Clip(seconds=1), "<img src=x onerror=alert(1)>.mp4")
    assert "<img src=x" not in page.read_text() and "&lt;img src=x" in page.read_text()


def test_a_name_that_is_no_text_still_gets_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_page, "EMBEDDED", 1000)
    name = "caf\udce9.mp4"  # as a Latin-1 name comes from the system
    page = write_report(tmp_path, Clip(seconds=1), name)
    assert "<h1>caf?.mp4</h1>" in page.read_text() and 'src="caf%E9.avseg.video.mp4"' in page.read_text()


def test_sound_that_browsers_do_not_play_is_made_aac(tmp_path: Path) -> None:
    page = write_report(tmp_path, Clip(seconds=1, sound="ac3", sound_rate=48000))
    with av.open(str(movie_of(page, tmp_path))) as container:
        assert container.streams.audio[0].codec_context.name == "aac"


def test_a_large_video_lies_beside_its_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_page, "EMBEDDED", 1000)
    page = write_report(tmp_path, Clip(seconds=1))
    movie = tmp_path / "clip.avseg.video.mp4"
    assert len(frames_of(movie)) == 10
    assert 'href="clip.avseg.video.mp4"' in page.read_text() and "keep both files" in page.read_text()
    source = InputVideo(tmp_path / "clip.mp4", Path("clip.mp4"))
    page.unlink()
    with pytest.raises(OutputError, match="clip.avseg.video.mp4: exists"):
        check_outputs(source, {"report": page}, overwrite=False)
    monkeypatch.undo()
    write_report(tmp_path, Clip(seconds=1))
    assert not movie.exists(), "a page that carries its video leaves no old one beside it"


def test_a_part_of_a_video_keeps_the_files_times(tmp_path: Path) -> None:
    page = write_report(tmp_path, Clip(seconds=4), start=2.0, duration=1.5)
    masks = json.loads(text_of(page, "facts"))["masks"]
    assert [round(mask["end"], 1) for mask in masks] == [3.0, 3.5]
    assert 'data-start="2.0" data-length="1.5"' in page.read_text()


def test_nothing_is_left_of_a_report_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_page.ReportWriter, "_page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(tmp_path, Clip(seconds=1))
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


@pytest.fixture
def batch(report: Path, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch):
    """Runs the command on two videos in a tree and a file that is none, on the model of known masks."""
    from avseg_cli.cli import main

    for name in ("a b.mp4", "sub/c.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(report.with_name("clip.mp4").read_bytes())
    (tmp_path / "in/broken.mp4").write_text("no video")
    ready = Segmenter.__new__(Segmenter)  # there is nothing in it to make fast
    ready.model = LoudRed()
    monkeypatch.setattr("avseg_cli.cli.segment._load", lambda *_: ready)

    def run(*options: str) -> tuple[int, str]:
        folders = [str(tmp_path / "in"), "-r", "-o", str(tmp_path / "out")]
        monkeypatch.setattr("sys.argv", ["avseg", "segment", *folders, "--format", "report", *options])
        with pytest.raises(SystemExit) as end:
            main()
        return int(end.value.code or 0), capfd.readouterr().err

    return run


def test_an_index_leads_to_every_report(batch, tmp_path: Path) -> None:
    code, said = batch("--dry-run")
    assert "index.avseg.html: would be written" in said and not (tmp_path / "out").exists()
    assert batch()[0] == 2
    index = tmp_path / "out/index.avseg.html"
    rows = rows_of(index)
    assert [row[1] for row in rows] == ["a%20b.avseg.html", "", "sub/c.avseg.html"]
    assert all((index.parent / row[1].replace("%20", " ")).is_file() for row in rows if row[1])
    assert rows[0][2:] == [6.0, 0.6667, 3, 0, "", ""] and "broken.mp4: not a video" in rows[1][-1]
    text = index.read_text()
    assert "2 reports, 1 without" in text and text.count("data:image/webp") == 2
    code, said = batch()
    assert code == 5 and "index.avseg.html: exists" in said
    (tmp_path / "out/sub/c.avseg.html").unlink()
    index.unlink()
    assert batch("--skip-existing")[0] == 2
    assert index.read_text().count("data:image/webp") == 2, "the report made earlier is listed with the new one"


def test_an_index_spares_the_report_of_a_video_called_index(batch, tmp_path: Path) -> None:
    (tmp_path / "in").joinpath("a b.mp4").rename(tmp_path / "in/Index.mp4")
    assert batch()[0] == 2
    index = tmp_path / "out/reports.avseg.index.html"
    assert [row[1] for row in rows_of(index)] == ["Index.avseg.html", "", "sub/c.avseg.html"]
    assert '<video id="video"' in (tmp_path / "out/Index.avseg.html").read_text()
    (tmp_path / "out/Index.avseg.html").rename(tmp_path / "out/index.avseg.html")  # and its video is not in this run
    for name in ("in/Index.mp4", "in/broken.mp4"):
        (tmp_path / name).rename(tmp_path / "in/sub" / Path(name).name)
    batch("--overwrite")
    assert '<video id="video"' in (tmp_path / "out/index.avseg.html").read_text()


def rows_of(index: Path) -> list[list]:
    return json.loads(re.search(r'id="rows">(.*?)</script>', index.read_text()).group(1))


@pytest.fixture(scope="module")
def large_index(report: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two hundred videos: one failed, one's report is damaged, one has a name that looks like code."""
    folder = tmp_path_factory.mktemp("large")
    names = [f"clip {number:03}.mp4" for number in range(200)]
    names[120] = "<img src=x onerror=alert(1)>.mp4"
    reports = [(Path(name), folder / f"{number}.avseg.html") for number, name in enumerate(names)]
    for _, page in reports:
        page.write_bytes(report.read_bytes()[:100_000])
    reports[7][1].write_text("damaged")
    reports[9][1].unlink()
    write_index(folder / "index.avseg.html", reports, {Path(names[9]): "clip 009.mp4: not a video"})
    return folder / "index.avseg.html"


def test_a_large_index_has_its_thumbnails_beside_it(large_index: Path, tmp_path: Path) -> None:
    rows, beside = rows_of(large_index), large_index.parent / BESIDE
    assert len(rows) == 200 and rows[7][1] == "7.avseg.html" and rows[7][2] is None
    assert rows[9][1:] == ["", None, None, None, 0, "", "clip 009.mp4: not a video"]
    assert sorted(int(path.stem) for path in beside.iterdir()) == list(range(9))
    shown = [json.loads(path.read_text().partition(",")[2][:-1]) for path in sorted(beside.iterdir())]
    assert sum(poster.startswith("data:image/webp") for posters in shown for poster in posters) == 198
    assert "data:image" not in large_index.read_text() and large_index.stat().st_size < 60_000
    (tmp_path / BESIDE).mkdir()
    write_index(tmp_path / "index.avseg.html", [(Path("clip.mp4"), large_index.with_name("0.avseg.html"))], {})
    assert not (tmp_path / BESIDE).exists(), "an index of few leaves no thumbnails of an older one beside it"


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    with browser.chromium(tmp_path_factory.mktemp("browser") / "profile") as tab:
        yield tab


@pytest.fixture
def shown(tab, report: Path):
    """The report in a window, its video ready."""
    tab.complaints.clear()
    tab.look(1000, 900)
    tab.open(report)
    tab.until("video.readyState >= 3")
    yield tab
    assert tab.complaints == [], "no error, nothing asked of the network"


def line_share(image: np.ndarray) -> float:
    """Share of the pixels that have the colour of a contour: pink around source 1, blue around source 2."""
    red, green, blue = (image[..., channel].astype(int) for channel in range(3))
    pink = (red > 180) & (blue - green > 20) & (blue < 230)
    return float((pink | ((blue > 180) & (blue - red > 40))).mean())


def picture(tab) -> np.ndarray:
    """What the video's place shows, RGB."""
    tab.until("!video.seeking")
    box = tab.run("(() => { const b = screen_.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom] })()")
    tab.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    with Image.open(io.BytesIO(tab.screenshot(whole=False))) as image:
        return np.asarray(image.convert("RGB").crop([round(side) for side in box]))


@with_chromium
def test_it_plays_with_sound(shown) -> None:
    assert shown.run("[video.videoWidth, video.videoHeight, Math.round(video.duration)]") == [640, 240, 6]
    shown.click("#play")
    shown.until("video.currentTime > 0.7 && video.webkitAudioDecodedByteCount > 0")
    assert shown.run("byId('play').textContent") == "Pause"
    moved = shown.run("parseFloat(byId('head').style.left)")
    shown.click("#play")
    shown.until("video.paused && byId('play').textContent == 'Play'")
    assert moved > 5


@with_chromium
def test_a_click_on_the_timeline_seeks(shown) -> None:
    shown.click("#timeline", across=0.75)
    shown.until("!video.seeking")
    assert shown.run("video.currentTime") == pytest.approx(4.5, abs=0.1)
    assert shown.run("parseFloat(byId('head').style.left)") == pytest.approx(75, abs=1)
    assert "0.0 % of the picture sounds" in shown.run("byId('readout').textContent")
    shown.click(".moments li:nth-child(2) button")
    shown.until("!video.seeking")
    assert shown.run("video.currentTime") == pytest.approx(2.0, abs=0.15)  # where the timeline marks the change
    shown.run("document.activeElement.blur()")
    shown.key("ArrowLeft")
    assert shown.run("video.currentTime") == 0


@with_chromium
def test_the_overlay_goes_on_and_off_at_the_same_instant(shown) -> None:
    shown.run("seek(2.95)")
    overlay = picture(shown)
    time = shown.run("video.currentTime")
    shown.click("[data-show=original]")
    original = picture(shown)
    assert line_share(overlay) > 0.004 and line_share(original) == 0
    assert overlay.shape == original.shape and shown.run("video.currentTime") == time
    middle = original.shape[1] // 2
    red = (original[..., 0].astype(int) - original[..., 1]) > 90
    assert red[:, middle:].sum() > 20 * red[:, :middle].sum(), "the square is on the right in this second"
    shown.click("[data-show=both]")
    both = picture(shown)
    halves = np.split(both[:, : both.shape[1] // 2 * 2], 2, axis=1)
    assert line_share(halves[0]) == 0 and line_share(halves[1]) > 0.002
    shown.run("document.activeElement.blur()")
    shown.key("o")
    assert shown.run("screen_.dataset.view") == "overlay" and line_share(picture(shown)) > 0.004


@with_chromium
@pytest.mark.parametrize(("width", "dark"), [(360, False), (390, True), (1200, True)])
def test_light_and_dark_wide_and_narrow(shown, report: Path, width: int, dark: bool) -> None:
    shown.look(width, 800, dark)
    shown.run("seek(1)")
    assert shown.run("document.documentElement.scrollWidth") == width, "nothing to scroll sideways"
    light = shown.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0]")
    assert light < 60 if dark else light > 200
    too_small = shown.run("[...document.querySelectorAll('button')].filter(b => b.offsetHeight < 40).length")
    assert too_small == 0, "fingers need room"
    assert line_share(picture(shown)) > 0.002


@with_chromium
def test_a_video_that_is_missing_is_said(tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_page, "EMBEDDED", 1000)
    page = write_report(tmp_path, Clip(seconds=1))
    tab.open(page)
    tab.until("video.readyState >= 3")
    (tmp_path / "clip.avseg.video.mp4").unlink()
    tab.open(page)
    tab.until("screen_.textContent.includes('cannot be played')")


@with_chromium
def test_a_large_index_is_searched_and_paged(tab, large_index: Path) -> None:
    tab.complaints.clear()
    tab.look(390, 800)
    tab.open(large_index)
    tab.until("document.querySelectorAll('#cards img[src]').length === 46")  # of 48, one damaged, one failed
    assert tab.run("[byId('count').textContent, byId('page').textContent]") == ["200 videos", "page 1 of 5"]
    tab.click("#after")
    assert tab.run("document.querySelector('.card b').textContent") == "clip 048.mp4"
    assert tab.run("document.documentElement.scrollWidth") == 390, "nothing to scroll sideways"
    tab.run("byId('words').value = 'CLIP 19'; byId('words').dispatchEvent(new Event('input'))")
    tab.until("byId('count').textContent === '12 videos of 200' && byId('before').parentElement.hidden")
    tab.until("document.querySelectorAll('#cards img[src]').length === 12")
    tab.run("go({ words: 'onerror', show: 'all' })")
    assert tab.run("document.querySelector('.card b').textContent") == "<img src=x onerror=alert(1)>.mp4"
    tab.run("go({ words: '', show: 'without' })")
    assert "not a video" in tab.run("byId('cards').textContent") and tab.run("found.length") == 1
    tab.run("go({ show: 'all', sort: 'length', page: 3 })")
    tab.open(large_index.with_name("0.avseg.html"))
    tab.run("setTimeout(() => history.back())")  # the answer comes before the page goes
    tab.until("location.hash.includes('page=3') && document.querySelector('#page')?.textContent === 'page 3 of 5'")
    assert tab.complaints == []


def test_every_source_has_a_line_of_its_colour(report: Path) -> None:
    lines = re.findall(
        r'class="row source"><span><i style="background: (#\w+)"></i>(.*?)</span><div>(.*?)</div>',
        report.read_text(),
        re.S,
    )
    assert [(colour, name) for colour, name, _ in lines] == [("#ff2d78", "source 1"), ("#2d7dff", "source 2")]
    bars = [re.findall(r"left: ([\d.]+)%; width: ([\d.]+)%", bars) for *_, bars in lines]
    assert [[round(6 * float(part) / 100) for part in own[0]] for own in bars] == [[0, 2], [2, 2]]
    assert len(json.loads(text_of(report, "facts"))["tracks"]) == 2
