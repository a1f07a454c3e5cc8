// The page: reads the address, asks the server, draws, and writes the address when somebody does something.

import * as address from "./address.js";
import * as api from "./api.js";
import { byId, el } from "./dom.js";
import * as filters from "./filters.js";
import * as indexing from "./indexing.js";
import * as player from "./player.js";
import * as results from "./results.js";
import { counted, duration } from "./words.js";

const IMAGES = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff"];
const MAX_IMAGE = 10 * 1024 * 1024;

let state = address.read();
let info = null; // the library, as it was last told
let picture = null; // the picture that is the query; no address can hold it
let shown = null; // the list on the page: what was asked, the cursor of what follows
let running = new AbortController();
let back = null; // where focus and scroll return to when the video closes

address.forgetToken();
player.setUp(() => {
  if (state.v) go({ v: "", t: "" });
  giveBack();
});
filters.setUp(go);

/** Change what is looked at, and draw it. */
function go(changes, { keepPicture = false } = {}) {
  const before = state;
  state = { ...state, ...changes };
  if (!keepPicture && (state.q !== before.q || state.like !== before.like)) picture = null;
  address.write(state);
  draw();
}

const asked = () => JSON.stringify([state.q, state.like, ...address.FILTERS.map((name) => state[name]), picture?.name, picture?.lastModified, picture?.size]);

async function draw() {
  byId("query").value = state.like ? "" : state.q;
  drawAsked();
  filters.draw(state, info?.folders ?? [], go);
  if (shown?.asked !== asked()) await list();
  if (state.v) player.show(state, { similar, moved });
  else player.close();
}

function drawAsked() {
  const place = byId("asked");
  place.hidden = !picture && !state.like;
  if (place.hidden) return;
  const label = picture ? `Picture: ${picture.name}` : "Similar to a moment";
  place.replaceChildren(el("span", { class: "asked-name" }, label), el("button", {
    type: "button", "aria-label": "Remove it from the search", onclick: () => { picture = null; go({ like: "" }); byId("query").focus(); },
  }, "×"));
}

/** Ask for the first page of what the state says. */
async function list() {
  running.abort();
  running = new AbortController();
  const mine = { asked: asked(), cursor: null, count: 0, weakShown: false };
  shown = mine;
  byId("results").setAttribute("aria-busy", "true");
  say(isSearch() ? "Searching…" : "");
  try {
    info = await api.library();
    filters.draw(state, info.folders, go);
    const page = isSearch()
      ? await api.search(state, { picture, signal: running.signal })
      : await api.videos(state, { signal: running.signal });
    if (shown !== mine) return;
    byId("results").replaceChildren();
    notice();
    put(page);
    say(summary(page));
  } catch (error) {
    if (error.name === "AbortError" || shown !== mine) return;
    byId("results").replaceChildren();
    byId("more").hidden = true;
    shown = null;
    trouble(error);
  } finally {
    byId("results").setAttribute("aria-busy", "false");
  }
}

const isSearch = () => Boolean(state.q || state.like || picture);

function put(page) {
  if (isSearch()) shown.weakShown = results.append(page.items, openVideo, shown);
  else results.appendVideos(page.items, openVideo);
  shown.count += page.items.length;
  shown.cursor = page.next_cursor;
  byId("more").hidden = !page.next_cursor;
}

function summary(page) {
  const filtered = address.FILTERS.some((name) => state[name]);
  if (!info.num_videos) return "";
  if (!page.num_videos) return "No video passes the filters. Remove one of them.";
  if (!isSearch()) return `${counted(page.num_videos, "video")}${filtered ? " pass the filters" : ""}, ${duration(info.seconds_of_video)} in the library.`;
  if (!page.items.length) return "Nothing was found. Try other words.";
  return `The best of ${counted(page.num_videos, "video")}${filtered ? " that pass the filters" : ""}.`;
}

/** What to do where there is nothing to show yet. */
function notice() {
  const place = byId("notice");
  place.hidden = info.num_videos > 0;
  if (place.hidden) return;
  place.replaceChildren(
    el("h2", {}, "No videos yet"),
    el("p", {}, "Index a folder of videos from a terminal. This page shows them as they come in:"),
    el("pre", {}, el("code", {}, `wordframe index ~/Videos --library ${info.name}`)),
    el("p", { class: "hint" }, "Everything stays on this machine."),
  );
}

