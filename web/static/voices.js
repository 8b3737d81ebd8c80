/** The voices the server can speak with: language, licence, where each is, which one is chosen, and a sample to hear. */

import { make, setText } from "./dom.js";
import { explain } from "./errors.js";
import { bytes } from "./missing.js";
import { languageName } from "./words.js";

/** Making a sample may take the server that long: Python, a model, a busy machine, ms. */
const SAMPLE_MS = 120_000;
/** Speakers that are named; of 118 three say enough. */
const NAMED = 6;
/** The choice of languages that are not one. */
const [HERE, ALL] = ["", "*"];

const PLAY = "M8 5.5v13l10.5-6.5z";
const STOP = "M7 7h10v10H7z";

export class Voices {
  #parts;
  #api;
  #player;
  #voices = [];
  #chosen = [];
  #asked = "";
  #blobs = new Map();
  #speaker = new Map();
  #playing = null;
  #live = false;

  /**
   * @param {{root: HTMLElement, summary: HTMLElement, language: HTMLSelectElement, list: HTMLElement, note: HTMLElement,
   *   samples: HTMLElement, fetch: HTMLElement, others: HTMLDetailsElement, otherCount: HTMLElement,
   *   otherList: HTMLElement}} parts `note` is a live region, `samples` says when none can be heard, `fetch` how a voice
   *   is got, `others` holds what nobody has vouched for.
   * @param {import("./api.js").Api} api
   * @param {import("./player.js").Player} player
   */
  constructor(parts, api, player) {
    this.#parts = parts;
    this.#api = api;
    this.#player = player;
    parts.language.addEventListener("change", () => this.#draw());
    player.addEventListener("sampled", () => this.#ended());
  }

  /** Show what the choice of now would speak with; asks the server when that is another one, or a model has come. */
  async show(choice, graph) {
    const asked = JSON.stringify([choice, graph?.revision, graph?.missing_text]);
    if (!choice || asked === this.#asked) return;
    this.#asked = asked;
    const answer = await this.#api.json("POST", "voices", choice).catch(() => null);
    if (asked !== this.#asked) return; // something else was chosen meanwhile
    if (!answer) {
      this.#asked = ""; // what is wrong with the choice is told where it was made
      return;
    }
    this.#voices = answer.voices;
    this.#chosen = answer.chosen;
    this.#parts.root.hidden = this.#voices.length === 0;
    this.#drawLanguages();
    this.#draw();
  }

  /** Whether a session runs: a sample would go into its microphone. */
  set live(live) {
    if (live === this.#live) return;
    this.#live = live;
    if (live) this.#stop();
    setText(this.#parts.note, "");
    this.#parts.samples.hidden = !live;
    this.#draw();
  }

  #drawLanguages() {
    const { language } = this.#parts;
    const before = language.value || HERE;
    const langs = [...new Set(this.#voices.flatMap((voice) => voice.langs))];
    const names = langs.map((lang) => [lang, languageName(lang)]).sort(([, a], [, b]) => a.localeCompare(b, "en"));
    const here = this.#here.map(languageName).join(", ");
    language.replaceChildren(
      ...(here ? [make("option", { value: HERE }, `Spoken now: ${here}`)] : []),
      make("option", { value: ALL }, "All languages"),
      ...names.map(([lang, name]) => make("option", { value: lang }, name)),
    );
    language.value = [...language.options].some((option) => option.value === before) ? before : here ? HERE : ALL;
  }

  /** The languages that the chosen graph speaks, in its order. */
  get #here() {
    return [...new Set(this.#chosen.map(({ lang }) => lang))];
  }

  #draw() {
    const { value } = this.#parts.language;
    const wanted = value === HERE ? this.#here : value === ALL ? null : [value];
    const shown = merged(this.#voices.filter((voice) => !wanted || voice.langs.some((lang) => wanted.includes(lang))))
      .map((voice) => ({ voice, chosen: this.#chosenOf(voice) }))
      .sort((a, b) => rank(a) - rank(b));
    const { list, others, otherList, otherCount, fetch } = this.#parts;
    const focused = document.activeElement?.closest?.(".voice-item")?.dataset.voice;
    const [known, unknown] = [shown.filter(isKnown), shown.filter((each) => !isKnown(each))];
    list.replaceChildren(...known.map((each) => this.#item(each, wanted)));
    otherList.replaceChildren(...unknown.map((each) => this.#item(each, wanted)));
    others.hidden = unknown.length === 0;
    setText(otherCount, `${unknown.length} more that nobody has vouched for`);
    fetch.hidden = !known.some(({ voice }) => voice.place === "fetch");
    if (focused) document.querySelector(`[data-voice="${CSS.escape(focused)}"] button`)?.focus();
    const names = this.#chosen.map(({ name, variant, speaker }) => [variant ?? name, speaker].filter(Boolean).join(" "));
    setText(this.#parts.summary, [...new Set(names)].join(", "));
  }

  #chosenOf({ type, name, langs }) {
    return this.#chosen.find((each) => each.type === type && each.name === name && langs.includes(each.lang));
  }

  #item({ voice, chosen }, wanted) {
    const langs = wanted ?? voice.langs;
    const lang = chosen && langs.includes(chosen.lang) ? chosen.lang : langs.find((each) => voice.langs.includes(each));
    const key = keyOf(voice, lang);
    const speakers = voice.ready && voice.speakers.length > 1 ? this.#speakers(voice, key, chosen?.speaker) : null;
    return make(
      "li",
      { class: "voice-item", "data-voice": key, "data-chosen": chosen ? "true" : null },
      this.#button({ voice, lang, key, speakers, variant: chosen?.variant }),
      make(
        "div",
        { class: "about" },
        make(
          "p",
          { class: "name" },
          voice.name,
          chosen ? make("span", { class: "mark" }, "chosen") : null,
          chosen?.variant ? make("span", { class: "hint" }, `as ${chosen.variant}`) : null,
        ),
        make("p", { class: "hint" }, ...details(voice, speakers !== null)),
        speakers,
      ),
    );
  }

  /** Who is to be heard; what somebody chose here stays when the list is drawn anew. */
  #speakers(voice, key, spoken) {
    const wanted = this.#speaker.get(key) ?? spoken ?? voice.speakers[0];
    const select = make(
      "select",
      { "aria-label": `Speaker of ${voice.name}` },
      ...voice.speakers.map((name) => make("option", { value: name, selected: name === wanted }, name)),
    );
    select.addEventListener("change", () => this.#speaker.set(key, select.value));
    return select;
  }

  #button({ voice, lang, key, speakers, variant }) {
    if (!voice.ready) return make("span", { class: "no-sample" });
    const busy = this.#playing?.key === key;
    const button = make(
      "button",
      {
        type: "button",
        class: "round",
        disabled: this.#live,
        "aria-label": `${busy ? "Stop" : "Play"} a sample of ${voice.name}, ${languageName(lang)}`,
        "aria-busy": busy && !this.#playing.sounds ? "true" : null,
      },
      icon(busy ? STOP : PLAY),
    );
    button.addEventListener("click", () => 
      busy ? this.#stop() : this.#play({ voice, lang, key, speaker: speakers?.value, variant }),
    );
    return button;
  }

  async #play({ voice, lang, key, speaker, variant }) {
    this.#stop();
    const mine = { key, sounds: false };
    this.#playing = mine;
    this.#draw();
    const wanted = { type: voice.type, name: voice.name, lang, speaker: speaker ?? null, variant: variant ?? null };
    const known = JSON.stringify(wanted);
    try {
      if (!this.#blobs.has(known)) setText(this.#parts.note, `The server makes a sample of ${voice.name}.`);
      const blob = this.#blobs.get(known) ?? (await this.#sampleOf(wanted));
      this.#blobs.set(known, blob);
      if (this.#playing !== mine) return;
      mine.sounds = true;
      setText(this.#parts.note, "");
      this.#draw();
      await this.#player.sample(blob);
    } catch (error) {
      if (this.#playing !== mine) return;
      this.#ended();
      setText(this.#parts.note, explain(error));
    }
  }

  async #sampleOf(wanted) {
    const answer = await this.#api.request("POST", "voices/sample.wav", wanted, { timeoutMs: SAMPLE_MS });
    return answer.blob();
  }

  #stop() {
    if (!this.#playing) return;
    this.#player.endSample();
    setText(this.#parts.note, "");
    this.#ended();
  }

  #ended() {
    if (!this.#playing) return;
    this.#playing = null;
    this.#draw();
  }
}

const keyOf = (voice, lang) => [voice.type, voice.name, lang].join(" ");

/** One of each voice; the server tells it for each language. */
function merged(voices) {
  const found = new Map();
  for (const voice of voices) {
    const key = `${voice.type} ${voice.name}`;
    const before = found.get(key) ?? { ...voice, langs: [], speakers: [] };
    before.langs = [...new Set([...before.langs, ...voice.langs])];
    before.speakers = [...new Set([...before.speakers, ...voice.speakers])];
    found.set(key, before);
  }
  return [...found.values()];
}

/** What can be heard comes first, and of that what is chosen. */
const rank = ({ voice, chosen }) => (chosen ? 0 : voice.ready ? 1 : 2);
/** What nobody has vouched for is of interest to few. */
const isKnown = ({ voice, chosen }) => Boolean(chosen) || voice.place !== "allow";

/** What there is to know of a voice, a word or two each. */
function details({ type, langs, speakers, rates_hz: rates, licence, commercial, ...voice }, chooses) {
  const facts = [
    few(langs.map(languageName)),
    type,
    chooses ? "" : few(speakers),
    `${Math.max(...rates) / 1000} kHz`,
    whereInWords(voice),
  ];
  const terms = make("span", {}, licence);
  if (!commercial) terms.append(", ", make("strong", {}, "not for commercial use"));
  return [facts.filter(Boolean).join(" · "), make("br"), terms];
}

const few = (names) =>
  names.length > NAMED ? `${names.slice(0, 3).join(", ")} … (${names.length})` : names.join(", ");

function whereInWords({ place, ready, here, size_bytes: size, where }) {
  const much = size ? `, ${bytes(size)}` : "";
  if (place === "package") return ready ? "comes with the server" : where;
  if (place === "downloaded") return ready ? `on the server${much}` : where;
  if (place === "allow" && here) return "on the server, to be allowed by whoever runs it";
  return `not on the server${much}`;
}

function icon(path) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true" })) {
    svg.setAttribute(name, value);
  }
  shape.setAttribute("d", path);
  shape.setAttribute("fill", "currentColor");
  svg.append(shape);
  return svg;
}
