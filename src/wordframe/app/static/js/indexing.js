// Indexing: how it gets on, whoever started it. Asked gently, and only while there is something to see.

import * as api from "./api.js";
import { byId, el } from "./dom.js";
import { counted, duration } from "./words.js";

const WHILE_RUNNING = 2000;
const WHILE_IDLE = 15000;

/** Keep the panel up to date; `finished()` is called when a run has ended. */
export function watch(finished) {
  let before = null;
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    let status = null;
    try {
      status = await api.indexing();
      draw(status, look);
      if (before === "running" && status.state !== "running") finished();
      before = status.state;
    } catch {
      // the search tells that the server is gone
    }
    if (!document.hidden) timer = setTimeout(look, status?.state === "running" ? WHILE_RUNNING : WHILE_IDLE);
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
  look();
  return look;
}

function draw(status, look) {
  const panel = byId("indexing");
  const running = status.state === "running";
  const faults = status.failures.length;
  panel.hidden = !running && !(status.state === "stopped") && !faults && !status.allow_index;
  if (panel.hidden) return;
  const lines = [el("p", {}, words(status))];
  if (running) lines.push(el("progress", { max: Math.max(1, status.bytes_total), value: status.bytes_done, "aria-label": "Indexing" }));
  if (faults) {
    lines.push(el("details", {}, el("summary", {}, `${counted(faults, "file")} could not be read`),
      el("ul", { class: "failures" }, ...status.failures.map(({ reason }) => el("li", {}, reason)))));
  }
  if (status.allow_index && !running) lines.push(action("Look for new videos", api.startIndexing, look));
  if (status.allow_index && running && status.by_server) lines.push(action("Stop", api.stopIndexing, look));
  const open = panel.querySelector("details")?.open;
  const focused = panel.contains(document.activeElement);
  panel.replaceChildren(...lines);
  if (open && panel.querySelector("details")) panel.querySelector("details").open = true;
  if (focused) (panel.querySelector("button") ?? byId("query")).focus();
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
  if (status.state === "stopped") return "Indexing was interrupted. What was finished is kept; the next run goes on from there.";
  return status.state === "never" ? "Nothing has been indexed yet." : "The library is indexed.";
}
