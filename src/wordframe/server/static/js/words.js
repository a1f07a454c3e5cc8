// Numbers and times as people read them.

/** 75.4 → "1:15", 3671 → "1:01:11". */
export function timecode(seconds) {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = `${String(rest).padStart(2, "0")}`;
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** "3 videos", "1 video". */
export const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;

/** 5000 → "1 h 23 min", 80 → "1 min 20 s". */
export function duration(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60 ? `${whole % 60} s` : ""}`.trim();
  return `${Math.floor(whole / 3600).toLocaleString("en")} h ${Math.floor(whole / 60) % 60} min`;
}

const ANSWERS = ["answers strongly", "answers well", "answers a little", "does not answer"];
const LIKENESS = ["very much alike", "alike", "a little alike", "not alike"];

/** How much a moment answers the words, or is like a picture, in words, from a value between 0 and 1. */
export function strength(value, { alike = false } = {}) {
  return (alike ? LIKENESS : ANSWERS)[[0.75, 0.4, 0.12, -Infinity].findIndex((least) => value >= least)];
}

/** The last two folders of a path: what tells videos apart where there is little room. */
export function shortFolder(path) {
  const steps = path.split(/[\\/]/).filter(Boolean);
  return steps.length > 2 ? `…/${steps.slice(-2).join("/")}` : path;
}

/** Tokens that only mark a sentence's start and end, or punctuate it, say nothing to people. */
const isMark = (token) => /^(\[[A-Z]+\]|<[^>]*>)$/.test(token) || !/[\p{L}\p{N}]/u.test(token);

/**
 * The words of a query from the pieces that encoders cut them into: "starr" and "##y" (WordPiece), "starr" and
 * "y</w>" (CLIP), "▁starr" and "y" (SentencePiece). A word's values are the means over its pieces.
 */
export function wholeWords(pieces) {
  const ends = pieces.some(({ word }) => word.endsWith("</w>"));
  const begins = pieces.some(({ word }) => word.startsWith("▁"));
  const words = [];
  let inside = false; // does the next piece go on with the word before it?
  for (const { word, values } of pieces) {
    const begun = word.startsWith("##") || (ends && inside) || (begins && !word.startsWith("▁"));
    const goesOn = begun && words.length > 0 && !isMark(word);
    const text = word.replace(/^(##|▁)|<\/w>$/g, "");
    inside = !isMark(word) && !word.endsWith("</w>");
    if (goesOn) {
      words.at(-1).text += text;
      words.at(-1).pieces.push(values);
    } else words.push({ text, pieces: [values] });
  }
  return words.filter(({ text }) => !isMark(text)).map(({ text, pieces: rows }) => ({
    word: text, values: rows[0].map((_, at) => rows.reduce((sum, row) => sum + row[at], 0) / rows.length),
  }));
}
