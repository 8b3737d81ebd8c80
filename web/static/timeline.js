/** Where the time went, utterance by utterance: end of speech → endpoint → text → voice → heard. */

import { make } from "./dom.js";
import { clock, seconds } from "./words.js";

const SHOWN = 12;
const KEPT = 500;
/** Share of the bar that stands for the speech itself, however long it was. */
const SPEECH_SHARE = 0.22;
const MIN_SCALE_MS = 1000;

const STEPS = [
  { field: "vad_ms", name: "vad", says: "end noticed" },
  { field: "ast_ms", name: "ast", says: "translated" },
  { field: "tts_ms", name: "tts", says: "voice made" },
  { field: "heard_ms", name: "heard", says: "first sound sent" },
];

export class Timeline {
  #list;
  #summary;
  #empty;
  #captions;
  #entries = new Map();

  /**
   * @param {{list: HTMLElement, summary: HTMLElement, empty: HTMLElement}} parts
   * @param {import("./captions.js").Captions} captions Texts to name the bars by.
   */
  constructor({ list, summary, empty }, captions) {
    this.#list = list;
    this.#summary = summary;
    this.#empty = empty;
    this.#captions = captions;
  }

  /** Timelines of the session, oldest first. */
  get all() {
    return [...this.#entries.values()];
  }

  /** A new session. */
  begin() {
    this.#entries.clear();
    this.draw();
  }

  /** Take a `timeline` message; later ones of an utterance complete it. */
  add(entry) {
    this.#entries.set(entry.utterance, entry);
    if (this.#entries.size > KEPT) this.#entries.delete(this.#entries.keys().next().value);
    this.draw();
  }

  /** Draw the newest utterances, newest first. */
  draw() {
    const shown = [...this.#entries.values()].slice(-SHOWN).reverse();
    const scale = Math.max(MIN_SCALE_MS, ...shown.map(lastOf));
    this.#list.replaceChildren(...shown.map((entry) => this.#row(entry, scale)));
    this.#empty.hidden = shown.length > 0;
    const heard = [...this.#entries.values()].map((e) => e.heard_ms).filter((ms) => ms !== null && ms !== undefined);
    this.#summary.hidden = heard.length === 0;
    if (heard.length) {
      this.#summary.replaceChildren(
        make("strong", {}, seconds(Math.abs(median(heard)))),
        median(heard) < 0
          ? ` before the end of speech comes the first sound, typically (${heard.length} heard)`
          : ` from the end of speech to the first sound, typically (${heard.length} heard)`,
      );
    }
  }

  #row(entry, scale) {
    const caption = this.#captions.textOf(entry.utterance);
    const title = caption?.text || (caption ? "no translation" : "…");
    const bar = make("div", { class: "bar", role: "img", "aria-label": inWords(entry) });
    bar.append(part("speech", 0, SPEECH_SHARE));
    const spokenMs = Math.max(1, entry.end_ms - entry.start_ms);
    const place = (ms) =>
      ms < 0 ? SPEECH_SHARE * Math.max(0, 1 + ms / spokenMs) : SPEECH_SHARE + (1 - SPEECH_SHARE) * (ms / scale);
    let before = 0;
    for (const { field, name } of done(entry)) {
      const at = entry[field];
      if (at < 0) {
        bar.append(part(name, place(at), 0)); // done while they spoke: a mark within the speech
        continue;
      }
      bar.append(part(name, place(before), place(Math.max(before, at)) - place(before)));
      before = Math.max(before, at);
    }
    const heard = entry.heard_ms;
    return make(
      "li",
      { title: inWords(entry) },
      make(
        "div",
        { class: "line" },
        make("span", { class: "what", lang: caption?.text ? caption.lang : "en" }, title),
        make("strong", {}, heard === null || heard === undefined ? "–" : seconds(heard)),
      ),
      bar,
    );
  }
}

/** One stretch of a bar; `from` and `width` are shares of its length. */
function part(name, from, width) {
  const piece = make("span", { class: `part ${name}` });
  piece.style.left = `${(from * 100).toFixed(2)}%`;
  piece.style.width = `${(width * 100).toFixed(2)}%`;
  return piece;
}

const lastOf = (entry) => Math.max(0, ...STEPS.map(({ field }) => entry[field] ?? 0));

/** The steps that are done, as they came: what is translated while it is spoken is there before its end. */
const done = (entry) =>
  STEPS.filter(({ field }) => entry[field] !== null && entry[field] !== undefined).sort(
    (a, b) => entry[a.field] - entry[b.field],
  );

function inWords(entry) {
  const said = `Speech at ${clock(entry.start_ms)}, ${seconds(entry.end_ms - entry.start_ms)} long`;
  const why = [{ maximum: "cut at the longest allowed length" }[entry.reason], entry.cut].filter(Boolean).join(", ");
  const when = (ms) => (ms < 0 ? `${seconds(-ms)} before its end` : `after ${seconds(ms)}`);
  const steps = done(entry).map(
    ({ field, says }) => `${says} ${when(entry[field])}${field === "vad_ms" && why ? ` (${why})` : ""}`,
  );
  return [said, ...steps].join("; ");
}

/** What came of work begun at pauses (`stats`), in words; "" where there was none. */
export function guessesInWords(speculations = {}) {
  const told = Object.entries(speculations).map(([element, { hit = 0, miss = 0, failed = 0 }]) => {
    const lost = miss + failed;
    return `${element} ${hit} used${lost ? `, ${lost} thrown away` : ""}`;
  });
  return told.length ? `Begun at a pause, before the end was sure: ${told.join("; ")}.` : "";
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
