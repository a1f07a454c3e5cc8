// Filters: a small form, and a chip for each that is in use.

import { FILTERS } from "./address.js";
import { byId, el } from "./dom.js";
import { shortFolder } from "./words.js";

const WORDS = {
  folder: (value) => `in ${shortFolder(value)}`,
  min: (value) => `at least ${value} s`,
  max: (value) => `at most ${value} s`,
  after: (value) => `files from ${value}`,
  before: (value) => `files before ${value}`,
};

/** Wires the form; `change` is called with the filters that somebody wants. */
export function setUp(change) {
  const form = byId("filter-form");
  byId("filter").addEventListener("click", () => show(form.hidden));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show(false);
    byId("filter").focus();
    change(Object.fromEntries(FILTERS.map((name) => [name, byId(name).value])));
  });
}

function show(open) {
  byId("filter-form").hidden = !open;
  byId("filter").setAttribute("aria-expanded", String(open));
  if (open) byId("folder").focus();
}

/** The form as the address has it, and a removable chip for each filter. */
export function draw(state, folders, change) {
  const all = folders.some(({ name }) => name === state.folder) || !state.folder ? folders : [...folders, { name: state.folder }];
  byId("folder").replaceChildren(
    el("option", { value: "" }, "any"),
    ...all.map(({ name }) => el("option", { value: name }, shortFolder(name))),
  );
  for (const name of FILTERS) byId(name).value = state[name];
  const chips = FILTERS.filter((name) => state[name]).map((name) =>
    el("li", {}, el("button", {
      type: "button", class: "chip",
      "aria-label": `Remove the filter: ${WORDS[name](state[name])}`,
      onclick: () => { change({ [name]: "" }); byId("filter").focus(); },
    }, WORDS[name](state[name]), el("span", { "aria-hidden": "true" }, " ×"))),
  );
  byId("chips").replaceChildren(...chips);
  byId("chips").hidden = !chips.length;
}
