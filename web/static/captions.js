/**
 * What was said, as it comes. An utterance is a block; its final parts stand in black, what may still change behind them
 * in grey, what was understood small below, and a rejected one is said softly with the reason.
 */

import { make, setText } from "./dom.js";
import { clock, languageName, languageTag, rejection, seconds } from "./words.js";

/** Captions shown; the downloads have all. */
const SHOWN = 400;
/** Utterances of a session held for files the page makes itself; as many as the server keeps captions. */
const HELD = 20_000;
/** After this nothing is expected any more of an utterance that was heard, ms. */
const PENDING_MS = 10_000;

/** Several engines may caption one utterance; one engine's later text of a part replaces its earlier one. */
const keyOf = (caption) => [caption.utterance, caption.target_lang, caption.engine].join("\u0000");
const partOf = (caption) => caption.part ?? 0;

/** Whether a caption makes another, partial one mean nothing any more; the rule of docs/LIVE.md. */
function outdates(caption, other) {
  if (other.final || other.utterance !== caption.utterance || other.engine !== caption.engine) return false;
  const ended = caption.final && !caption.more && other.target_lang === caption.target_lang;
  return (ended && partOf(other) > partOf(caption)) || other.source_lang !== caption.source_lang;
}

export class Captions {
  #scroller;
  #list;
  #pending;
  #latest;
  #said;
  #blocks = new Map();
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

  /** Captions of the session as the server sent them, each utterance's in the order of their parts, oldest first. */
  get all() {
    return [...this.#blocks.values()].flatMap(({ parts }) => ordered(parts));
  }

  /** The text of an utterance so far, and its language; null when there is none. */
  textOf(utterance) {
    for (const { parts } of this.#blocks.values()) {
      const [first] = parts.values();
      if (first.utterance === utterance) return { text: joined(ordered(parts), "text"), lang: first.target_lang };
    }
    return null;
  }

  /** A new session: what is there stays, but is no longer counted. */
  begin() {
    this.#blocks.clear();
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
    this.#forget(caption);
    const key = keyOf(caption);
    const known = this.#blocks.get(key);
    const block = known ?? { item: make("li", { class: "caption" }), parts: new Map(), heardMs: null };
    const before = block.parts.get(partOf(caption));
    block.parts.set(partOf(caption), caption);
    this.#blocks.set(key, block);
    this.#draw(block);
    if (!known) this.#list.insertBefore(block.item, this.#placeOf(caption, block));
    if (this.#blocks.size > HELD) this.#blocks.delete(this.#blocks.keys().next().value);
    this.#trim();
    if (!caption.replayed) {
      if (caption.final && !before?.final) this.#announce(caption);
      if (!this.#pending.classList.contains("hearing")) this.pending(null);
    }
    if (this.#following) this.#follow();
  }

  /** How long after the end of speech its translation was first heard, ms; negative where that was before. */
  heard(utterance, heardMs) {
    for (const block of this.#blocks.values()) {
      const [first] = block.parts.values();
      if (first.utterance !== utterance || block.heardMs === heardMs) continue;
      block.heardMs = heardMs;
      this.#draw(block);
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

  /** Take away what a new caption has made meaningless. */
  #forget(caption) {
    for (const [key, block] of this.#blocks) {
      const outdated = [...block.parts.values()].filter((other) => outdates(caption, other));
      for (const other of outdated) block.parts.delete(partOf(other));
      if (!outdated.length || key === keyOf(caption)) continue;
      if (block.parts.size) {
        this.#draw(block);
        continue;
      }
      block.item.remove();
      this.#blocks.delete(key);
    }
  }

  #draw({ item, parts, heardMs }) {
    const all = ordered(parts);
    const [first, last] = [all[0], all.at(-1)];
    const rejected = all.find((caption) => caption.rejected);
    const silent = Boolean(rejected) && !joined(all, "text");
    item.dataset.utterance = first.utterance;
    item.classList.toggle("partial", !all.some((caption) => caption.final));
    item.classList.toggle("growing", !last.final || Boolean(last.more));
    item.classList.toggle("rejected", silent);
    const text = silent
      ? make("p", { class: "text" }, rejection(String(rejected.rejected)))
      : make("p", { class: "text", lang: first.target_lang, dir: "auto" }, ...pieces(all, "text"));
    const source = joined(all, "source_text")
      ? make("p", { class: "source", lang: first.source_lang, dir: "auto" }, ...pieces(all, "source_text"))
      : null;
    const end = Math.max(...all.map((caption) => caption.end_ms));
    const meta = make(
      "p",
      { class: "meta" },
      make("span", {}, `${clock(first.start_ms)} – ${clock(end)}`),
      ...direction(first),
      heardMs === null ? null : make("span", {}, spoken(heardMs)),
      ...unspoken(all),
    );
    item.replaceChildren(...[text, source, meta].filter(Boolean));
  }

  /** The caption before which this one belongs: they are in order of speech, whatever order they come in. */
  #placeOf(caption, block) {
    const others = [...this.#blocks.values()].filter((other) => other !== block && other.item.isConnected);
    for (const { item, parts } of others.reverse()) {
      const [first] = parts.values();
      if (first.utterance <= caption.utterance) return item.nextElementSibling;
    }
    return others.at(-1)?.item ?? null;
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
    if (!caption.rejected && !caption.text.trim()) return; // the end of what was said already
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

/** Captions of one utterance in the order of their parts. */
const ordered = (parts) => [...parts.values()].sort((a, b) => partOf(a) - partOf(b));

const joined = (captions, field) =>
  captions
    .map((caption) => (caption[field] ?? "").trim())
    .filter(Boolean)
    .join(" ");

/** Texts of an utterance: what stays as it is, and in grey what may still change. */
function pieces(captions, field) {
  const said = joined(
    captions.filter((caption) => caption.final),
    field,
  );
  const coming = joined(
    captions.filter((caption) => !caption.final),
    field,
  );
  if (!coming) return [said];
  return [said ? `${said} ` : "", make("span", { class: "coming" }, coming)];
}

/** From which language into which; a short mark where that was found, and a word where it is not sure. */
function direction({ source_lang: source, target_lang: target, language_confidence: confidence, language_kept: kept }) {
  const words = `${languageName(source)} → ${languageName(target)}`;
  if (confidence === null || confidence === undefined) return [make("span", {}, words)];
  const mark = make("span", { class: "found", title: `${words}, found by itself (${percent(confidence)} sure)` });
  mark.classList.toggle("kept", Boolean(kept));
  mark.append(
    make("span", { "aria-hidden": "true" }, `${languageTag(source)} → ${languageTag(target)}`),
    make("span", { class: "unseen" }, words),
  );
  if (!kept) return [mark];
  return [mark, make("span", { class: "unsure" }, `language not clear, taken for ${languageName(source)} as before`)];
}

/** What the voice left out to keep up. */
function unspoken(captions) {
  const texts = captions.filter((caption) => caption.text.trim());
  const left = texts.filter((caption) => caption.unspoken);
  if (!left.length) return [];
  const what = left.length < texts.length ? "partly not spoken" : "not spoken";
  return [make("span", { class: "unspoken" }, `${what}: the voice was too far behind`)];
}

const spoken = (ms) => (ms < 0 ? `spoken from ${seconds(-ms)} before the end` : `spoken ${seconds(ms)} later`);

const percent = (share) => `${Math.round(share * 100)} %`;
