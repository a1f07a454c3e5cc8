// Indexing: how it gets on, whoever started it. Asked gently, and only while there is something to see.

import * as api from "./api.js";
import { byId, el } from "./dom.js";
import { counted, duration } from "./words.js";

const WHILE_RUNNING = 2000;
const WHILE_IDLE = 15000;

/** Keep the panel up to date; `changed()` is called when a run has ended, `grew()` during one as files are done. */
export function watch(changed, grew, isWaiting) {
  let before = null;
  let grown = null;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    let status = null;
    try {
      status = await api.indexing();
      draw(status, look);
      const done = `${status.files_done} ${status.ended}`;
      if (before === "running" && status.state !== "running") changed();
      else if (status.files_done && done !== grown && (status.state === "running" || isWaiting())) grew();
      grown = done;
      before = status.state;
    } catch {
      // the search tells that the server is gone
    }
    if (!document.hidden) timer = setTimeout(look, ["running", "never"].includes(status?.state) || isWaiting() ? WHILE_RUNNING : WHILE_IDLE);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  look();
  return look;
}

let drawn = "";

function draw(status, look) {
  const panel = byId("indexing");
  const running = status.state === "running";
  const faults = status.num_failures;
  if (JSON.stringify(status) === drawn) return;
  drawn = JSON.stringify(status);
  announce(status);
  panel.hidden = status.state === "never" || (status.state === "finished" && !faults && !status.allow_index);
  if (panel.hidden) return;
  const lines = [el("p", { class: status.problem ? "problem" : null }, words(status))];
  if (running) lines.push(el("progress", { max: Math.max(1, status.bytes_total), value: status.bytes_done, "aria-label": "Indexing" }));
  if (faults) {
    const untold = faults - status.failures.length;
    lines.push(el("details", {}, el("summary", {}, `${counted(faults, "file")} could not be read`),
      el("ul", { class: "failures", tabindex: 0, "aria-label": "Files that could not be read" },
        ...status.failures.map(({ reason }) => el("li", {}, reason)),
        untold > 0 ? el("li", {}, `and ${untold.toLocaleString("en")} more`) : null)));
  }
  if (status.allow_index && !running) lines.push(action("Look for new videos", api.startIndexing, look));
  if (status.allow_index && running && status.by_server) lines.push(action("Stop", api.stopIndexing, look));
  const open = panel.querySelector("details")?.open;
  const focused = panel.contains(document.activeElement) && document.activeElement.localName;
  panel.replaceChildren(...lines);
  if (open && panel.querySelector("details")) panel.querySelector("details").open = true;
  if (focused) (panel.querySelector(focused) ?? panel.querySelector("button, summary") ?? byId("query")).focus();
}

let told = "";

/** Said aloud: the start, each quarter, and the end of a run; not every file. */
function announce(status) {
  const quarter = status.files_total ? Math.floor((4 * status.files_done) / status.files_total) : 0;
  const now = status.state === "running" ? `running ${quarter}` : status.state;
  if (now !== told && (told || status.state === "running")) byId("indexing-status").textContent = words(status);
  told = now;
}

function action(label, call, look) {
  return el("button", {
    type: "button",
    onclick: async (event) => {
      event.target.disabled = true;
      try {
        await call();
        setTimeout(look, 500);
      } catch (error) {
        byId("status").textContent = error.message;
        event.target.disabled = false;
      }
    },
  }, label);
}

function words(status) {
  if (status.state === "running") {
    const left = status.remaining_seconds === null ? "" : `, about ${duration(status.remaining_seconds)} left`;
    return status.files_total
      ? `Indexing: ${status.files_done.toLocaleString("en")} of ${counted(status.files_total, "file")}${left}`
      : "Indexing: looking for videos";
  }
  if (status.problem) return `Indexing failed: ${status.problem}`;
  if (status.state === "stopped") return "Indexing was interrupted. What was finished is kept; the next run goes on from there.";
  return status.state === "never" ? "Nothing has been indexed yet." : "The library is indexed.";
}
