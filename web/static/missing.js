/** What the chosen graph needs and the server has not: said before anybody presses Start. */

import { make } from "./dom.js";

export const MISSING = "Its models are not on the server yet";

/** Beside the choice of the graph. @param {HTMLElement} root @param {{name: string, missing?: object[]}|null} graph */
export function showMissing(root, graph) {
  root.hidden = !isMissing(graph);
  root.replaceChildren(...(root.hidden ? [] : [make("h3", {}, MISSING), ...missingInWords(graph)]));
}

/** Whether the graph lacks something. */
export const isMissing = (graph) => Boolean(graph?.missing?.length);

/** What it lacks, and what to do about it. */
export function missingInWords({ name, missing }) {
  const list = make("ul", {}, ...missing.map((each) => make("li", {}, inWords(each))));
  if (missing.every(({ remedy }) => remedy)) return [list];
  return [list, make("p", { class: "hint" }, "Whoever runs the server gets them with ", make("code", {}, fetch(name)))];
}

const inWords = ({ what, size_bytes: size, remedy }) =>
  [size ? `${what}, ${bytes(size)}` : what, remedy].filter(Boolean).join(": ");

const fetch = (name) => `tolmach fetch ${/^[\w.-]+$/.test(name) ? name : `'${name}'`}`;

/** A size as disks and downloads are sold: 6400000000 → "6.4 GB". */
export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(size) / 3));
  const value = size / 1000 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}
