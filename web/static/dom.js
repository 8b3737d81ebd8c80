/** Small helpers for building the page. */

/** The element with this id. */
export const $ = (id) => document.getElementById(id);

/**
 * Make an element: `make("p", {class: "hint", hidden: true}, "text", child)`.
 *
 * Properties are set as attributes; true sets an empty attribute, false, null and undefined set none. Styles are never
 * set here: the content security policy forbids style attributes.
 */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Set text only when it changes, so that live regions speak once. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
