/** The state of the connection: one word in view, the figures behind it. Both ends measure what they receive. */

import { make, setText } from "./dom.js";
import { milliseconds } from "./words.js";

const EVERY_MS = 1000;
/** Loss is judged over this many seconds; a lifetime's average would forgive a bad minute for an hour. */
const WINDOW = 10;
/** Audible is what a listener notices: speech suffers from about 1 % loss with concealment, badly from 5 %. */
const LOSS = { fair: 0.01, poor: 0.05 };
/** ITU-T G.114: up to 150 ms one way is not noticed; above 400 ms conversation breaks down. */
const ROUND_TRIP_MS = { fair: 300, poor: 800 };
const JITTER_MS = { fair: 40, poor: 120 };

export class Health {
  #table;
  #word;
  #note;
  #pc = () => null;
  #timer = 0;
  #server = null;
  #here = null;
  #history = [];

  /** @param {{table: HTMLElement, word: HTMLElement, note: HTMLElement}} parts `table` is a tbody. */
  constructor({ table, word, note }) {
    this.#table = table;
    this.#word = word;
    this.#note = note;
  }

  /** The newest figures: `server` as in the `stats` message, `here` as this browser measures. */
  get figures() {
    return { server: this.#server, here: this.#here };
  }

  /** Begin to measure. @param {() => RTCPeerConnection|null} pc The connection of the moment. */
  begin(pc) {
    this.end();
    this.#pc = pc;
    this.#history = [];
    this.#timer = setInterval(() => this.#measure(), EVERY_MS);
  }

  /** Stop; the last figures stay in the table. */
  end() {
    clearInterval(this.#timer);
    setText(this.#word, "");
    this.#word.removeAttribute("data-health");
  }

  /** Take a `stats` message. */
  server(stats) {
    this.#server = stats;
    this.#draw();
  }

  async #measure() {
    const report = await this.#pc()
      ?.getStats()
      .catch(() => null);
    if (!report) return;
    const byType = (type) => [...report.values()].filter((entry) => entry.type === type);
    const inbound = byType("inbound-rtp")[0];
    const pair = byType("candidate-pair").find((p) => p.nominated && p.state === "succeeded");
    if (!inbound) return;
    const { jitterBufferDelay: delayS, jitterBufferEmittedCount: emitted } = inbound;
    const before = this.#history.at(-1)?.here ?? { delayS: 0, emitted: 0 };
    this.#here = {
      received: inbound.packetsReceived,
      lost: Math.max(0, inbound.packetsLost),
      jitterMs: inbound.jitter * 1000,
      // Silent concealment is what follows the server's own silence at the end; nobody hears it.
      concealedMs: ((inbound.concealedSamples - inbound.silentConcealedSamples) / 48_000) * 1000,
      delayS,
      emitted,
      bufferMs: emitted > before.emitted ? ((delayS - before.delayS) / (emitted - before.emitted)) * 1000 : null,
      roundTripMs: pair?.currentRoundTripTime === undefined ? null : pair.currentRoundTripTime * 1000,
    };
    this.#history.push({ here: this.#here, receiver: this.#server?.receiver ?? null });
    this.#history = this.#history.slice(-WINDOW - 1);
    this.#draw();
  }

  #draw() {
    const receiver = this.#server?.receiver ?? {};
    const sender = this.#server?.sender ?? {};
    const here = this.#here ?? {};
    const count = (value) => value ?? "–";
    const rows = [
      ["Jitter", milliseconds(receiver.jitter_ms), milliseconds(here.jitterMs)],
      ["Packets lost", count(receiver.lost), count(here.lost)],
      ["Filled in", milliseconds(concealedMs(receiver)), milliseconds(here.concealedMs)],
      ["Waiting in buffer", milliseconds(receiver.depth_ms), milliseconds(here.bufferMs)],
      ["Waiting to be sent", "–", milliseconds(sender.depth_ms)],
      ["Ran dry", "–", count(sender.underruns)],
    ];
    const roundTrip = make("td", { colspan: 2 }, milliseconds(this.#roundTrip()));
    this.#table.replaceChildren(
      make("tr", {}, make("th", { scope: "row" }, "Round trip"), roundTrip),
      ...rows.map(([name, up, down]) =>
        make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, String(up)), make("td", {}, String(down))),
      ),
    );
    const { level, text } = this.#verdict();
    this.#word.dataset.health = level;
    setText(this.#word, { good: "Connection good", fair: "Connection fair", poor: "Connection poor" }[level]);
    setText(this.#note, text);
  }

  #roundTrip() {
    return this.#server?.round_trip_ms ?? this.#here?.roundTripMs ?? null;
  }

  /** A word for the connection, and what one notices of it. */
  #verdict() {
    const loss = Math.max(
      this.#loss((h) => h.receiver),
      this.#loss((h) => h.here),
    );
    const roundTrip = this.#roundTrip() ?? 0;
    const jitter = Math.max(this.#server?.receiver?.jitter_ms ?? 0, this.#here?.jitterMs ?? 0);
    const judged = [
      [
        grade(loss, LOSS),
        `${(loss * 100).toFixed(1)} % of the packets of the last seconds were lost; words may suffer.`,
      ],
      [grade(roundTrip, ROUND_TRIP_MS), "The way to the server is long; translations come late."],
      [grade(jitter, JITTER_MS), "The network is uneven; sound is held back a little to stay whole."],
    ].sort((a, b) => b[0] - a[0]);
    const [worst, why] = judged[0];
    return { level: ["good", "fair", "poor"][worst], text: worst ? why : "Sound gets through in both directions." };
  }

  #loss(side) {
    const measured = this.#history.map(side).filter(Boolean);
    if (measured.length < 2) return 0;
    const [first, last] = [measured[0], measured.at(-1)];
    const lost = Math.max(0, last.lost - first.lost);
    const all = lost + Math.max(0, last.received - first.received);
    return all > 0 ? lost / all : 0;
  }
}

const grade = (value, { fair, poor }) => (value >= poor ? 2 : value >= fair ? 1 : 0);

const concealedMs = ({ concealed_samples: samples }) => (samples === undefined ? null : (samples / 48_000) * 1000);
