/** Subtitles, dub and transcript of the session as files; also after its end. */

import { explain } from "./errors.js";

/** Fetched with the token and handed over as a blob: a plain link could not carry the Authorization header. */
export class Downloads {
  #api;
  #root;
  #session = null;
  #onTrouble;

  /**
   * @param {HTMLElement} root Holds buttons with data-file.
   * @param {import("./api.js").Api} api
   * @param {(text: string) => void} onTrouble
   */
  constructor(root, api, onTrouble) {
    this.#root = root;
    this.#api = api;
    this.#onTrouble = onTrouble;
    for (const button of root.querySelectorAll("button[data-file]")) {
      button.addEventListener("click", () => this.#save(button));
    }
  }

  /** Offer those of this session, until there is another. */
  offer(session) {
    this.#session = session;
    this.#root.hidden = false;
  }

  async #save(button) {
    const { file } = button.dataset;
    button.disabled = true;
    try {
      const response = await this.#api.request("GET", `sessions/${this.#session}/${file}`, undefined, {
        timeoutMs: 60_000,
      });
      const address = URL.createObjectURL(await response.blob());
      const link = document.createElement("a");
      link.href = address;
      link.download = `tolmach-${stamp(new Date())}-${file}`;
      link.click();
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      this.#onTrouble(
        error.code === "not-found"
          ? "The server keeps a session's files for ten minutes after its end; they are gone now."
          : explain(error),
      );
    } finally {
      button.disabled = false;
    }
  }
}

/** Local date and time that sorts and is safe in file names: 2026-01-31-1542. */
function stamp(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}`;
}
