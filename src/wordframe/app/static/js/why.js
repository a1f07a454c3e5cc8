// "Why was this found?": the parts of the score and how much each counted, in plain words.

import { el } from "./dom.js";
import { timecode } from "./words.js";

const PARTS = {
  video_sentence: "the moment as a whole against the sentence as a whole",
  video_word: "the moment as a whole against each word",
  sentence_frame: "each picture, seen with the words in mind, against the sentence",
  frame_word: "each picture against each word",
};

/** A panel for an explanation; `ask()` gets it from the server, once somebody opens the panel, about `moment()`. */
export function make(ask, moment) {
  const body = el("div", { class: "why-body" });
  const panel = el("details", { class: "why" }, el("summary", {}, "Why was this found?"), body);
  let about = null; // the segment that the panel speaks of
  const renew = async () => {
    const mine = moment();
    if (!panel.open || !mine || about === mine.segment_id) return;
    about = mine.segment_id;
    if (!body.children.length) body.replaceChildren(el("p", {}, "Asking the model…"));
    let lines;
    try {
      lines = told(await ask(), mine);
    } catch (error) {
      lines = [el("p", { class: "problem" }, error.message)];
    }
    if (about === mine.segment_id) body.replaceChildren(...lines);
  };
  panel.addEventListener("toggle", renew);
  return {
    element: panel,
    /** Another moment is shown: an open panel goes on with that one. */
    renew,
  };
}

function told(reasons, { start_seconds: start, end_seconds: stop }) {
  const parts = Object.entries(reasons.parts);
  const weights = reasons.part_weights;
  const lines = [el("p", {}, `The moment ${timecode(start)} – ${timecode(stop)} has the score ${reasons.score.toFixed(3)}; 1 would be a perfect match.`)];
  if (!parts.length) {
    lines.push(el("p", {}, "This model compares one summary of the moment with the sentence, so there is nothing more to show."));
  } else if (parts.length === 1) {
    lines.push(el("p", {}, `This model makes one comparison: ${PARTS[parts[0][0]]}. The strip shows which pictures the sentence looked at.`));
  } else {
    lines.push(el("table", {},
      el("caption", {}, weights ? "The score is the sum of the parts, each times its weight." : "The score is the mean of the parts."),
      el("thead", {}, el("tr", {}, ...["Compared", "Likeness", ...(weights ? ["Weight"] : [])].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...parts.map(([name, value]) => el("tr", {},
        el("th", { scope: "row" }, PARTS[name] ?? name),
        el("td", {}, value.toFixed(3)),
        weights ? el("td", {}, `${Math.round(100 * weights[name])} %`) : null)))));
  }
  return lines;
}
