// The page: reads the address, asks the server, draws, and writes the address when somebody does something.

import * as address from "./address.js";
import * as api from "./api.js";
import { byId, el } from "./dom.js";
import * as filters from "./filters.js";
import * as indexing from "./indexing.js";
import * as keys from "./keys.js";
import * as pictures from "./pictures.js";
import * as player from "./player.js";
import * as results from "./results.js";
import * as theme from "./switch.js";
import { counted, duration } from "./words.js";

const PAGE = 24;
const MOST = 100; // that the server gives at once

let state = address.read();
let info = null; // the library, as it was last told
let shown = null; // the list on the page: what was asked, the cursor of what follows
let running = new AbortController();
let back = null; // the button that opened the video: focus and scroll return to it

const say = (words, { aloud = true } = {}) => {
  byId("status").setAttribute("aria-live", aloud ? "polite" : "off");
  byId("status").textContent = words;
};
const picture = () => pictures.named(state.picture);
const isSearch = () => Boolean(state.q || state.like || state.picture);
const asked = () => JSON.stringify([state.q, state.like, state.picture, ...address.FILTERS.map((name) => state[name])]);

/** Look at something else: a new entry in the history. */
function go(changes, { opened = false, ...opening } = {}) {
  address.remember({ scroll: scrollY, count: shown?.count ?? 0 });
  state = { ...state, ...changes };
  address.push(state, { opened });
  draw(opening);
}

function draw({ known = null, play = false, place = {} } = {}) {
  byId("query").value = state.like || state.picture ? "" : state.q;
  const title = state.picture || (state.like ? "similar moments" : state.q);
  document.title = title ? `${title} – wordframe` : "wordframe";
  drawAsked();
  filters.draw(state, info?.folders ?? [], go);
  if (shown?.asked !== asked()) list(place);
  if (state.v) player.show(state, { known, play, actions: { similar, moved } });
  else player.close();
}

/** A query that is no text, where it can be seen and taken away. */
function drawAsked() {
  const place = byId("asked");
  place.hidden = !state.picture && !state.like;
  if (place.hidden) return;
  const source = state.like ? api.thumbnailUrl(state.like) : picture() && URL.createObjectURL(picture());
  place.replaceChildren(
    source ? el("img", { src: source, alt: "", height: 32, onload: (event) => URL.revokeObjectURL(event.target.src) }) : "",
    el("span", { class: "asked-name" }, state.picture || "Similar to this moment"),
    el("button", { type: "button", "aria-label": "Search for something else", onclick: () => {
      go({ like: "", picture: "" });
      byId("query").focus();
    } }, "×"));
}

const fetched = (options) => (isSearch()
  ? api.search(state, { ...options, picture: picture(), signal: running.signal })
  : api.videos(state, { ...options, signal: running.signal }));

/** Ask for the first page of what the state says; after Back, for as much as there was. `before`: what it grows from. */
async function list({ scroll = 0, count = 0, before = null } = {}) {
  running.abort();
  running = new AbortController();
  const mine = { asked: asked(), cursor: null, count: 0, weakShown: false, drawn: "" };
  shown = mine;
  if (state.picture && !picture()) {
    clear();
    say(`The picture “${state.picture}” did not stay with the page: choose or drop it again.`);
    return;
  }
  byId("results").setAttribute("aria-busy", "true");
  if (!before) say(isSearch() ? "Searching…" : "");
  try {
    const [page, library] = await Promise.all([fetched({ limit: Math.min(MOST, Math.max(PAGE, count)) }), api.library()]);
    if (shown !== mine) return;
    info = library;
    mine.drawn = JSON.stringify([page.items, page.num_videos]);
    if (before?.drawn === mine.drawn) {
      shown = before; // nothing is new: what is on the page stays
      return;
    }
    filters.draw(state, info.folders, go);
    clear();
    notice();
    put(page);
    note(page.note);
    say(summary(page), { aloud: !before });
    if (!state.v) scrollTo({ top: scroll });
  } catch (error) {
    if (error.name === "AbortError" || shown !== mine) return;
    clear();
    shown = null;
    trouble(error);
  } finally {
    if (shown === mine || shown === before || !shown) byId("results").setAttribute("aria-busy", "false");
  }
}

function clear() {
  byId("results").replaceChildren();
  byId("more").hidden = true;
  byId("notice").hidden = true;
  note(null);
}

/** What the encoder cannot know of the words that were asked. */
function note(words) {
  byId("note").hidden = !words;
  byId("note").textContent = words ? `Note: ${words}.` : "";
}

function put(page) {
  if (isSearch()) shown.weakShown = results.append(page.items, openVideo, shown);
  else results.appendVideos(page.items, openVideo);
  shown.count += page.items.length;
  shown.cursor = page.next_cursor;
  byId("more").hidden = !page.next_cursor;
  if (isSearch() && state.q) markWords();
}

