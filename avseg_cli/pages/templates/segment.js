"use strict";
const byId = (id) => document.getElementById(id);
const video = byId("video"), screen_ = byId("screen"), timeline = byId("timeline");
const start = Number(timeline.dataset.start), length = Number(timeline.dataset.length);
const masks = JSON.parse(byId("facts").textContent).masks;

function clock(seconds) {
  const tenths = Math.round(Math.max(0, seconds) * 10), rest = tenths % 600;
  const minutes = Math.floor(tenths / 600), hours = Math.floor(minutes / 60);
  const whole = String(Math.floor(rest / 10)).padStart(2, "0") + "." + (rest % 10);
  return hours ? `${hours}:${String(minutes % 60).padStart(2, "0")}:${whole}` : `${minutes}:${whole}`;
}

function load() {
  video.addEventListener("error", () => {
    const said = document.createElement("p");
    said.textContent = "The video cannot be played: its file is not beside this page, or this browser lacks H.264.";
    screen_.append(said);
  });
  if (!byId("movie")) return;
  // a Blob rather than a data: address, which some browsers cannot seek in
  const bytes = Uint8Array.from(atob(byId("movie").textContent), (letter) => letter.charCodeAt(0));
  byId("movie").remove();
  video.src = URL.createObjectURL(new Blob([bytes], { type: "video/mp4" }));
}

function show(view) {
  screen_.dataset.view = view;
  for (const button of document.querySelectorAll("[data-show]")) {
    button.setAttribute("aria-pressed", String(button.dataset.show === view));
  }
}

function describe(time) {
  const mask = masks.find((candidate) => candidate.end > time) || masks[masks.length - 1];
  const area = (100 * mask.fraction).toFixed(1);
  const heard = mask.heard ? `heard: ${mask.heard}; ` : "";
  const found = mask.unmarked
    ? `nothing marked: ${mask.unmarked}`
    : `${area} % of the picture sounds, confidence ${mask.confidence.toFixed(2)}`;
  byId("readout").textContent = `${clock(time)}: ${heard}${found}`;
}

function follow() {
  const now = Math.min(video.currentTime, length);
  byId("head").style.left = `${(100 * now) / length}%`;
  byId("time").textContent = `${clock(start + now)} / ${clock(start + length)}`;
  timeline.setAttribute("aria-valuenow", now.toFixed(2));
  timeline.setAttribute("aria-valuetext", clock(start + now));
  describe(start + now);
  if (!video.paused) requestAnimationFrame(follow);
}

function seek(seconds) {
  const last = Math.max(0, (video.duration || length) - 0.01);
  video.currentTime = Math.min(Math.max(0, seconds), last);
  follow();
}

function toggle() {
  if (video.paused) video.play().catch(() => {}); else video.pause();
}

function pointed(event) {
  const box = timeline.getBoundingClientRect();
  return (length * Math.min(Math.max(0, event.clientX - box.left), box.width)) / box.width;
}

byId("play").addEventListener("click", toggle);
video.addEventListener("click", toggle);
byId("mute").addEventListener("click", (event) => {
  video.muted = !video.muted;
  event.currentTarget.setAttribute("aria-pressed", String(video.muted));
});
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => show(button.dataset.show));
}
for (const button of document.querySelectorAll("[data-seek]")) {
  button.addEventListener("click", () => {
    seek(Number(button.dataset.seek) - start);
    screen_.scrollIntoView({ block: "nearest" });
  });
}
timeline.addEventListener("pointerdown", (event) => { timeline.setPointerCapture(event.pointerId); seek(pointed(event)); });
timeline.addEventListener("pointermove", (event) => {
  if (event.buttons) seek(pointed(event)); else describe(start + pointed(event));
});
timeline.addEventListener("pointerleave", follow);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.closest("button, summary, pre");
  if (event.key === "o") show(screen_.dataset.view === "overlay" ? "original" : "overlay");
  else if (event.key === "ArrowLeft" && !onButton) seek(video.currentTime - 5);
  else if (event.key === "ArrowRight" && !onButton) seek(video.currentTime + 5);
  else if (event.key === " " && !onButton) { event.preventDefault(); toggle(); }
});
for (const name of ["play", "pause", "seeked", "loadedmetadata", "ended"]) video.addEventListener(name, follow);
for (const name of ["play", "pause", "ended"]) {
  video.addEventListener(name, () => { byId("play").textContent = video.paused ? "Play" : "Pause"; });
}
load();
follow();
