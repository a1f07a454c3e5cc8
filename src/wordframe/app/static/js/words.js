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

/** How much a moment answers, in words, from a value between 0 and 1. */
export function strength(value) {
  if (value >= 0.75) return "answers most";
  if (value >= 0.4) return "answers well";
  if (value >= 0.12) return "answers a little";
  return "does not answer";
}

/** Tokens that only mark a sentence's start and end say nothing to people. */
export const isWord = (token) => !/^(\[.*\]|<.*>|[.,;:!?"'])$/.test(token.trim()) && token.trim() !== "";
