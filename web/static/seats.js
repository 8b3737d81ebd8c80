/** The host's list of seats: who is there, and the link and QR code by which others come. */

import { make, setText } from "./dom.js";
import { languageName } from "./words.js";

/** A seat in words: the language of who sits there, or its name; what they do there. */
export function seatName({ seat, lang }) {
  const language = languageName(lang || "");
  return seat === lang ? language : `${seat.charAt(0).toUpperCase()}${seat.slice(1)}${language ? ` (${language})` : ""}`;
}

const does = ({ speaks, hears }) => (speaks && hears ? "speaks and hears" : speaks ? "speaks" : hears ? "listens" : "reads");

export class Seats {
  #list;
  #big;
  #api;
  #room;
  #items = new Map();

  /**
   * @param {HTMLUListElement} list
   * @param {HTMLDialogElement} big Shows a code to a hall.
   * @param {import("./api.js").Api} api Shows the host's code.
   * @param {string} room Its id.
   */
  constructor(list, big, api, room) {
    this.#list = list;
    this.#big = big;
    this.#api = api;
    this.#room = room;
  }

  /** Show the seats, once; then only who is there changes. */
  show(seats) {
    for (const seat of seats) {
      if (!this.#items.has(seat.seat)) this.#add(seat);
      setText(this.#items.get(seat.seat), people(seat));
    }
  }

  #add(seat) {
    const link = linkOf(this.#room, seat.code);
    const name = seatName(seat);
    const count = make("p", { class: "hint people" });
    const copy = make("button", { type: "button", class: "plain" }, "Copy link");
    copy.addEventListener("click", async () => {
      await navigator.clipboard?.writeText(link);
      setText(copy, "Copied");
      setTimeout(() => setText(copy, "Copy link"), 2000);
    });
    const image = make("img", { alt: "" });
    const code = make("button", { type: "button", class: "code", "aria-label": `QR code for ${name}, large` }, image);
    code.addEventListener("click", () => this.#enlarge(name, image.src));
    this.#draw(seat.seat, image);
    const item = make(
      "li",
      { "data-seat": seat.seat },
      make("h3", {}, name, " ", make("span", { class: "hint" }, does(seat))),
      count,
      make("div", { class: "buttons" }, copy, make("a", { href: link, target: "_blank", rel: "noopener", class: "hint" }, "Open")),
      code,
    );
    this.#items.set(seat.seat, count);
    this.#list.append(item);
  }

  /** Fetched with the host's code, which an address in an image could not carry. */
  async #draw(seat, image) {
    const query = new URLSearchParams({ seat, page: pageOf() });
    const response = await this.#api.request("GET", `rooms/${encodeURIComponent(this.#room)}/qr.svg?${query}`);
    image.src = URL.createObjectURL(await response.blob());
  }

  #enlarge(name, source) {
    setText(this.#big.querySelector("h2"), name);
    const image = this.#big.querySelector("img");
    image.src = source;
    image.alt = `QR code of the link for ${name}`;
    this.#big.showModal();
  }
}

const pageOf = () => new URL("room", document.baseURI).href;
const linkOf = (room, code) => `${pageOf()}#${room}~${code}`;

function people({ people: count, speaks }) {
  if (speaks) return count ? "Here" : "Nobody yet";
  return count === 1 ? "1 listener" : `${count} listeners`;
}
