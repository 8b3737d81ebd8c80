/** What stands where captions will be: what to do, and what to say. */

import { make } from "./dom.js";
import { MISSING, isMissing, missingInWords } from "./missing.js";
import { languageName, shortened } from "./words.js";

const LONGEST_ABOUT = 500;

/** Phrases the embedded phrasebook knows. */
const PHRASES = {
  en: ["Where is the train station?", "How much does it cost?", "I need a room for three nights."],
  ru: ["Где находится вокзал?", "Сколько это стоит?", "Мне нужен номер на три ночи."],
};

const isPhrasebook = ({ name, description }) => /phrasebook/i.test(`${name} ${description ?? ""}`);

/**
 * Explain how to begin.
 *
 * @param {HTMLElement} root
 * @param {object|null} graph The chosen graph.
 * @param {string|undefined} source The language that is spoken, if the graph says.
 * @param {string|undefined} target The language that is heard.
 * @param {boolean} listening Whether the graph listens already.
 */
export function explainEmpty(root, graph, source, target, listening) {
  if (isMissing(graph) && !listening) {
    root.replaceChildren(make("p", { class: "lead" }, `${MISSING}.`), ...missingInWords(graph));
    return;
  }
  const phrases = graph && isPhrasebook(graph) ? PHRASES[source] : undefined;
  const from = source && source !== "auto" ? languageName(source) : "";
  const into = target ? ` in ${languageName(target)}` : "";
  root.replaceChildren(make("p", { class: "lead" }, listening ? "Speak now." : "Press Start, then speak."));
  if (!from && !into) {
    root.append(make("p", {}, shortened(graph?.description ?? "", LONGEST_ABOUT)));
    return;
  }
  root.append(make("p", {}, `You hear the translation${into}, and read it here, about a second after each sentence.`));
  if (!phrases) {
    root.append(
      make("p", { class: "try" }, `Speak${from ? ` ${from}` : ""} in whole sentences and pause between them.`),
    );
    return;
  }
  root.append(
    make("p", { class: "try" }, `The phrasebook knows travel phrases. Say in ${from}:`),
    make("ul", { class: "phrases", lang: source }, ...phrases.map((text) => make("li", {}, text))),
  );
}
