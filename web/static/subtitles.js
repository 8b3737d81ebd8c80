/**
 * Subtitles and a transcript made by the page itself, of the captions it holds: the server's own are better broken
 * into lines, but it may be gone. Pure functions.
 */

/** Netflix Timed Text Style Guide: 42 characters a line, two lines, 17 characters a second, a second at least. */
const LINE = 42;
const CUE = 2 * LINE;
const MS_PER_CHARACTER = 1000 / 17;
const SHORTEST_MS = 1000;

/** What stands in subtitles: final texts in order of speech. */
const spoken = (captions) =>
  captions
    .filter(({ final, rejected, text }) => final && (rejected ?? null) === null && clean(text))
    .sort((a, b) => a.start_ms - b.start_ms || a.utterance - b.utterance);

/** One line of text, without control characters. */
const clean = (text) =>
  text
    .replace(/\s+/g, " ")
    .replace(/[\u0000-\u001f\u007f-\u009f\ufeff]/g, "")
    .trim();

/** @param {object[]} captions `caption` messages (docs/LIVE.md). @returns {string} SubRip. */
export function toSrt(captions) {
  // SubRip has no escapes; an arrow inside a text would be read as a time line.
  const texts = cues(captions).map(({ from, until, lines }, index) =>
    [index + 1, `${clock(from, ",")} --> ${clock(until, ",")}`, lines.join("\n").replaceAll("-->", "→"), "", ""].join(
      "\n",
    ),
  );
  return texts.join("");
}

/** @param {object[]} captions `caption` messages. @returns {string} WebVTT. */
export function toVtt(captions) {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const texts = cues(captions).map(
    ({ from, until, lines }) => `${clock(from, ".")} --> ${clock(until, ".")}\n${lines.map(escaped).join("\n")}\n\n`,
  );
  return `WEBVTT\n\n${texts.join("")}`;
}

/** @param {object[]} captions `caption` messages. @returns {string} JSON as the server's transcript.json. */
export function toJson(captions) {
  const plain = ({ v, type, replayed, ...caption }) => caption;
  return JSON.stringify({ v: 1, captions: captions.map(plain) });
}

/** Cues that do not overlap; a text too short to be read stays into the silence behind it. */
function cues(captions) {
  const said = spoken(captions);
  const made = [];
  let free = 0;
  said.forEach(({ start_ms: start, end_ms: end, text }, index) => {
    const parts = cut(clean(text).split(" "), CUE).map((part) => cut(part, LINE).map((words) => words.join(" ")));
    const needs = parts.map((lines) => Math.max(SHORTEST_MS, lines.join(" ").length * MS_PER_CHARACTER));
    const need = needs.reduce((sum, ms) => sum + ms, 0);
    const next = said[index + 1]?.start_ms ?? Infinity;
    let from = Math.max(start, free);
    const length = Math.max(Math.min(Math.max(end - from, need), next - from), 200 * parts.length);
    parts.forEach((lines, at) => {
      const until = from + (length * needs[at]) / need;
      made.push({ from, until, lines });
      from = until;
    });
    free = from;
  });
  return made;
}

/** Words in groups of at most so many characters; a word that is longer is cut. */
function cut(words, limit) {
  const pieces = words.flatMap((word) => word.match(new RegExp(`.{1,${Math.min(limit, LINE)}}`, "gu")));
  const groups = [[]];
  let length = 0;
  for (const word of pieces) {
    if (length > 0 && length + 1 + word.length > limit) {
      groups.push([]);
      length = 0;
    }
    groups.at(-1).push(word);
    length += word.length + (length > 0 ? 1 : 0);
  }
  return groups;
}

function clock(ms, point) {
  const whole = Math.round(ms);
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, seconds] = [whole / 3_600_000, (whole / 60_000) % 60, (whole / 1000) % 60].map(Math.floor);
  return `${[hours, minutes, seconds].map(two).join(":")}${point}${String(whole % 1000).padStart(3, "0")}`;
}
