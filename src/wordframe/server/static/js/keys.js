// The keyboard, as the dialog "Keys" tells it. Keys never fire while somebody types.

import { byId } from "./dom.js";
import * as player from "./player.js";

const MOVES = ["ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"];

export function setUp() {
  byId("keys").addEventListener("click", () => byId("keys-help").showModal());
  byId("query").addEventListener("keydown", (event) => {
    if (event.key !== "ArrowDown" || !posters().length) return;
    posters()[0].focus();
    event.preventDefault();
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest?.("input:not([type=range]), textarea, select")) return;
    if (act(event)) event.preventDefault();
  });
}

/** Whether the key meant something here. */
function act(event) {
  const help = byId("keys-help");
  if (event.key === "?") {
    if (help.open) help.close();
    else help.showModal();
    return true;
  }
  if (help.open) return false;
  if (player.isOpen()) return player.key(event);
  if (event.key === "/") {
    byId("query").focus();
    byId("query").select();
    return true;
  }
  return MOVES.includes(event.key) && walk(event.key);
}

const posters = () => [...document.querySelectorAll(".poster")];

/** From card to card, up and down by rows; only from inside of a card, so that the arrows scroll everywhere else. */
function walk(key) {
  const card = document.activeElement.closest(".card");
  if (!card) return false;
  const all = posters();
  const from = all.findIndex((poster) => card.contains(poster));
  const [x, y] = [all[from].getBoundingClientRect().left, all[from].getBoundingClientRect().top];
  const inColumn = (poster) => Math.abs(poster.getBoundingClientRect().left - x) < 2;
  const target = {
    ArrowLeft: () => all[from - 1],
    ArrowRight: () => all[from + 1],
    ArrowDown: () => all.find((poster) => inColumn(poster) && poster.getBoundingClientRect().top > y + 2),
    ArrowUp: () => all.findLast((poster) => inColumn(poster) && poster.getBoundingClientRect().top < y - 2),
  }[key]();
  (target ?? (key === "ArrowUp" ? byId("query") : all[from])).focus();
  return true;
}
