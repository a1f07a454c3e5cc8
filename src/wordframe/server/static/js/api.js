// The server, by its addresses. What goes wrong becomes a Problem with a line for people.

// beside this script's folder, wherever that is: a proxy may show the server below a path of its own
const API = new URL("../api/v1", import.meta.url).pathname;
const PATIENCE = 4;

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

async function answerTo(path, options = {}, patience = PATIENCE) {
  let answer;
  try {
    answer = await fetch(API + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, "The server does not answer. Is wordframe serve still running?");
  }
  if (answer.status === 503 && patience > 0 && answer.headers.has("Retry-After")) {
    await new Promise((done) => setTimeout(done, 1000 * Number(answer.headers.get("Retry-After"))));
    return answerTo(path, options, patience - 1);
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Problem(answer.status, told.detail ?? `The server answered ${answer.status}.`);
}

const ask = async (path, options) => (await answerTo(path, options)).json();

function parameters(values) {
  const given = Object.entries(values).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return new URLSearchParams(given.flatMap(([name, value]) => [value].flat().map((each) => [name, each])));
}

function filters({ folder, min, max, after, before }) {
  return { folder, min_seconds: min, max_seconds: max, after, before };
}

export const library = () => ask("/library");
export const indexing = () => ask("/index");
export const startIndexing = () => ask("/index", { method: "POST" });
export const stopIndexing = () => ask("/index", { method: "DELETE" });
export const video = (id, signal) => ask(`/videos/${encodeURIComponent(id)}`, { signal });

export const thumbnailUrl = (segment) => `${API}/segments/${encodeURIComponent(segment)}/thumbnail`;

/** A moment as a file, with the seconds of the video that it shows (a copy starts at a keyframe) and what was done to it. */
export async function clip(segment, start, end, signal) {
  const answer = await answerTo(`/segments/${encodeURIComponent(segment)}/clip?${parameters({ start, end })}`, { signal });
  const told = (name) => answer.headers.get(`Clip-${name}`) ?? "";
  return {
    file: await answer.blob(), notes: told("Notes"),
    start_seconds: Number(told("Start-Seconds")), end_seconds: Number(told("End-Seconds")),
  };
}

export function videos(state, { limit, cursor, signal } = {}) {
  return ask(`/videos?${parameters({ ...filters(state), limit, cursor })}`, { signal });
}

const body = (picture, signal) => ({ method: "POST", body: picture, headers: { "Content-Type": picture.type }, signal });

export function search(state, { picture, limit, cursor, signal } = {}) {
  const choices = { ...filters(state), limit, cursor };
  if (picture) return ask(`/search?${parameters(choices)}`, body(picture, signal));
  return ask(`/search?${parameters({ ...choices, text: state.like ? "" : state.q, like: state.like })}`, { signal });
}

/** Something about one video or segment and the query: its words, the moment it should look like, or the picture. */
const about = (path, { q, like, picture }, signal) =>
  (picture ? ask(path, body(picture, signal)) : ask(`${path}?${parameters(like ? { like } : { q })}`, { signal }));

export const heat = (id, query, signal) => about(`/videos/${id}/heat`, query, signal);
export const explain = (segment, query, signal) => about(`/segments/${segment}/explain`, query, signal);

/** Which words of a sentence found these segments. */
export const foundBy = (q, segments, signal) => ask(`/words?${parameters({ q, segment: segments })}`, { signal });

export function rankTexts(id, texts) {
  const options = { method: "POST", body: JSON.stringify({ texts }), headers: { "Content-Type": "application/json" } };
  return ask(`/videos/${id}/rank-texts`, options);
}
