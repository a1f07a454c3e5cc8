// What is looked at, as the page's address holds it: the query, the filters, the open video and its time.
// Back and Forward, reloading and links all come down to reading it again.

const NAMES = ["q", "like", "picture", "folder", "min", "max", "after", "before", "v", "t"];
export const FILTERS = ["folder", "min", "max", "after", "before"];

export function read() {
  const given = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? ""]));
}

const path = (state) => {
  const given = new URLSearchParams(NAMES.filter((name) => state[name]).map((name) => [name, state[name]]));
  return `${location.pathname}${given.size ? `?${given}` : ""}`;
};

/** A new entry in the history, unless it would be the one we are at. `opened`: Back closes the video again. */
export function push(state, { opened = false } = {}) {
  if (path(state) === location.pathname + location.search) return;
  history.pushState({ opened }, "", path(state));
}

/** The entry we are at says something else from now on. */
export const replace = (state) => history.replaceState(history.state, "", path(state));

/** Whether the entry before this one is the list that the video was opened from. */
export const isOpened = () => Boolean(history.state?.opened);

/** How far the list was scrolled and how long it was, kept with its entry. */
export const remember = (place) => history.replaceState({ ...history.state, ...place }, "");
export const remembered = () => ({ scroll: 0, count: 0, ...history.state });

/** The link to a moment, for other people on this server. */
export const link = (state) => location.origin + path(state);

/** A link with a token has done its work once the page is open; it must not stay in the history. */
export function forgetToken() {
  const given = new URLSearchParams(location.search);
  if (!given.has("token")) return;
  given.delete("token");
  history.replaceState(history.state, "", `${location.pathname}${given.size ? `?${given}` : ""}`);
}
