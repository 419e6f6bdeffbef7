"use strict";
const byId = (id) => document.getElementById(id);
const NAME = 0, LINK = 1, LENGTH = 2, SOUNDING = 3, CHANGES = 4, WARNINGS = 5, HEARD = 6, WHY = 7;
const A_PAGE = 48;
const rows = JSON.parse(byId("rows").textContent), inside = JSON.parse(byId("inside").textContent);
const texts = rows.map((row) => `${row[NAME]} ${row[HEARD]} ${row[WHY]}`.toLowerCase());
const KINDS = {
  all: () => true,
  sounding: (row) => row[SOUNDING] > 0,
  nothing: (row) => row[SOUNDING] === 0,
  warnings: (row) => row[WARNINGS] > 0,
  without: (row) => !row[LINK],
};
const COLUMNS = { length: LENGTH, sounding: SOUNDING, changes: CHANGES };
let state = { words: "", show: "all", sort: "name", page: 1 };
let found = [];

function clock(seconds) {
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60) % 60, hours = Math.floor(whole / 3600);
  const end = String(whole % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${end}` : `${minutes}:${end}`;
}

const counted = (number, thing) => `${number.toLocaleString("en")} ${thing}${number === 1 ? "" : "s"}`;

function search() {
  const words = state.words.toLowerCase().split(/\s+/).filter(Boolean), kind = KINDS[state.show] || KINDS.all;
  found = [];
  for (let number = 0; number < rows.length; number++) {
    if (kind(rows[number]) && words.every((word) => texts[number].includes(word))) found.push(number);
  }
  const column = COLUMNS[state.sort];
  if (column) found.sort((a, b) => (rows[b][column] ?? -1) - (rows[a][column] ?? -1));
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function card(number) {
  const row = rows[number], item = element("li", undefined, "card"), about = element("div");
  about.append(element("b", row[NAME]));
  if (row[LENGTH] !== null) {
    const share = `sounds in ${Math.round(100 * row[SOUNDING])} % of it`;
    about.append(element("span", `${clock(row[LENGTH])}, ${share}, ${counted(row[CHANGES], "change")}`, "quiet"));
  }
  if (row[HEARD]) about.append(element("span", `heard: ${row[HEARD]}`, "quiet"));
  if (row[WARNINGS]) about.append(element("span", counted(row[WARNINGS], "warning"), "quiet warn"));
  if (!row[LINK]) {
    about.append(element("span", row[WHY], "quiet warn"));
    item.append(about);
    return item;
  }
  const link = element("a"), picture = element("img");
  link.href = row[LINK];
  picture.alt = "";
  picture.dataset.number = number;
  link.append(picture, about);
  item.append(link);
  return item;
}

function put(first, list) {
  for (const picture of byId("cards").querySelectorAll("img:not([src])")) {
    const thumbnail = list[picture.dataset.number - first];
    if (thumbnail) picture.src = thumbnail;
  }
}

function thumbnails(file, list) { // what the files beside this page call
  put(file * together, list);
}

function load(numbers) {
  if (inside.length) return put(0, inside);
  for (const file of new Set(numbers.filter((n) => rows[n][LINK]).map((n) => Math.floor(n / together)))) {
    const script = element("script");
    script.src = `${beside}/${file}.js`;
    script.onload = script.onerror = () => script.remove();
    document.head.append(script);
  }
}

function draw() {
  const pages = Math.max(1, Math.ceil(found.length / A_PAGE));
  state.page = Math.min(Math.max(1, state.page), pages);
  const numbers = found.slice((state.page - 1) * A_PAGE, state.page * A_PAGE);
  byId("cards").replaceChildren(...numbers.map(card));
  byId("count").textContent =
    found.length === rows.length ? counted(rows.length, "video") : `${counted(found.length, "video")} of ${rows.length.toLocaleString("en")}`;
  byId("page").textContent = `page ${state.page.toLocaleString("en")} of ${pages.toLocaleString("en")}`;
  byId("before").disabled = state.page === 1;
  byId("after").disabled = state.page === pages;
  byId("before").parentElement.hidden = pages === 1;
  load(numbers);
}

function go(change) { // the address keeps what is shown, so that the way back from a report leads here
  state = { ...state, page: 1, ...change };
  history.replaceState(null, "", `#${new URLSearchParams(state)}`);
  if (!("page" in change)) search();
  draw();
}

function restore() {
  state = { ...state, ...Object.fromEntries(new URLSearchParams(location.hash.slice(1))) };
  state.page = Number(state.page) || 1;
  for (const name of ["words", "show", "sort"]) byId(name).value = state[name];
  search();
  draw();
}

let waiting = 0;
byId("words").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(() => go({ words: event.target.value }), 120);
});
for (const name of ["show", "sort"]) byId(name).addEventListener("change", (event) => go({ [name]: event.target.value }));
for (const [name, step] of [["before", -1], ["after", 1]]) {
  byId(name).addEventListener("click", () => {
    go({ page: state.page + step });
    scrollTo(0, 0);
  });
}
addEventListener("hashchange", restore);
restore();
