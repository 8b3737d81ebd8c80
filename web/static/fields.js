/** Form fields made from what a graph declares: params and settings with their types, ranges, choices and units. */

import { make } from "./dom.js";
import { sentence, voiceName } from "./words.js";

let serial = 0;

/** What kind of value a declaration takes: "boolean", "integer", "number" or "text". */
function kindOf({ type, default: initial, value }) {
  const declared = String(type ?? typeof (value ?? initial ?? ""));
  if (/bool/.test(declared)) return "boolean";
  if (/\bint/.test(declared)) return "integer";
  if (/float|number/.test(declared)) return "number";
  return "text";
}

/** What an empty field stands for. */
const NONE = "automatic";
const LOCKED = "Fixed on this server.";

/**
 * A labelled field for a param or a setting.
 *
 * @param {{name: string, title?: string, description?: string, type?: string, choices?: unknown[], nullable?: boolean,
 *   locked?: boolean, minimum?: number, maximum?: number, exclusive_minimum?: boolean, exclusive_maximum?: boolean,
 *   unit?: string}} spec As /api/graphs tells it.
 * @param {unknown} value What it holds now.
 * @param {(value: unknown) => void} onChange Told when a valid other value was entered.
 */
export function field(spec, value, onChange) {
  const id = `field-${(serial += 1)}`;
  const kind = kindOf(spec);
  const choices = spec.choices?.length ? [...(spec.nullable ? [null] : []), ...spec.choices] : null;
  const input = choices ? selectOf(choices, value, (choice) => voiceName(choice) ?? NONE) : inputOf(spec, kind, value);
  const about = [withoutUnit(spec), rangeInWords(spec), spec.locked ? LOCKED : ""].filter(Boolean).join(" ");
  input.id = id;
  input.disabled = Boolean(spec.locked);
  if (about) input.setAttribute("aria-describedby", `${id}-about`);
  input.addEventListener("change", () => {
    input.setCustomValidity(outside(input.valueAsNumber, spec));
    if (input.reportValidity()) onChange(valueOf(input, choices, kind));
  });
  return make(
    "div",
    { class: kind === "boolean" && !choices ? "field check" : "field" },
    make("label", { for: id }, spec.title ?? spec.name),
    make("div", { class: "input" }, input, spec.unit ? make("span", { class: "unit" }, spec.unit) : null),
    about ? make("p", { class: "hint", id: `${id}-about` }, about) : null,
  );
}

/** A select of these choices; values keep their types. */
export function selectOf(choices, value, nameOf = String) {
  const select = make("select");
  select.append(...choices.map((choice) => make("option", { value: String(choice ?? "") }, nameOf(choice))));
  select.value = String(value ?? "");
  return select;
}

function inputOf(spec, kind, value) {
  if (kind === "boolean") {
    const box = make("input", { type: "checkbox", role: "switch" });
    box.checked = Boolean(value);
    return box;
  }
  if (kind === "text") {
    const text = make("input", {
      type: "text",
      spellcheck: "false",
      autocomplete: "off",
      required: Boolean(spec.required),
    });
    text.value = value ?? "";
    return text;
  }
  const number = make("input", {
    type: "number",
    inputmode: kind === "integer" ? "numeric" : "decimal",
    step: kind === "integer" ? 1 : "any",
    min: spec.minimum,
    max: spec.maximum,
    required: !spec.nullable,
    placeholder: spec.nullable ? NONE : null,
  });
  number.value = value ?? "";
  return number;
}

function valueOf(input, choices, kind) {
  if (input.type === "checkbox") return input.checked;
  if (choices) return choices.find((choice) => String(choice ?? "") === input.value);
  if (kind === "text") return input.value;
  return input.value === "" ? null : Number(input.value);
}

const has = (bound) => bound !== null && bound !== undefined;

/** Bounds that HTML cannot say: the ends of an open interval. */
function outside(number, { minimum, maximum, exclusive_minimum: aboveMinimum, exclusive_maximum: belowMaximum }) {
  if (aboveMinimum && number <= minimum) return `More than ${minimum}`;
  if (belowMaximum && number >= maximum) return `Less than ${maximum}`;
  return "";
}

/** The description; a unit at its end stands beside the field already. */
function withoutUnit({ description, unit }) {
  const end = `, ${unit}.`;
  return unit && description?.endsWith(end) ? `${description.slice(0, -end.length)}.` : description;
}

function rangeInWords({ minimum, maximum, exclusive_minimum: above, exclusive_maximum: below, unit }) {
  const suffix = unit ? ` ${unit}` : "";
  const low = has(minimum) ? `${above ? "more than" : "from"} ${minimum}` : "";
  const high = has(maximum) ? `${below ? "less than" : has(minimum) ? "to" : "at most"} ${maximum}` : "";
  return low || high ? sentence(`${[low, high].filter(Boolean).join(" ")}${suffix}`) : "";
}
