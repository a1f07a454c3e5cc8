// "Why was this found?": the parts of the score and how much each counted, in plain words.

import { el } from "./dom.js";

const PARTS = {
  video_sentence: "the moment as a whole against the sentence as a whole",
  video_word: "the moment as a whole against each word",
  sentence_frame: "each picture, seen with the words in mind, against the sentence",
  frame_word: "each picture against each word",
};

/** A panel for an explanation; `ask()` gets it from the server when somebody opens the panel. */
export function make(ask) {
  const body = el("div", { class: "why-body" });
  const panel = el("details", { class: "why" }, el("summary", {}, "Why was this found?"), body);
  panel.addEventListener("toggle", async () => {
    if (!panel.open) return;
    body.replaceChildren(el("p", {}, "Asking the model…"));
    try {
      body.replaceChildren(...told(await ask()));
    } catch (error) {
      body.replaceChildren(el("p", { class: "problem" }, error.message));
    }
  });
  return {
    element: panel,
    /** Another moment is shown: what was said is about the one before. */
    forget() {
      panel.open = false;
      body.replaceChildren();
    },
  };
}

function told(reasons) {
  const parts = Object.entries(reasons.parts);
  const weights = reasons.part_weights;
  const lines = [el("p", {}, `The score of this moment is ${reasons.score.toFixed(3)}; 1 would be a perfect match.`)];
  if (!parts.length) {
    lines.push(el("p", {}, "This model compares one summary of the moment with the sentence, so there is nothing more to show."));
  } else if (parts.length === 1) {
    lines.push(el("p", {}, `It is all from one comparison: ${PARTS[parts[0][0]]}. The strip shows which pictures the sentence looked at.`));
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
