/** Whose models the chosen graph uses, and under which licence; stands where the voice is chosen. */

import { make } from "./dom.js";

/** @param {HTMLElement} root @param {{name: string, licences?: object[]}|null} graph */
export function showLicences(root, graph) {
  const licences = graph?.licences ?? [];
  root.hidden = licences.length === 0;
  root.replaceChildren(
    make("h3", {}, "Licences"),
    make("ul", {}, ...licences.map(({ type, text }) => make("li", {}, make("code", {}, type), ` ${text}`))),
  );
}
