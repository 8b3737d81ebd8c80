/**
 * Subtitles and a transcript made by the page itself, of the captions it holds: the server's own are better broken
 * into lines, but it may be gone. Pure functions.
 */

/** Netflix Timed Text Style Guide: 42 characters a line, two lines, 17 characters a second, a second at least. */
const LINE = 42;
const CUE = 2 * LINE;
const MS_PER_CHARACTER = 1000 / 17;
const SHORTEST_MS = 1000;

/** What stands in subtitles: final texts in order of speech, with what is shown of each. */
const spoken = (captions, show) =>
  captions
    .filter(({ final, rejected }) => final && (rejected ?? null) === null)
    .map((caption) => {
      const [text, source] = [clean(caption.text), clean(caption.source_text ?? "")];
      return { ...caption, text: show === "source" ? source : text, below: show === "both" ? source : "" };
    })
    .filter(({ text, below }) => text || below)
    .sort((a, b) => a.start_ms - b.start_ms || a.utterance - b.utterance || (a.part ?? 0) - (b.part ?? 0));

/** One line of text, without control characters. */
const clean = (text) =>
  text
    .replace(/\s+/g, " ")
    .replace(/[\u0000-\u001f\u007f-\u009f\ufeff]/g, "")
    .trim();

const slanted = (line) => `<i>${line}</i>`;

/**
 * @param {object[]} captions `caption` messages (docs/LIVE.md).
 * @param {"translation"|"source"|"both"} show What stands in it; of both, what was understood is below.
 * @returns {string} SubRip.
 */
export function toSrt(captions, show = "translation") {
  // SubRip has no escapes; an arrow inside a text would be read as a time line.
  const plain = (line) => line.replaceAll("-->", "→");
  const texts = cues(captions, show).map(({ from, until, lines, below }, index) =>
    [
      index + 1,
      `${clock(from, ",")} --> ${clock(until, ",")}`,
      ...lines.map(plain),
      ...below.map(plain).map(slanted),
      "",
      "",
    ].join("\n"),
  );
  return texts.join("");
}

/** As toSrt. @returns {string} WebVTT. */
export function toVtt(captions, show = "translation") {
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const texts = cues(captions, show).map(({ from, until, lines, below }) => {
    const shown = [...lines.map(escaped), ...below.map(escaped).map(slanted)];
    return `${clock(from, ".")} --> ${clock(until, ".")}\n${shown.join("\n")}\n\n`;
  });
  return `WEBVTT\n\n${texts.join("")}`;
}

/** @param {object[]} captions `caption` messages. @returns {string} JSON as the server's transcript.json. */
export function toJson(captions) {
  const plain = ({ v, type, replayed, ...caption }) => caption;
  return JSON.stringify({ v: 1, captions: captions.map(plain) });
}

/** Cues that do not overlap; a text too short to be read stays into the silence behind it. */
function cues(captions, show) {
  const said = spoken(captions, show);
  const made = [];
  let free = 0;
  said.forEach(({ start_ms: start, end_ms: end, text, below }, index) => {
    const parts = cutBoth(text, below);
    const sizeOf = (lines) => lines.join(" ").length;
    const needs = parts.map((part) =>
      Math.max(SHORTEST_MS, Math.max(sizeOf(part.lines), sizeOf(part.below)) * MS_PER_CHARACTER),
    );
    const need = needs.reduce((sum, ms) => sum + ms, 0);
    const next = said[index + 1]?.start_ms ?? Infinity;
    let from = Math.max(start, free);
    const length = Math.max(Math.min(Math.max(end - from, need), next - from), 200 * parts.length);
    parts.forEach((part, at) => {
      const until = from + (length * needs[at]) / need;
      made.push({ from, until, ...part });
      from = until;
    });
    free = from;
  });
  return made;
}

/** Both texts in as many pieces; the one that needs fewer is shared out by words. */
function cutBoth(text, below) {
  const wordsOf = (whole) => (whole ? whole.split(" ") : []);
  const pieces = [text, below].map((whole) => (whole ? cut(wordsOf(whole), CUE) : []));
  const count = Math.max(...pieces.map((each) => each.length));
  const [upper, lower] = pieces.map((each, index) => {
    if (each.length === count) return each;
    const words = wordsOf([text, below][index]);
    const place = (at) => Math.round((words.length * at) / count);
    return Array.from({ length: count }, (_, at) => words.slice(place(at), place(at + 1)));
  });
  const inLines = (words) => (words.length ? cut(words, LINE).map((line) => line.join(" ")) : []);
  return upper.map((words, at) => ({ lines: inLines(words), below: inLines(lower[at]) }));
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
