/** The dialog that asks for the access token. */

/**
 * Ask for the token.
 *
 * @param {HTMLDialogElement} dialog With a form, a field named "token" and an element `.wrong`.
 * @param {boolean} wrong Whether the last one was refused.
 * @returns {Promise<string|null>} Null when the person declines.
 */
export function askToken(dialog, wrong) {
  const form = dialog.querySelector("form");
  const input = form.elements.token;
  dialog.querySelector(".wrong").hidden = !wrong;
  input.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => resolve(dialog.returnValue === "use" && input.value.trim() ? input.value.trim() : null),
      { once: true },
    );
  });
}
