// The open video: one player, its moments, the heat strip, the query's words, and what can be done with a moment.

import * as address from "./address.js";
import * as api from "./api.js";
import { byId, el } from "./dom.js";
import * as strip from "./strip.js";
import * as why from "./why.js";
import { isWord, timecode } from "./words.js";

const dialog = byId("player");
let open = null; // what belongs to the open video, with the controller that ends its requests

/** Wires closing; `closed()` is called when the video is gone. */
export function setUp(closed) {
  dialog.addEventListener("close", () => {
    end();
    closed();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

function end() {
  if (!open) return;
  open.controller.abort();
  open.player.removeAttribute("src");
  open.player.load();
  dialog.replaceChildren();
  open = null;
}

export const isOpen = () => open !== null;

/** Close the video if one is open. */
export function close() {
  if (dialog.open) dialog.close();
}

/** Show a video from `state.t` on; `actions` are `similar(segmentId)` and `moved(seconds)`. */
export async function show(state, actions) {
  if (open && open.id === state.v && open.query === queryOf(state)) {
    seek(Number(state.t) || 0);
    return;
  }
  end();
  const controller = new AbortController();
  dialog.replaceChildren(el("p", { role: "status" }, "Opening the video…"), closing());
  if (!dialog.open) dialog.showModal();
  let detail;
  try {
    detail = await api.video(state.v);
  } catch (error) {
    dialog.replaceChildren(el("h2", { id: "player-title" }, "This video cannot be shown"), el("p", { class: "problem" }, error.message), closing());
    return;
  }
  if (!dialog.open) return;
  draw(state, detail, actions, controller);
}

const queryOf = (state) => (state.like ? `like ${state.like}` : state.q);
const closing = () => el("button", { type: "button", class: "close", "aria-label": "Close the video", onclick: close }, "×");

function draw(state, { video, segments }, actions, controller) {
  const player = el("video", { controls: true, preload: "metadata", playsinline: true, tabindex: 0, "aria-label": video.name });
  const message = el("div", { class: "message", role: "status" });
  const heat = strip.make(video.duration_seconds, seek);
  const reasons = why.make(() => api.explain(moment().segment_id, state.q, controller.signal));
  const moments = el("ol", { class: "moment-list", "aria-label": "Moments" });
  const chips = el("div", { class: "chips words", role: "group", "aria-label": "Words of the query" });
  open = {
    id: state.v, query: queryOf(state), state, actions, controller, player, message, heat, reasons, list: moments, chips, video,
    moments: segments.map((segment) => ({ ...segment, score: null })), place: -1, clip: null,
  };
  dialog.replaceChildren(
    el("div", { class: "player-head" }, el("h2", { id: "player-title" }, video.name), closing()),
    el("p", { class: "folder" }, video.folder),
    el("div", { class: "player-body" },
      el("div", { class: "stage" }, player, message, heat.element, chips, actionsOf(state)),
      el("div", { class: "side" }, el("h3", {}, "Moments"), moments, state.q && !state.like ? reasons.element : null, ranker(state))),
  );
  player.addEventListener("timeupdate", () => {
    heat.follow(offset() + player.currentTime);
    mark();
  });
  player.addEventListener("error", () => { if (player.hasAttribute("src")) unplayable(); });
  start(Number(state.t) || 0);
  drawMoments();
  player.focus();
  if (state.q || state.like) fetchHeat(state);
  else heat.clear("Search for something to see here where the answer is.");
}

/** Whether the browser says that it plays the file; without a word from it, trying is the only way. */
function start(seconds) {
  const { player, video } = open;
  if (!player.canPlayType(video.mime)) {
    unplayable(seconds);
    return;
  }
  player.addEventListener("loadedmetadata", () => { player.currentTime = seconds; }, { once: true });
  player.src = video.media_url;
}

/** The file does not play here: say why, and offer the moment as a clip that does. */
async function unplayable(seconds = Number(open.state.t) || 0) {
  const now = open;
  const reason = await reachable(now.video.media_url);
  if (open !== now) return;
  now.player.removeAttribute("src");
  if (reason) {
    now.message.replaceChildren(el("p", { class: "problem" }, reason));
    return;
  }
  now.message.replaceChildren(
    el("p", {}, `Your browser does not play this file (codec ${now.video.codec}).`),
    el("button", { type: "button", onclick: () => playClip(seconds) }, "Play this moment as a short clip"),
  );
}

/** Why the server does not give the file out, in its own words; empty if it does. */
async function reachable(url) {
  try {
    const answer = await fetch(url, { headers: { Range: "bytes=0-0" } });
    if (answer.ok) return "";
    return (await answer.json()).detail;
  } catch {
    return "The server does not answer.";
  }
}

function playClip(seconds) {
  const found = nearest(seconds);
  if (!found) return;
  const url = clipUrl(found);
  open.clip = found;
  open.message.replaceChildren(el("p", {}, `A clip of ${timecode(found.start_seconds)} – ${timecode(found.end_seconds)}.`));
  open.player.src = url;
  open.player.load();
  open.player.play().catch(() => {});
}

/** Where the player's own zero lies in the video. */
const offset = () => (open.clip ? open.clip.start_seconds : 0);

function seek(seconds) {
  if (!open) return;
  const { player } = open;
  if (open.clip) {
    if (seconds >= open.clip.start_seconds && seconds < open.clip.end_seconds) player.currentTime = seconds - open.clip.start_seconds;
    else playClip(seconds);
  } else if (player.readyState === 0 && player.hasAttribute("src")) {
    player.addEventListener("loadedmetadata", () => { player.currentTime = seconds; }, { once: true });
  } else if (player.hasAttribute("src")) {
    player.currentTime = seconds;
  } else {
    open.state = { ...open.state, t: String(seconds) };
  }
}

async function fetchHeat(state) {
  const now = open;
  now.heat.clear("Looking where the answer is…");
  try {
    const found = await api.heat(state.v, state, now.controller.signal);
    if (open !== now) return;
    now.moments = found.moments;
    now.found = found;
    drawMoments();
    drawWords();
    showHeat(null);
  } catch (error) {
    if (open === now) now.heat.clear(error.message);
  }
}

/** The strip of the whole query, or of one of its words. */
function showHeat(word) {
  const { heat, found, state, chips } = open;
  const subject = state.like ? "the moment you chose" : "your words";
  if (!word) heat.show(found, `Bars show how much each moment answers ${subject}: higher is better, over this video.`);
  else heat.show({ seconds: found.seconds, values: word.values }, `Bars show which moments “${word.word}” points to.`);
  for (const chip of chips.querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.word === (word ? word.word : "")));
  }
}

function drawWords() {
  const { chips, found, state } = open;
  const words = (found.words ?? []).filter(({ word }) => isWord(word));
  chips.replaceChildren();
  if (!words.length || state.like) return;
  const chip = (label, word) => el("button", {
    type: "button", class: "chip", "aria-pressed": String(!word), "data-word": word ? word.word : "", onclick: () => showHeat(word),
  }, label);
  chips.append(el("span", { class: "hint" }, "Show where"), chip("the sentence", null), ...words.map((word) => chip(word.word.replace(/^##|<\/w>$/g, ""), word)), el("span", { class: "hint" }, "points."));
}

/** The moments beside the player, best first; those of a video nobody asked anything about in their order. */
function drawMoments() {
  const { list, moments } = open;
  list.replaceChildren(...moments.map((each, place) => el("li", {}, el("button", {
    type: "button", class: "row", onclick: () => go(place),
  },
    el("img", { src: each.thumbnail_url, alt: "", loading: "lazy", width: 96, height: 54 }),
    el("span", {}, `${timecode(each.start_seconds)} – ${timecode(each.end_seconds)}`)))));
  open.place = -1;
  mark();
}

function mark() {
  const { list, moments, player } = open;
  const now = offset() + player.currentTime;
  const place = moments.findIndex(({ start_seconds: start, end_seconds: stop }) => now >= start - 0.05 && now < stop);
  if (place === open.place) return;
  open.place = place;
  open.reasons.forget();
  [...list.querySelectorAll("button")].forEach((button, at) => button.setAttribute("aria-current", String(at === place)));
}

function go(place) {
  const { moments, actions, player } = open;
  const chosen = moments[Math.max(0, Math.min(moments.length - 1, place))];
  if (!chosen) return;
  open.state = { ...open.state, t: String(chosen.start_seconds) };
  seek(chosen.start_seconds);
  actions.moved(chosen.start_seconds);
  if (player.hasAttribute("src")) player.play().catch(() => {});
}

function nearest(seconds) {
  const inside = open.moments.find(({ start_seconds: start, end_seconds: stop }) => seconds >= start - 0.05 && seconds < stop);
  return inside ?? open.moments[0];
}

/** The moment that is shown now. */
const moment = () => nearest(offset() + open.player.currentTime);
const clipUrl = (found) => `/api/v1/segments/${found.segment_id}/clip?start=${found.start_seconds}&end=${Math.min(found.end_seconds, found.start_seconds + 60)}`;

function actionsOf() {
  return el("div", { class: "actions" },
    el("button", { type: "button", onclick: copyLink }, "Copy link to this moment"),
    el("button", { type: "button", onclick: () => open.actions.similar(moment().segment_id) }, "Find similar moments"),
    el("button", { type: "button", onclick: save }, "Save this moment"));
}

async function copyLink() {
  const now = open;
  const target = address.link({ ...now.state, t: (offset() + now.player.currentTime).toFixed(1) });
  try {
    await navigator.clipboard.writeText(target);
    now.message.replaceChildren(el("p", {}, "The link is copied."));
  } catch {
    now.message.replaceChildren(el("p", {}, "Copy this link: ", el("input", { readonly: true, value: target, "aria-label": "Link to this moment" })));
    now.message.querySelector("input").select();
  }
}

/** Download the moment; an error comes as a line here, not as a page. */
async function save() {
  const now = open;
  const found = moment();
  now.message.replaceChildren(el("p", {}, "Cutting the moment…"));
  try {
    const answer = await fetch(clipUrl(found));
    if (!answer.ok) throw new Error((await answer.json()).detail);
    const url = URL.createObjectURL(await answer.blob());
    const name = `${now.video.name.replace(/\.[^.]*$/, "")}_${found.start_seconds}-${found.end_seconds}s.mp4`;
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    now.message.replaceChildren(el("p", {}, `Saved as ${name}.`));
  } catch (error) {
    now.message.replaceChildren(el("p", { class: "problem" }, error.message));
  }
}

/** Video → text: several sentences, ranked for this video. */
function ranker(state) {
  const text = el("textarea", { rows: 4, "aria-label": "Sentences, one a line", placeholder: "One sentence a line" });
  const ranked = el("ol", { class: "ranked", "aria-live": "polite" });
  const rank = async (event) => {
    event.preventDefault();
    const sentences = text.value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 100);
    if (!sentences.length) return;
    ranked.replaceChildren(el("li", {}, "Comparing…"));
    try {
      const { items } = await api.rankTexts(state.v, sentences);
      ranked.replaceChildren(...items.map((item) => el("li", {}, el("button", {
        type: "button", class: "row", onclick: () => seek(item.moment.peak_seconds),
      }, el("span", {}, item.text), el("span", { class: "hint" }, `${timecode(item.moment.peak_seconds)} · ${item.score.toFixed(2)}`)))));
    } catch (error) {
      ranked.replaceChildren(el("li", { class: "problem" }, error.message));
    }
  };
  return el("details", { class: "ranker" }, el("summary", {}, "Which sentence fits this video?"),
    el("form", { onsubmit: rank }, text, el("button", {}, "Rank them")), ranked);
}

/** Keys of the open video; true if the key was for it. */
export function key(event) {
  if (!open) return false;
  const { player } = open;
  if (event.key === "n") go(open.place + 1);
  else if (event.key === "p") go(open.place - 1);
  else if (event.key === "c") copyLink();
  else if (event.key === " " && event.target !== player && !event.target.closest("button, summary, input, textarea, a")) player.paused ? player.play().catch(() => {}) : player.pause();
  else return false;
  event.preventDefault();
  return true;
}