function trouble(error) {
  const place = byId("notice");
  place.hidden = false;
  const help = error.status === 401 ? "Open the link that the server printed when it was started; it holds the token." : error.message;
  place.replaceChildren(el("h2", {}, error.status === 0 ? "The server is gone" : "This did not work"), el("p", { class: "problem" }, help),
    el("button", { type: "button", onclick: () => { shown = null; draw(); } }, "Try again"));
  say(help);
}

const say = (words) => { byId("status").textContent = words; };

function openVideo(id, seconds) {
  back = { element: document.activeElement, scroll: window.scrollY };
  go({ v: id, t: String(seconds) });
}

function giveBack() {
  if (!back) return;
  const { element, scroll } = back;
  back = null;
  window.scrollTo({ top: scroll });
  if (element?.isConnected) element.focus({ preventScroll: true });
}

function similar(segment) {
  back = null;
  player.close();
  go({ like: segment, q: "", v: "", t: "" });
  byId("results").focus();
}

/** The open video is at another moment; no new entry in the history for that. */
function moved(seconds) {
  state = { ...state, t: String(seconds) };
  address.write(state, { replace: true });
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("query").value.trim();
  if (!words) return;
  shown = null;
  picture = null;
  go({ q: words, like: "", v: "", t: "" });
});

byId("home").addEventListener("click", (event) => {
  event.preventDefault();
  go(Object.fromEntries(Object.keys(state).map((name) => [name, ""])));
  byId("query").focus();
});

byId("more").addEventListener("click", async () => {
  const mine = shown;
  const button = byId("more");
  button.disabled = true;
  try {
    const options = { picture, cursor: mine.cursor, signal: running.signal };
    const page = isSearch() ? await api.search(state, options) : await api.videos(state, options);
    if (shown !== mine) return;
    const first = byId("results").children.length;
    put(page);
    byId("results").children[first]?.querySelector("button")?.focus();
    say(`${counted(page.items.length, "more video")}.`);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    button.disabled = false;
  }
});

// Pictures: chosen, dropped, pasted --------------------------------------------------------------------------------

function searchBy(file) {
  if (!file) return;
  if (!IMAGES.includes(file.type)) say("A picture is needed: JPEG, PNG, WebP, GIF, BMP or TIFF.");
  else if (file.size > MAX_IMAGE) say("This picture is larger than 10 MB; scale it down.");
  else {
    picture = file;
    go({ q: "", like: "", v: "", t: "" }, { keepPicture: true });
  }
}

byId("choose").addEventListener("click", () => byId("picture").click());
byId("picture").addEventListener("change", (event) => {
  searchBy(event.target.files[0]);
  event.target.value = "";
});
const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
let depth = 0;
addEventListener("dragenter", (event) => { if (holdsFile(event)) { depth += 1; byId("drop").hidden = false; } });
addEventListener("dragleave", (event) => { if (holdsFile(event) && (depth -= 1) <= 0) byId("drop").hidden = true; });
addEventListener("dragover", (event) => { if (holdsFile(event)) event.preventDefault(); });
addEventListener("drop", (event) => {
  if (!holdsFile(event)) return;
  event.preventDefault();
  depth = 0;
  byId("drop").hidden = true;
  searchBy(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => {
  const file = [...(event.clipboardData?.files ?? [])][0];
  if (file) searchBy(file);
});

// Keys --------------------------------------------------------------------------------------------------------------

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.closest("input:not([type=range]), textarea, select")) return;
  if (event.key === "?") byId("keys-help").open ? byId("keys-help").close() : byId("keys-help").showModal();
  else if (byId("keys-help").open || player.key(event)) return;
  else if (player.isOpen()) return;
  else if (event.key === "/") byId("query").focus();
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") walk(event.key === "ArrowDown" ? 1 : -1);
  else return;
  event.preventDefault();
});

function walk(step) {
  const posters = [...document.querySelectorAll(".poster")];
  if (!posters.length) return;
  const card = document.activeElement.closest(".card");
  const at = card ? posters.findIndex((poster) => card.contains(poster)) : step > 0 ? -1 : posters.length;
  posters[Math.max(0, Math.min(posters.length - 1, at + step))].focus();
}

byId("keys").addEventListener("click", () => byId("keys-help").showModal());

const dark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light")) === "dark";
const nameTheme = () => { byId("theme").textContent = isDark() ? "Light" : "Dark"; };
byId("theme").addEventListener("click", () => {
  const theme = isDark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  try { localStorage.setItem("theme", theme); } catch { /* it holds until the page closes */ }
  nameTheme();
});
dark.addEventListener("change", nameTheme);
nameTheme();

addEventListener("popstate", () => {
  state = address.read();
  draw();
});

indexing.watch(() => { if (!state.v) { shown = null; draw(); } });
draw();
