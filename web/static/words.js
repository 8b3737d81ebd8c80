/** Languages, times and reasons in words. */

const languages = new Intl.DisplayNames(["en"], { type: "language", fallback: "none" });

/** Languages Canary-1b-v2 knows, as proposals where a graph names no choices; others can be typed. */
export const COMMON_LANGUAGES = [
  "bg",
  "cs",
  "da",
  "de",
  "el",
  "en",
  "es",
  "et",
  "fi",
  "fr",
  "hr",
  "hu",
  "it",
  "lt",
  "lv",
  "mt",
  "nl",
  "pl",
  "pt",
  "ro",
  "ru",
  "sk",
  "sl",
  "sv",
  "uk",
];

/** The English name of a BCP-47 tag; the tag itself when it has none. */
export function languageName(tag) {
  if (!tag) return "";
  if (tag === "auto") return "Automatic";
  try {
    return languages.of(tag) ?? tag;
  } catch {
    return tag; // not a well-formed tag
  }
}

/** A language in two or three letters where there is little room: "pt-BR" → "PT". */
export const languageTag = (tag) => (tag ?? "").split("-")[0].toUpperCase();

/** A choice in words: "f2" and "m1" are how espeak-ng calls its women and men; null stays null. */
export function voiceName(choice) {
  const [, kind, number] = /^([fm])(\d)$/.exec(choice) ?? [];
  if (kind) return `${kind === "f" ? "Woman" : "Man"} ${number} (${choice})`;
  return choice === null || choice === undefined ? null : String(choice);
}

/** A name within a sentence: one that turns the direction of writing must not turn the words around it (UAX #9). */
export const named = (name) =>
  /[\p{Bidi_Control}\p{Script=Hebrew}\p{Script=Arabic}]/u.test(name) ? `\u2068${name}\u2069` : name;

/** What is being loaded, behind a word that says so. */
export const loaded = (text) => text.replace(/^loading\s+/i, "");

/** A text from the server where there is little room. */
export const shortened = (text, most) => (text.length > most ? `${text.slice(0, most).trimEnd()}…` : text);

/** Media time for people: 75300 → "1:15.3". */
export function clock(ms) {
  const tenths = Math.max(0, Math.round(ms / 100));
  const minutes = Math.floor(tenths / 600);
  return `${minutes}:${((tenths % 600) / 10).toFixed(1).padStart(4, "0")}`;
}

/** A duration in seconds: 842 → "0.84 s". */
export const seconds = (ms) =>
  `${(ms / 1000).toFixed(Math.abs(ms) < 9950 ? 2 : 1)} s`.replace("-", "−"); // a minus as wide as a digit

/** A figure in milliseconds, or a dash where there is none yet. */
export const milliseconds = (ms) =>
  ms === null || ms === undefined || Number.isNaN(ms)
    ? "–"
    : `${ms > 0 && ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;

const REASONS = [
  [/phrasebook/i, "Not in the phrasebook"],
  [/confiden|logprob|probab/i, "Not understood well enough to translate"],
  [/no speech|empty|nothing/i, "No words were heard"],
  [/script/i, "The answer was not in the right language"],
  [/repeat|loop|compress/i, "The answer repeated itself"],
];

/** Why an utterance has no translation. */
export function rejection(reason) {
  const known = REASONS.find(([pattern]) => pattern.test(reason));
  return known ? known[1] : reason.charAt(0).toUpperCase() + reason.slice(1);
}

/** A text as a sentence: with an end, and with a capital unless it begins with the name of something. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const capital = /^[a-z]+[ ,]/.test(trimmed) ? trimmed.charAt(0).toUpperCase() + trimmed.slice(1) : trimmed;
  return /[.!?…]$/.test(capital) ? capital : `${capital}.`;
}
