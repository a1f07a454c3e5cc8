// Pictures as queries: chosen, dropped or pasted. They stay in the memory of this page; the address holds their names.

import { byId } from "./dom.js";

const KINDS = ["image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/tiff", "image/avif"];
const MAX_BYTES = 10 * 1024 * 1024;
const kept = new Map();

/** The picture of that name, if it was given since the page was opened. */
export const named = (name) => kept.get(name) ?? null;

/** A name of its own for each picture: pasted ones are all called the same. */
function nameOf(file) {
  const isKept = (name) => kept.has(name) && !(kept.get(name).size === file.size && kept.get(name).lastModified === file.lastModified);
  let name = file.name;
  for (let number = 2; isKept(name); number += 1) name = `${file.name} (${number})`;
  return name;
}

/** Wires the button, dropping and pasting; `search(name)` is called with a new picture, `say(words)` with what is wrong. */
export function setUp(search, say) {
  const take = (file) => {
    if (!file) return;
    if (!KINDS.includes(file.type)) say("A picture is needed: JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF.");
    else if (file.size > MAX_BYTES) say("This picture is larger than 10 MB; scale it down.");
    else {
      const name = nameOf(file);
      kept.set(name, file);
      search(name);
    }
  };
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    take(event.target.files[0]);
    event.target.value = "";
  });
  addEventListener("paste", (event) => take(event.clipboardData?.files[0]));
  drops(take);
}

function drops(take) {
  const holdsFile = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (visible) => { byId("drop").hidden = !visible; };
  addEventListener("dragenter", (event) => { if (holdsFile(event)) show(true); });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) show(false); });
  addEventListener("dragover", (event) => { if (holdsFile(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    if (!holdsFile(event)) return;
    event.preventDefault();
    show(false);
    take(event.dataTransfer.files[0]);
  });
}
