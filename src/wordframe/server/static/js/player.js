// The open video: one player, its moments, the heat strip, the query's words, and what can be done with a moment.

import * as address from "./address.js";
import * as api from "./api.js";
import { byId, el } from "./dom.js";
import * as pictures from "./pictures.js";
import * as strip from "./strip.js";
import * as why from "./why.js";
import { shortFolder, timecode, wholeWords } from "./words.js";

const dialog = byId("player");
let opening = null; // the controller of the video that is being fetched
let open = null; // what belongs to the open video, with the controller that ends its requests

/** Wires closing; `closed()` is called when the video is gone. */
export function setUp(closed) {
  dialog.addEventListener("close", () => {
    if (dialog.open) return; // another video was opened before this was told
    end();
    closed();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}

function end() {
  opening?.abort();
  if (!open) return;
  open.controller.abort();
  open.player.removeAttribute("src");
  open.player.load();
  forgetClip();
  dialog.replaceChildren();
  open = null;
}

export const isOpen = () => open !== null;

/** Close the video if one is open. */
export function close() {
  if (dialog.open) dialog.close();
}

/**
 * Show a video from `state.t` on. `known` are its moments as the list had them, `play` whether to start at once;
 * `actions` are `similar(segmentId)` and `moved(seconds)`.
 */
export async function show(state, { known, play, actions }) {
  const at = seconds(state);
  if (open && open.id === state.v && open.query === queryOf(state)) {
    if (Math.abs(at - seconds(open.state)) > 0.05) seek(at);
    return;
  }
  end();
  const controller = new AbortController();
  dialog.replaceChildren(framed(heading("Opening the video…")));
  if (!dialog.open) dialog.showModal();
  let detail;
  try {
    opening = controller;
    detail = await api.video(state.v, controller.signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    dialog.replaceChildren(framed(heading("This video cannot be shown"), el("p", { class: "problem", role: "alert" }, error.message)));
    return;
  }
  if (!dialog.open || opening !== controller) return;
  draw(state, detail, { known, actions, controller });
  start(at, play);
}

const seconds = (state) => Math.max(0, Number(state.t) || 0);
const queryOf = (state) => JSON.stringify([state.q, state.like, state.picture]);

/** What is asked for, as the server takes it; null where nothing is, or where it is a picture that is no longer here. */
function asked(state) {
  const picture = pictures.named(state.picture);
  return (state.picture ? picture : state.q || state.like) ? { q: state.q, like: state.like, picture } : null;
}

const framed = (...children) => el("div", { class: "frame" }, ...children);
const heading = (words, ...beside) => el("div", { class: "player-head" },
  el("div", {}, el("h2", { id: "player-title" }, words), ...beside),
  el("button", { type: "button", class: "close", "aria-label": "Close the video", onclick: close }, "×"));

function draw(state, { video, segments }, { known, actions, controller }) {
  const player = el("video", { controls: true, preload: "metadata", playsinline: true, tabindex: 0, "aria-label": video.name });
  const message = el("div", { class: "message", role: "status" });
  const heat = strip.make(video.duration_seconds, seek, remember);
  const query = asked(state);
  const reasons = why.make(() => api.explain(moment().segment_id, query, controller.signal), () => moment(), subjectOf(state));
  const moments = el("ol", { class: "moment-list", "aria-label": "Moments" });
  const chips = el("div", { class: "chips words", role: "group", "aria-label": "Words of the query" });
  open = {
    id: state.v, query: queryOf(state), state, actions, controller, player, message, heat, reasons, list: moments, chips, video,
    moments: known?.length ? known : segments, place: -1, clip: null, wanted: 0,
  };
  dialog.replaceChildren(framed(
    heading(video.name, el("p", { class: "folder", title: video.path }, shortFolder(video.folder))),
    el("div", { class: "player-body" },
      el("div", { class: "stage" }, player, message, heat.element, chips, actionsOf()),
      el("div", { class: "side" }, el("h3", {}, "Moments"), moments, query ? reasons.element : null, ranker(state))),
  ));
  const on = (event, act) => player.addEventListener(event, () => { if (open?.player === player) act(); }); // late ones come
  on("timeupdate", () => {
    heat.follow(position());
    mark();
  });
  on("loadedmetadata", () => { player.currentTime = open.wanted; });
  on("error", () => { if (player.hasAttribute("src")) unplayable(); });
  drawMoments();
  player.focus();
  if (query) fetchHeat(query);
  else if (state.picture) heat.clear("The picture did not stay with the page. Choose or drop it again, and bars here show where the video is like it.");
  else heat.clear("Search for something, and bars here show where the answer is.");
}

/** What the video is compared with, as the page calls it; a sentence has words, which can be looked at one by one. */
const subjectOf = (state) => (state.picture ? "your picture" : state.like ? "the moment you chose" : "");

/** Whether the browser says that it plays the file; without a word from it, trying is the only way. */
function start(at, play) {
  const { player, video } = open;
  open.wanted = at;
  open.heat.follow(at);
  mark(at);
  if (!player.canPlayType(video.mime)) {
    unplayable();
    return;
  }
  player.src = video.media_url;
  if (play) player.play().catch(() => {}); // refused until somebody presses something; the controls are there
}

/** The file does not play here: say why, and offer the moment as a clip that does. */
async function unplayable() {
  const now = open;
  const { video, clip } = now;
  const reason = clip ? "" : await refusal(video.media_url);
  if (open !== now) return;
  now.player.removeAttribute("src");
  if (reason || clip) {
    tell(el("p", { class: "problem" }, reason || "The clip does not play in your browser either."));
    return;
  }
  tell(el("p", {}, `Your browser does not play this file: ${ending(video.name)} with the codec ${video.codec}.`),
    el("button", { type: "button", onclick: () => playClip(now.wanted) }, "Play this moment as a short clip"));
}

const ending = (name) => (/\.[^.]+$/.exec(name)?.[0] ?? "a file").toLowerCase();
const tell = (...lines) => open?.message.replaceChildren(...lines);

/** Why the server does not give the file out, in its own words; empty if it does. */
async function refusal(url) {
  try {
    const answer = await fetch(url, { headers: { Range: "bytes=0-0" } });
    if (answer.ok) return "";
    return (await answer.json()).detail;
  } catch {
    return "The server does not answer.";
  }
}

async function playClip(at) {
  const now = open;
  const found = nearest(at);
  if (!found) return;
  tell(el("p", {}, "Cutting the moment…"));
  try {
    const clip = await cut(found, now);
    if (open !== now) return;
    forgetClip();
    now.clip = { ...clip, url: URL.createObjectURL(clip.file) };
    now.wanted = Math.max(0, at - clip.start_seconds);
    tell(el("p", {}, `A clip of ${span(clip)}, made for your browser${clip.notes && `: ${clip.notes}`}.`));
    now.player.src = now.clip.url;
    now.player.play().catch(() => {});
  } catch (error) {
    if (open === now && error.name !== "AbortError") tell(el("p", { class: "problem" }, error.message));
  }
}

/** A moment as the server cuts it, a minute at most. */
const cut = (found, { controller }) =>
  api.clip(found.segment_id, found.start_seconds, Math.min(found.end_seconds, found.start_seconds + 60), controller.signal);

function forgetClip() {
  if (open.clip) URL.revokeObjectURL(open.clip.url);
  open.clip = null;
}

/** Where the player's own zero lies in the video. */
const offset = () => (open.clip ? open.clip.start_seconds : 0);

function seek(to) {
  const { player, clip } = open;
  if (clip && !(to >= clip.start_seconds && to < clip.end_seconds)) {
    playClip(to);
    return;
  }
  open.wanted = to - offset();
  if (player.readyState > 0) player.currentTime = open.wanted;
  else {
    open.heat.follow(to);
    mark(to);
  }
}

/** The address follows, so that a reload or a link comes back to this time. */
function remember(at) {
  open.state = { ...open.state, t: String(Math.round(at * 1000) / 1000) };
  open.actions.moved(open.state.t);
}

/** Where the player is in the video. */
const position = () => Math.min(offset() + (open.player.readyState > 0 ? open.player.currentTime : open.wanted), open.video.duration_seconds - 0.01);

async function fetchHeat(query) {
  const now = open;
  now.heat.clear("Looking where the answer is…");
  try {
    const found = await api.heat(now.id, query, now.controller.signal);
    if (open !== now) return;
    now.moments = found.moments;
    now.found = { ...found, words: wholeWords(found.words ?? []) };
    drawMoments();
    drawWords();
    showHeat(null);
  } catch (error) {
    if (open === now && error.name !== "AbortError") now.heat.clear(error.message);
  }
}

/** The strip of the whole query, or of one of its words. */
function showHeat(word) {
  const { heat, found, state, chips } = open;
  const subject = subjectOf(state);
  if (subject) heat.show(found, `Bars show how much each moment of this video is like ${subject}; the tallest is most alike.`, { alike: true });
  else if (!word) heat.show(found, "Bars show how much each moment of this video answers your words; the tallest answers most.");
  else heat.show({ seconds: found.seconds, values: word.values }, `Bars show which moments the word “${word.word}” points to.`);
  for (const chip of chips.querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.place === String(word ? found.words.indexOf(word) : -1)));
  }
}

function drawWords() {
  const { chips, found, state } = open;
  chips.replaceChildren();
  if (!found.words.length || subjectOf(state)) return;
  const chip = (label, place) => el("button", {
    type: "button", class: "chip", "data-place": place, onclick: () => showHeat(found.words[place] ?? null),
  }, label);
  chips.append(el("span", { class: "hint" }, "Show"), chip("the whole sentence", -1),
    el("span", { class: "hint" }, "or one word"), ...found.words.map(({ word }, place) => chip(word, place)));
}

/** The moments beside the player, best first; those of a video nobody asked anything about in their order. */
function drawMoments() {
  const { list, moments } = open;
  list.replaceChildren(...moments.map((each, place) => el("li", {}, el("button", {
    type: "button", class: "row", onclick: () => go(place),
  },
    el("img", { src: each.thumbnail_url, alt: "", loading: "lazy", width: 96, height: 54 }),
    el("span", {}, span(each))))));
  open.place = -1;
  mark();
}

const span = (each) => `${timecode(each.start_seconds)} – ${timecode(each.end_seconds)}`;
const holds = ({ start_seconds: start, end_seconds: stop }, time) => time >= start - 0.05 && time < stop;

/** Mark the moment that is shown. Moments may overlap: the one that was chosen stays marked while it lasts. */
function mark(now = position()) {
  const { list, moments } = open;
  const chosen = moments[open.place];
  const place = chosen && holds(chosen, now) ? open.place : moments.findIndex((each) => holds(each, now));
  if (place === open.place) return;
  open.place = place;
  open.reasons.renew();
  [...list.querySelectorAll("button")].forEach((button, at) => button.setAttribute("aria-current", String(at === place)));
}

function go(place) {
  const { moments, player, list } = open;
  const within = Math.max(0, Math.min(moments.length - 1, place));
  const chosen = moments[within];
  if (!chosen) return;
  open.place = within;
  seek(chosen.start_seconds);
  remember(chosen.start_seconds);
  open.reasons.renew();
  [...list.querySelectorAll("button")].forEach((button, at) => button.setAttribute("aria-current", String(at === within)));
  list.children[within].scrollIntoView({ block: "nearest" });
  if (player.hasAttribute("src")) player.play().catch(() => {});
}

function nearest(time) {
  const chosen = open.moments[open.place];
  return chosen && holds(chosen, time) ? chosen : open.moments.find((each) => holds(each, time)) ?? open.moments[0];
}

/** The moment that is shown now. */
const moment = () => nearest(position());

function actionsOf() {
  return el("div", { class: "actions" },
    el("button", { type: "button", onclick: copyLink }, "Copy link to this moment"),
    el("button", { type: "button", onclick: () => open.actions.similar(moment().segment_id) }, "Find similar moments"),
    el("button", { type: "button", onclick: save }, "Save this moment"));
}

async function copyLink() {
  const now = open;
  const target = address.link({ ...now.state, t: position().toFixed(1) });
  try {
    await navigator.clipboard.writeText(target);
    tell(el("p", {}, "The link is copied."));
  } catch {
    tell(el("p", {}, "Copy this link: ", el("input", { readonly: true, value: target, "aria-label": "Link to this moment" })));
    now.message.querySelector("input").select();
  }
}

/** Download the moment; an error comes as a line here, not as a page. */
async function save() {
  const now = open;
  const found = moment();
  tell(el("p", {}, "Cutting the moment…"));
  try {
    const clip = await cut(found, now);
    if (open !== now) return;
    const url = URL.createObjectURL(clip.file);
    const name = `${now.video.name.replace(/\.[^.]*$/, "")}_${found.start_seconds}-${found.end_seconds}s.mp4`;
    el("a", { href: url, download: name }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
    tell(el("p", {}, `Saved as ${name}: ${span(clip)} of the video${clip.notes && `, ${clip.notes}`}.`));
  } catch (error) {
    if (open === now && error.name !== "AbortError") tell(el("p", { class: "problem" }, error.message));
  }
}

/** Video → text: several sentences, ranked for this video. */
function ranker(state) {
  const text = el("textarea", { rows: 4, dir: "auto", "aria-label": "Sentences, one a line", placeholder: "One sentence a line" });
  const ranked = el("ol", { class: "ranked", "aria-live": "polite" });
  const rank = async (event) => {
    event.preventDefault();
    const sentences = text.value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 100);
    if (!sentences.length) return;
    ranked.replaceChildren(el("li", {}, "Comparing…"));
    try {
      const { items } = await api.rankTexts(state.v, sentences);
      ranked.replaceChildren(...items.map((item) => el("li", {}, el("button", {
        type: "button", class: "row", onclick: () => { seek(item.moment.peak_seconds); remember(item.moment.peak_seconds); },
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