/** Which words found what is shown: asked when it is there, since it takes as long as the search itself. */
async function markWords() {
  const segments = results.unsaid().slice(0, MOST);
  if (!segments.length || !/\S\s+\S/.test(state.q)) return;
  try {
    results.markWords((await api.foundBy(state.q, segments, running.signal)).items);
  } catch {
    // the results are there, and say as much without it
  }
}

function summary(page) {
  const filtered = address.FILTERS.some((name) => state[name]);
  if (!info.num_videos) return "";
  if (!page.num_videos) return "No video passes the filters. Remove one of them.";
  if (!isSearch()) return filtered ? `${counted(page.num_videos, "video")} with these filters.` : `${counted(page.num_videos, "video")}, ${duration(info.seconds_of_video)}. Describe a moment to find it.`;
  if (!page.items.length) return "Nothing was found. Try other words.";
  return `The best of ${counted(page.num_videos, "video")}${filtered ? " with these filters" : ""}.`;
}

/** What to do where there is nothing to show yet. */
function notice() {
  const place = byId("notice");
  place.hidden = info.num_videos > 0;
  if (place.hidden) return;
  place.replaceChildren(
    el("h2", {}, "No videos yet"),
    el("p", {}, "Index a folder of videos from a terminal, where the server was started. They show up here as they come in:"),
    el("pre", {}, el("code", {}, `wordframe index ~/Videos --library "${info.path}"`)),
    el("p", { class: "hint" }, "Everything stays on this machine."),
  );
}

function trouble(error) {
  const place = byId("notice");
  place.hidden = false;
  const help = error.status === 401 ? "Open the link that the server printed when it was started; it holds the token." : error.message;
  const again = el("button", { type: "button", onclick: () => { shown = null; draw(); } }, "Try again");
  place.replaceChildren(el("h2", {}, error.status === 0 ? "The server is gone" : "This did not work"), el("p", { class: "problem", role: "alert" }, help), again);
  say("");
}

function openVideo(id, seconds, moments) {
  back = document.activeElement;
  go({ v: id, t: String(seconds) }, { opened: true, known: moments, play: true });
}

/** The video was closed: back to where it was opened. */
function closed() {
  if (state.v) {
    if (address.isOpened()) history.back();
    else {
      state = { ...state, v: "", t: "" };
      address.replace(state);
    }
  }
  if (back?.isConnected) back.focus({ preventScroll: true });
  back = null;
}

function similar(segment) {
  back = null;
  go({ like: segment, q: "", picture: "", v: "", t: "" });
  byId("results").focus();
}

/** The open video is at another time; no new entry in the history for that. */
function moved(seconds) {
  state = { ...state, t: seconds };
  address.replace(state);
}

async function more() {
  const mine = shown;
  const button = byId("more");
  button.disabled = true;
  try {
    const page = await fetched({ limit: PAGE, cursor: mine.cursor });
    if (shown !== mine) return;
    const before = document.querySelectorAll(".poster").length;
    put(page);
    document.querySelectorAll(".poster")[before]?.focus();
    say(`${counted(page.items.length, "more video")}.`);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message);
  } finally {
    button.disabled = false;
  }
}

const isRead = () => state.v || scrollY > 200 || byId("results").contains(document.activeElement);

/** Indexing goes on: the list grows, without a word, unless somebody reads it or waits for another. */
function grow() {
  if (isRead() || !shown || byId("results").getAttribute("aria-busy") === "true") return;
  list({ scroll: scrollY, count: shown.count, before: shown });
}

/** The library has changed; what somebody is reading stays where it is. */
function refresh() {
  if (isRead()) {
    say("The library has changed. Search again to see what is new.");
    return;
  }
  shown = null;
  draw();
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const words = byId("query").value.trim();
  if (!words) return;
  shown = null;
  go({ q: words, like: "", picture: "", v: "", t: "" });
});
byId("home").addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  go(Object.fromEntries(Object.keys(state).map((name) => [name, ""])));
  byId("query").focus();
});
byId("more").addEventListener("click", more);
addEventListener("popstate", () => {
  state = address.read();
  draw({ place: address.remembered() });
});
addEventListener("pagehide", () => address.remember({ scroll: scrollY, count: shown?.count ?? 0 }));

history.scrollRestoration = "manual";
address.forgetToken();
theme.setUp();
keys.setUp();
player.setUp(closed);
filters.setUp(go);
pictures.setUp((name) => {
  shown = null;
  go({ picture: name, q: "", like: "", v: "", t: "" });
}, say);
indexing.watch(refresh, grow, () => info?.num_videos === 0 && !isSearch());
draw({ place: address.remembered() });
