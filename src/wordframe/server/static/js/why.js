// "Why was this found?": the parts of the score and how much each counted, in plain words.

import { el } from "./dom.js";
import { timecode } from "./words.js";

const OF_WORDS = {
  video_sentence: "the moment as a whole against the sentence as a whole",
  video_word: "the moment as a whole against each word",
  sentence_frame: "each picture, seen with the words in mind, against the sentence",
  frame_word: "each picture against each word",
};
const ofPicture = (subject) => ({
  video_sentence: `the moment as a whole against ${subject}`,
  video_word: `the moment as a whole against ${subject}, as if it were a word`,
  sentence_frame: `each picture of the moment against ${subject}`,
  frame_word: `each picture of the moment against ${subject}, as if it were a word`,
});

/**
 * A panel for an explanation; `ask()` gets it from the server, once somebody opens the panel, about `moment()`.
 * `subject` is what the query is called where it is no sentence, else empty.
 */
export function make(ask, moment, subject) {
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
      lines = told(await ask(), mine, subject);
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

function told(reasons, { start_seconds: start, end_seconds: stop }, subject) {
  const names = subject ? ofPicture(subject) : OF_WORDS;
  const parts = Object.entries(reasons.parts);
  const weights = reasons.part_weights;
  const lines = [el("p", {}, `The moment ${timecode(start)} – ${timecode(stop)} has the score ${reasons.score.toFixed(3)}; 1 would be a perfect match.`)];
  if (subject) lines.push(el("p", {}, "There are no words in this search, so nothing can be shown word by word."));
  if (!parts.length) {
    lines.push(el("p", {}, `This model compares one summary of the moment with ${subject || "the sentence"}, so there is nothing more to show.`));
  } else if (parts.length === 1) {
    lines.push(el("p", {}, `This model makes one comparison: ${names[parts[0][0]]}. The strip shows which pictures ${subject ? "are most like it" : "the sentence looked at"}.`));
  } else {
    lines.push(el("table", {},
      el("caption", {}, weights ? "The score is the sum of the parts, each times its weight." : "The score is the mean of the parts."),
      el("thead", {}, el("tr", {}, ...["Compared", "Likeness", ...(weights ? ["Weight"] : [])].map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, ...parts.map(([name, value]) => el("tr", {},
        el("th", { scope: "row" }, names[name] ?? name),
        el("td", {}, value.toFixed(3)),
        weights ? el("td", {}, `${Math.round(100 * weights[name])} %`) : null)))));
  }
  return lines;
}
