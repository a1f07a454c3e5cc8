// What is looked at, as the page's address holds it: the query, the filters, the open video and its time.
// Back and Forward, reloading and links all come down to reading it again.

const NAMES = ["q", "like", "folder", "min", "max", "after", "before", "v", "t"];
export const FILTERS = ["folder", "min", "max", "after", "before"];

export function read() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]));
}

export function write(state, { replace = false } = {}) {
  const given = new URLSearchParams(NAMES.filter((name) => state[name]).map((name) => [name, state[name]]));
  const address = `${location.pathname}${given.size ? `?${given}` : ""}`;
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"]({ inside: true }, "", address);
}

/** The link to a moment, for other people on this server. */
export function link(state) {
  const given = new URLSearchParams(NAMES.filter((name) => state[name]).map((name) => [name, state[name]]));
  return `${location.origin}${location.pathname}?${given}`;
}

/** A link with a token has done its work once the page is open; it must not stay in the history. */
export function forgetToken() {
  const given = new URLSearchParams(location.search);
  if (!given.has("token")) return;
  given.delete("token");
  history.replaceState(null, "", `${location.pathname}${given.size ? `?${given}` : ""}`);
}
