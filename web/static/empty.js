/** What stands where captions will be: what to do, and what to say. */

import { AUTO, SOURCE } from "./direction.js";
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
  root.replaceChildren(make("p", { class: "lead" }, listening ? "Speak now." : "Press Start, then speak."));
  if (!source && !target) {
    root.append(make("p", {}, shortened(graph?.description ?? "", LONGEST_ABOUT)));
    return;
  }
  const spoken = source === AUTO ? languagesOf(graph) : [source].filter(Boolean);
  const names = spoken.map((tag) => languageName(tag));
  const into = target === AUTO ? " in the other language" : target ? ` in ${languageName(target)}` : "";
  const found = source === AUTO ? " Which language is spoken is found by itself." : "";
  root.append(
    make("p", {}, `You hear the translation${into}, and read it here, about a second after each sentence.${found}`),
  );
  const known = graph && isPhrasebook(graph) ? spoken.filter((tag) => PHRASES[tag]) : [];
  if (!known.length) {
    const from = names.length ? ` ${names.join(" or ")}` : "";
    root.append(make("p", { class: "try" }, `Speak${from} in whole sentences and pause between them.`));
    return;
  }
  root.append(
    make("p", { class: "try" }, `The phrasebook knows travel phrases. Say in ${names.join(" or ")}:`),
    ...known.map((tag) =>
      make(
        "ul",
        { class: "phrases", lang: tag },
        ...PHRASES[tag].slice(0, known.length > 1 ? 2 : undefined).map((text) => make("li", {}, text)),
      ),
    ),
  );
}

/** The languages that are told apart, where the graph names them. */
const languagesOf = (graph) =>
  (graph?.params.find((param) => param.role === SOURCE)?.choices ?? []).filter((tag) => tag !== AUTO);
