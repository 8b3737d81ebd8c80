/** What was said, as it comes: partial texts in grey, final ones in black, rejected ones softly with the reason. */

import { make, setText } from "./dom.js";
import { clock, languageName, rejection, seconds } from "./words.js";

/** Captions shown; the downloads have all. */
const SHOWN = 400;
/** Captions of a session held for files the page makes itself; as many as the server keeps. */
const HELD = 20_000;
/** After this nothing is expected any more of an utterance that was heard, ms. */
const PENDING_MS = 10_000;

/** Several engines may caption one utterance; one engine's later text replaces its earlier one. */
const keyOf = (caption) => [caption.utterance, caption.target_lang, caption.engine].join("\u0000");

export class Captions {
  #scroller;
  #list;
  #pending;
  #latest;
  #said;
  #items = new Map();
  #pendingTimer = 0;
  #following = true;

  /**
   * @param {{scroller: HTMLElement, list: HTMLElement, pending: HTMLElement, latest: HTMLButtonElement,
   *   said: HTMLElement}} parts `pending` says that something is being heard; `latest` goes back to the newest caption;
   *   `said` is a live region.
   */
  constructor({ scroller, list, pending, latest, said }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#pending = pending;
    this.#latest = latest;
    this.#said = said;
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    latest.addEventListener("click", () => this.#follow());
    new ResizeObserver(() => this.#following && this.#follow()).observe(scroller);
  }

  /** Captions of the session, oldest first, as the server sent them. */
  get all() {
    return [...this.#items.values()].map(({ caption }) => caption);
  }

  /** A new session: what is there stays, but is no longer counted. */
  begin() {
    this.#items.clear();
    this.pending(null);
  }

  /** The session is an earlier one from now on; `parts` stand below its captions. */
  close(...parts) {
    for (const old of this.#list.querySelectorAll(":scope > .caption")) old.classList.add("earlier");
    this.#list.append(make("li", { class: "divider" }, ...parts));
    this.begin();
    this.#follow();
  }

  /** Show a caption, new, changed or sent again after a reconnection. */
  add(caption) {
    const key = keyOf(caption);
    const known = this.#items.get(key);
    const item = known?.item ?? make("li", { class: "caption" });
    this.#items.set(key, { caption, item, heardMs: known?.heardMs ?? null });
    this.#draw(key);
    if (!known) this.#list.insertBefore(item, this.#placeOf(caption, item));
    if (this.#items.size > HELD) this.#items.delete(this.#items.keys().next().value);
    this.#trim();
    if (!caption.replayed) {
      if (caption.final && !known?.caption.final) this.#announce(caption);
      if (!this.#pending.classList.contains("hearing")) this.pending(null);
    }
    if (this.#following) this.#follow();
  }

  /** How long after the end of speech its translation was first heard, ms. */
  heard(utterance, heardMs) {
    for (const [key, entry] of this.#items) {
      if (entry.caption.utterance !== utterance || entry.heardMs === heardMs) continue;
      entry.heardMs = heardMs;
      this.#draw(key);
    }
  }

  /** Say that somebody speaks ("hearing"), that the translation is awaited ("translating"), or nothing (null). */
  pending(what) {
    clearTimeout(this.#pendingTimer);
    this.#pending.hidden = what === null;
    this.#pending.classList.toggle("hearing", what === "hearing");
    setText(this.#pending, { hearing: "Listening", translating: "Translating" }[what] ?? "");
    if (what === "translating") this.#pendingTimer = setTimeout(() => this.pending(null), PENDING_MS);
    if (what && this.#following) this.#follow();
  }

  #draw(key) {
    const { caption, item, heardMs } = this.#items.get(key);
    const rejected = caption.rejected !== null && caption.rejected !== undefined;
    item.dataset.utterance = caption.utterance;
    item.classList.toggle("partial", !caption.final);
    item.classList.toggle("rejected", rejected);
    const text = rejected
      ? make("p", { class: "text" }, rejection(String(caption.rejected)))
      : make("p", { class: "text", lang: caption.target_lang, dir: "auto" }, caption.text);
    const languages = `${languageName(caption.source_lang)} → ${languageName(caption.target_lang)}`;
    const meta = make(
      "p",
      { class: "meta" },
      make("span", {}, `${clock(caption.start_ms)} – ${clock(caption.end_ms)}`),
      make("span", {}, languages),
    );
    if (heardMs !== null) meta.append(make("span", {}, `spoken ${seconds(heardMs)} later`));
    item.replaceChildren(text, meta);
  }

  /** The caption before which this one belongs: they are in order of speech, whatever order they come in. */
  #placeOf(caption, item) {
    for (const other of [...this.#items.values()].reverse()) {
      if (other.item === item || !other.item.isConnected) continue;
      if (other.caption.utterance <= caption.utterance) return other.item.nextElementSibling;
    }
    const first = [...this.#items.values()].find((entry) => entry.item !== item && entry.item.isConnected);
    return first?.item ?? null;
  }

  /** Old captions leave the page; the files of their sessions stay on offer. */
  #trim() {
    const { children } = this.#list;
    for (let at = 0, left = children.length - SHOWN; left > 0 && at < children.length; ) {
      if (!children[at].classList.contains("caption")) at += 1;
      else {
        children[at].remove();
        left -= 1;
      }
    }
  }

  #announce(caption) {
    const text = caption.rejected ? rejection(String(caption.rejected)) : caption.text;
    this.#said.lang = caption.rejected ? "en" : caption.target_lang;
    this.#said.textContent = text;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#following = scrollHeight - scrollTop - clientHeight < 48;
    this.#latest.hidden = this.#following;
  }

  #follow() {
    this.#following = true;
    this.#latest.hidden = true;
    // What stands there before the first caption is read from its beginning.
    this.#scroller.scrollTop = this.#list.childElementCount ? this.#scroller.scrollHeight : 0;
  }
}
