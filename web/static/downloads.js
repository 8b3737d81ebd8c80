/** Subtitles, dub and transcript of a session as files; also after its end, and from the page when the server is gone. */

import { make } from "./dom.js";
import { explain } from "./errors.js";
import { recall, remember } from "./prefs.js";
import { toJson, toSrt, toVtt } from "./subtitles.js";

const FILES = [
  { file: "subtitles.srt", long: "Subtitles", short: "SRT", own: toSrt, shows: true },
  { file: "subtitles.vtt", long: "Subtitles", short: "VTT", own: toVtt, shows: true },
  { file: "dub.wav", long: "Dub", short: "WAV", own: null },
  { file: "transcript.json", long: "Transcript", short: "JSON", own: toJson },
];
/** What stands in subtitles, where the session knows what was understood. */
const SHOW = { translation: "translation", source: "what was said", both: "both" };
/** A server that is gone is not waited for long where the page has the text itself, ms. */
const TEXT_MS = 8000;
const SOUND_MS = 60_000;

/** Fetched with the token and handed over as a blob: a plain link could not carry the Authorization header. */
export class Downloads {
  #api;
  #notices;
  #show = recall("subtitles", "translation");
  /** The choices of what to show, each with its conversation. */
  #choices = [];

  /** @param {import("./api.js").Api} api @param {import("./notices.js").Notices} notices */
  constructor(api, notices) {
    this.#api = api;
    this.#notices = notices;
  }

  /**
   * Buttons for the files of one session, and what its subtitles are to show where there is a choice.
   *
   * @param {{session: string, captions: () => object[]}} conversation `captions`: those the page holds.
   */
  buttons(conversation) {
    return [...this.#buttons(conversation), this.#choice(conversation)];
  }

  /** Offer the choice in sessions that have come to know what was understood. */
  refresh() {
    for (const { box, conversation } of this.#choices) {
      if (box.hidden) box.hidden = !understood(conversation);
    }
  }

  #choice(conversation) {
    const select = make(
      "select",
      {},
      ...Object.entries(SHOW).map(([value, text]) => make("option", { value }, `Subtitles: ${text}`)),
    );
    select.value = this.#showing;
    const box = make("label", { class: "shows" }, make("span", { class: "unseen" }, "What subtitles show"), select);
    box.hidden = !understood(conversation);
    this.#choices = [...this.#choices.filter((choice) => choice.box.isConnected), { box, select, conversation }];
    select.addEventListener("change", () => {
      this.#show = select.value;
      remember("subtitles", select.value);
      for (const choice of this.#choices) choice.select.value = select.value;
    });
    return box;
  }

  get #showing() {
    return this.#show in SHOW ? this.#show : "translation";
  }

  #buttons(conversation) {
    return FILES.map((kind) => {
      const button = make(
        "button",
        { type: "button", class: "plain" },
        make("span", { class: "long" }, `${kind.long} `),
        kind.short,
      );
      button.addEventListener("click", async () => {
        button.disabled = true;
        await this.#save(kind, conversation);
        button.disabled = false;
      });
      return button;
    });
  }

  async #save({ file, own, shows }, conversation) {
    this.#notices.dismiss("saved");
    const show = shows && understood(conversation) ? this.#showing : "translation";
    let blob;
    try {
      const timeoutMs = own ? TEXT_MS : SOUND_MS;
      const path = `sessions/${conversation.session}/${file}${show === "translation" ? "" : `?show=${show}`}`;
      blob = await (await this.#api.request("GET", path, undefined, { timeoutMs })).blob();
    } catch (error) {
      const key = error.code === "unreachable" ? "unreachable" : "saved"; // the former goes when it answers
      const why =
        error.code === "not-found" ? "The server has the files of this session no longer." : explain(error);
      if (!own) {
        this.#notices.show("trouble", `${why} Only the server has the sound; subtitles can still be saved.`, { key });
        return;
      }
      const held = conversation.captions();
      if (!held.length) {
        this.#notices.show("trouble", `${why} Nothing was said that this page could save.`, { key });
        return;
      }
      blob = new Blob([own(held, show)], { type: "text/plain;charset=utf-8" });
      this.#notices.show("remark", `${why} The file was made of what this page holds.`, { key });
    }
    const address = URL.createObjectURL(blob);
    const link = document.createElement("a");
    link.href = address;
    const name = show === "translation" ? file : file.replace(".", `-${show}.`);
    link.download = `tolmach-${stamp(conversation.begun)}-${name}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
    conversation.saved = conversation.captions().length;
  }
}

/** Whether what was understood is known of anything in a conversation. */
const understood = (conversation) => conversation.captions().some((caption) => caption.source_text);

/** Local date and time that sorts and is safe in file names: 2026-01-31-1542. */
function stamp(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day}-${two(date.getHours())}${two(date.getMinutes())}`;
}
