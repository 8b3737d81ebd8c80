/** The conversations of this tab: the one that goes on, and the earlier ones above it, each with its files. */

import { make } from "./dom.js";

/** Ids of sessions, kept until the tab is closed: with one of them the server gives a transcript after a reload. */
const KEY = "tolmach-sessions";
const KEPT = 5;
const RESTORE_MS = 5000;

export class Conversations {
  #captions;
  #downloads;
  #bar;
  #current = null;
  #earlier = [];

  /**
   * @param {import("./captions.js").Captions} captions
   * @param {import("./downloads.js").Downloads} downloads
   * @param {HTMLElement} bar Gets the buttons of the newest conversation.
   */
  constructor(captions, downloads, bar) {
    this.#captions = captions;
    this.#downloads = downloads;
    this.#bar = bar;
  }

  /** A session has begun; what was said before stays above it. */
  begin(session) {
    this.#close();
    this.#captions.begin();
    this.#open(session, new Date());
    remember([...remembered().filter((each) => each.session !== session), { session, begun: Date.now() }]);
    this.#bar.replaceChildren(make("span", {}, "Save"), ...this.#downloads.buttons(this.#current));
    this.#bar.hidden = false;
  }

  /** A caption has come. */
  captioned() {
    this.#downloads.refresh();
  }

  /**
   * Bring back what was said before the page was loaded anew, as far as the server still has it.
   *
   * @param {import("./api.js").Api} api
   * @returns {Promise<boolean>} Whether there was anything.
   */
  async restore(api) {
    const found = [];
    for (const { session, begun } of remembered()) {
      try {
        const path = `sessions/${session}/transcript.json`;
        const { captions } = await api.json("GET", path, undefined, { timeoutMs: RESTORE_MS });
        this.#open(session, new Date(begun));
        for (const caption of captions) this.#captions.add({ ...caption, replayed: true });
        this.#close();
        found.push({ session, begun });
      } catch (error) {
        if (error.code !== "not-found") found.push({ session, begun }); // it may be there next time
      }
    }
    remember(found);
    return this.#earlier.length > 0;
  }

  /** Whether the page holds something that was said and not saved since. */
  get unsaved() {
    return [...this.#earlier, this.#current].some((each) => each && each.captions().length > each.saved);
  }

  #open(session, begun) {
    this.#current = { session, begun, saved: 0, captions: () => this.#captions.all };
  }

  #close() {
    const closed = this.#current;
    this.#current = null;
    const held = this.#captions.all;
    if (!closed || held.length === 0) return;
    closed.captions = () => held;
    this.#earlier.push(closed);
    const time = closed.begun.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
    const group = { class: "downloads", role: "group", "aria-label": `Save the session of ${time}` };
    this.#captions.close(
      make("span", {}, `Session of ${time}`),
      make("div", group, make("span", {}, "Save"), ...this.#downloads.buttons(closed)),
    );
  }
}

function remembered() {
  try {
    const list = JSON.parse(sessionStorage.getItem(KEY)) ?? [];
    return list.filter(({ session, begun }) => typeof session === "string" && Number.isFinite(begun));
  } catch {
    return []; // storage is forbidden, or holds something else
  }
}

function remember(list) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(list.slice(-KEPT)));
  } catch {
    // A reload then begins with an empty page.
  }
}
