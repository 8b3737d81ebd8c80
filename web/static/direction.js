/** From which language into which: as far as the chosen graph leaves it open. */

import { selectOf } from "./fields.js";
import { make } from "./dom.js";
import { COMMON_LANGUAGES, languageName } from "./words.js";

/** The roles of params that mean the direction; what they are called is the graph's affair. */
export const SOURCE = "source_lang";
export const TARGET = "target_lang";
/** The value that leaves a side to the server: the language is found, and the other one is heard. */
export const AUTO = "auto";
const OTHER = "The other";

/** `auto`, or a BCP-47 tag as far as Intl can read it; null when it cannot. */
function canonical(text) {
  if (text.trim().toLowerCase() === AUTO) return AUTO;
  try {
    return Intl.getCanonicalLocales(text.trim())[0] ?? null;
  } catch {
    return null;
  }
}

/** Fires `change` (detail: {source_lang, target_lang}, as far as params have these roles) when the person chose. */
export class Direction extends EventTarget {
  #root;
  #source;
  #target;
  #swap;
  #params = {};
  #values = {};

  /** @param {{root: HTMLElement, source: HTMLElement, target: HTMLElement, swap: HTMLButtonElement}} parts */
  constructor({ root, source, target, swap }) {
    super();
    this.#root = root;
    this.#source = source;
    this.#target = target;
    this.#swap = swap;
    swap.addEventListener("click", () => this.#swapped());
  }

  /** Show the direction of a graph. @param {object[]} params Its params. @param {object} values Values by role. */
  show(params, values) {
    this.#params = Object.fromEntries(params.filter(isLanguage).map((param) => [param.role, param]));
    this.#values = { [SOURCE]: values[SOURCE], [TARGET]: values[TARGET] };
    this.#root.hidden = !(SOURCE in this.#params || TARGET in this.#params);
    this.#fill(this.#source, SOURCE, "Speak");
    this.#fill(this.#target, TARGET, "Hear");
    this.#swap.disabled = !this.#turned();
  }

  #fill(place, role, label) {
    const param = this.#params[role];
    const id = role === SOURCE ? "source-lang" : "target-lang";
    const title = make("label", { for: param ? id : null }, label);
    if (!param) {
      place.replaceChildren(title, make("span", { class: "fixed" }, "set by the graph"));
      return;
    }
    const nameOf = role === TARGET ? (tag) => (tag === AUTO ? OTHER : languageName(tag)) : languageName;
    const input = param.choices?.length
      ? selectOf(autoFirst(param.choices), this.#values[role], nameOf)
      : make("input", { type: "text", list: "languages", spellcheck: "false", autocomplete: "off", required: true });
    input.id = id;
    if (!param.choices?.length) input.value = this.#values[role] ?? "";
    input.title = param.description ?? "";
    // What is heard follows from what is spoken.
    input.disabled = role === TARGET && this.#values[SOURCE] === AUTO && this.#values[TARGET] === AUTO;
    input.addEventListener("change", () => this.#chosen(role, input));
    place.replaceChildren(title, input);
    if (input.tagName === "INPUT") {
      place.append(make("span", { class: "language-name", "aria-live": "polite" }, nameOf(this.#values[role])));
    }
  }

  #chosen(role, input) {
    let value = input.value;
    if (input.tagName === "INPUT") {
      const tag = canonical(value);
      input.setCustomValidity(tag ? "" : "A language tag such as en, ru or pt-BR");
      if (!input.reportValidity()) return;
      value = tag;
    }
    const other = role === SOURCE ? TARGET : SOURCE;
    // Choosing the other side's language means turning round.
    if (value !== AUTO && value === this.#values[other] && this.#turned()) this.#swapped();
    else if (role === SOURCE && value === AUTO && takes(this.#params[TARGET], AUTO)) {
      this.#set({ [SOURCE]: AUTO, [TARGET]: AUTO });
    } else this.#set({ ...this.#values, [role]: value });
  }

  /** The other way round, or null where there is none: what is found by itself turns by itself. */
  #turned() {
    const { [SOURCE]: source, [TARGET]: target } = this.#params;
    const from = this.#values[SOURCE];
    if (!source || !target || from === AUTO) return null;
    const into = this.#values[TARGET];
    if (into === AUTO) {
      const others = (source.choices ?? []).filter((choice) => choice !== AUTO && choice !== from);
      return others.length === 1 ? { [SOURCE]: others[0], [TARGET]: AUTO } : null;
    }
    return takes(source, into) && takes(target, from) ? { [SOURCE]: into, [TARGET]: from } : null;
  }

  #swapped() {
    const turned = this.#turned();
    if (turned) this.#set(turned);
  }

  #set(values) {
    const known = Object.fromEntries(Object.entries(values).filter(([role]) => role in this.#params));
    this.show(Object.values(this.#params), values);
    this.dispatchEvent(new CustomEvent("change", { detail: known }));
  }
}

/** Whether a param takes a value; `auto` is no language that any field for languages takes. */
export function takes(param, value) {
  if (!param) return false;
  if (param.choices?.length) return param.choices.includes(value);
  return value !== AUTO || param.default === AUTO;
}

const autoFirst = (choices) => [...choices].sort((a, b) => (b === AUTO) - (a === AUTO));

/** Whether a param is one side of the direction. */
export const isLanguage = (param) => param.role === SOURCE || param.role === TARGET;

/** The proposals for fields without choices. */
export function languageOptions() {
  return [AUTO, ...COMMON_LANGUAGES].map((tag) => make("option", { value: tag }, languageName(tag)));
}
