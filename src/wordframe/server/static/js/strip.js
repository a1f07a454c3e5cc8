// The heat strip: how much each moment of the video answers, as bars under a slider that moves the player.

import { el, svg } from "./dom.js";
import { strength, timecode } from "./words.js";

const HEIGHT = 40;

/** A strip over `duration` seconds; `seek(seconds)` is called while somebody moves it, `left(seconds)` when it is let go. */
export function make(duration, seek, left) {
  const bars = svg("svg", { class: "bars", viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const slider = el("input", {
    type: "range", class: "slider", min: 0, max: duration.toFixed(2), step: Math.max(0.1, duration / 1000).toFixed(2), value: 0,
    "aria-label": "Time in the video, and how much it answers",
  });
  const says = el("p", { class: "hint" });
  const now = el("span", {});
  let seconds = [];
  let values = [];
  let alike = false; // is it likeness that the bars show, or an answer?

  /** The value of the bar at a time; at the border of two it is the later one, where a moment begins. */
  const at = (time) => {
    const place = seconds.findLastIndex((_, each) => border(seconds, each) <= time + 0.05);
    return values[place] ?? 0;
  };
  const tell = () => {
    const time = Number(slider.value);
    const words = values.length ? `${timecode(time)}, ${strength(at(time), { alike })}` : timecode(time);
    slider.setAttribute("aria-valuetext", words);
    now.textContent = words;
  };
  const moved = () => { tell(); seek(Number(slider.value)); };
  slider.addEventListener("input", moved);
  slider.addEventListener("change", () => left(Number(slider.value)));
  slider.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
    if (!step || !seconds.length || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const time = Number(slider.value);
    const margin = Number(slider.step); // the slider rounds to its steps
    const beyond = seconds.filter((each) => (step > 0 ? each > time + margin : each < time - margin));
    if (!beyond.length) return;
    slider.value = step > 0 ? beyond[0] : beyond.at(-1);
    moved();
    left(Number(slider.value));
  });

  return {
    element: el("div", { class: "strip" }, el("div", { class: "track" }, bars, slider),
      el("p", { class: "scale hint", "aria-hidden": "true" }, el("span", {}, "0:00"), now, el("span", {}, timecode(duration))), says),
    /** Draw `heat` ({seconds, values}); `words` says what it shows, `alike` that it is likeness to a picture. */
    show(heat, words, shown = {}) {
      ({ seconds, values } = heat);
      alike = Boolean(shown.alike);
      bars.replaceChildren(...rectangles(seconds, values, duration));
      says.textContent = words;
      tell();
    },
    clear(words) {
      [seconds, values] = [[], []];
      bars.replaceChildren();
      says.textContent = words;
      tell();
    },
    /** The player is here now. */
    follow(time) {
      slider.value = time;
      tell();
    },
  };
}

/** Where the bar of a frame begins: half-way from the one before. */
const border = (seconds, place) => (place ? (seconds[place - 1] + seconds[place]) / 2 : 0);

/** A bar for each frame, until the next one begins. */
function rectangles(seconds, values, duration) {
  return seconds.map((_, place) => {
    const left = border(seconds, place);
    const right = place + 1 < seconds.length ? border(seconds, place + 1) : duration;
    const height = Math.max(1, values[place] * HEIGHT);
    const [x, width] = [(1000 * left) / duration, Math.max(0.5, (1000 * (right - left)) / duration - 0.6)];
    return svg("rect", { x: x.toFixed(2), width: width.toFixed(2), y: (HEIGHT - height).toFixed(2), height: height.toFixed(2) });
  });
}
