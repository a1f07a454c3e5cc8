// The list of videos: a card each, with its poster and its best moments as buttons. No player in here.

import { byId, el } from "./dom.js";
import { shortFolder, timecode } from "./words.js";

/** Cards of search results; `open(videoId, seconds, moments)` is called for the moment that somebody presses. */
export function append(items, open, { weakShown }) {
  const list = byId("results");
  for (const item of items) {
    if (item.weak && !weakShown) {
      weakShown = true;
      list.append(el("li", { class: "weak-from" }, el("p", {}, item.rank === 1
        ? "Nothing stands out: from here on no better than chance. Other words may find more."
        : "From here on no better than chance.")));
    }
    list.append(card(item.video, item.moments, open, item));
  }
  return weakShown;
}

/** Cards of the videos themselves, where nothing is asked yet. */
export function appendVideos(videos, open) {
  byId("results").append(...videos.map((video) => card(video, [], open)));
}

function card(video, moments, open, { weak = false, copies = [] } = {}) {
  const first = moments[0];
  const start = first?.start_seconds ?? 0;
  const poster = el("button", {
    type: "button", class: "poster", "data-video": video.video_id,
    "aria-label": `${video.name}, play from ${timecode(start)}`,
    onclick: () => open(video.video_id, start, moments),
  },
    el("img", { src: (first ?? video).thumbnail_url, alt: "", loading: "lazy", width: 256, height: 144 }),
    el("span", { class: "length" }, timecode(video.duration_seconds)));
  const buttons = moments.map((moment) => el("button", {
    type: "button", class: "moment", "aria-label": `Play from ${timecode(moment.start_seconds)} to ${timecode(moment.end_seconds)}`,
    onclick: () => open(video.video_id, moment.start_seconds, moments),
  }, `${timecode(moment.start_seconds)} – ${timecode(moment.end_seconds)}`));
  return el("li", { class: weak ? "card weak" : "card" },
    poster,
    el("div", { class: "about" },
      el("h2", { title: video.path }, video.name),
      el("p", { class: "folder", title: video.folder }, shortFolder(video.folder)),
      copies.length ? el("p", { class: "folder", title: copies.join("\n") },
        copies.length === 1 ? "the same file lies in another place" : `the same file lies in ${copies.length} other places`) : null,
      video.problem ? el("p", { class: "problem" }, `Read only in part: ${video.problem}`) : null,
      first && !weak ? el("p", { class: "found-by", "data-segment": first.segment_id, hidden: true }) : null,
      buttons.length ? el("div", { class: "moments" }, buttons) : null));
}

/** The segments whose cards could say which words found them. */
export const unsaid = () => [...document.querySelectorAll(".found-by[hidden]")].map((line) => line.dataset.segment);

/** Mark at each card how much each word of the query counted. */
export function markWords(items) {
  for (const { segment_id: segment, words } of items) {
    const line = document.querySelector(`.found-by[data-segment="${segment}"]`);
    if (!line || !words.length) continue;
    line.replaceChildren(el("span", { class: "hidden" }, "Found by "), ...words.flatMap(({ word, share }) => {
      const percent = `${Math.round(100 * share)} %`;
      const marked = el("span", { class: "by-word", "data-weight": Math.ceil(4 * share), title: percent }, word,
        el("span", { class: "hidden" }, ` ${percent},`));
      return [marked, " "];
    }));
    line.hidden = false;
  }
}
