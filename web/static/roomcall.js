/** Somebody's connection to a seat of a room: come, come back when it was lost, leave. */

import { Trouble } from "./errors.js";
import { Peer, RESTART_MS } from "./peer.js";
import { SocketPeer } from "./socketpeer.js";
import { Ways, meet } from "./ways.js";
import { sentence } from "./words.js";

const AGAIN_MS = 1500;
/** A talk is long, and networks are moody: whoever listens is brought back for as long, ms. */
const COME_BACK_MS = 5 * 60_000;
/** Words of the server after which nobody is to come back by itself: they would take turns in throwing each other out. */
const FINAL = /another|somebody else/i;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * States: `idle` → `joining` → `live` ⇄ `reconnecting` → `ended` (or back to `idle` when it could not begin).
 *
 * Events: `state` (detail: {state, reason}), `remote` (detail: MediaStream), `byway` (detail: whether it goes over a
 * WebSocket, for UDP does not get through), `ended` (detail: error or null), and every message of the server by its type.
 */
export class RoomCall extends EventTarget {
  #api;
  #room;
  #path;
  #how;
  #ways = new Ways();
  #track = null;
  #peer = null;
  /** Of an RTCPeerConnection; null of a WebSocket. */
  #id = null;
  #abort = new AbortController();
  #farewell = "";

  state = "idle";

  /**
   * @param {import("./api.js").Api} api Shows the code of the seat.
   * @param {string} room Its id.
   * @param {{iceServers: RTCIceServer[], hasByway: boolean}} how `hasByway`: whether the server takes WebSockets too.
   */
  constructor(api, room, how) {
    super();
    this.#api = api;
    this.#room = `rooms/${encodeURIComponent(room)}`;
    this.#path = `${this.#room}/peers`;
    this.#how = how;
    window.addEventListener("online", () => this.#ways.forget());
    window.addEventListener("pagehide", () => this.#leave());
  }

  get pc() {
    return this.#peer?.pc ?? null;
  }

  /** The WebSocket that it goes over, if it does not go over UDP. */
  get socket() {
    return this.#peer?.socket ?? null;
  }

  /**
   * Come to the seat.
   *
   * @param {MediaStreamTrack|null} track What is said there; null for who only listens.
   * @param {boolean} takeOver Whether to take the place of who speaks there now.
   */
  async join(track, takeOver = false) {
    this.#abort = new AbortController();
    this.#track = track;
    this.#set("joining");
    try {
      await this.#connect(takeOver);
      this.#set("live");
    } catch (error) {
      this.#discard();
      this.#set("idle");
      this.#abort.signal.throwIfAborted();
      throw error;
    }
  }

  /** Leave, or give up coming. Safe at any time. */
  async leave() {
    const { state } = this;
    this.#abort.abort();
    if (state !== "live" && state !== "reconnecting") return;
    const peer = this.#peer;
    this.#peer = null;
    this.#end(null);
    await peer?.farewell();
  }

  /** Speak from another source. */
  async replaceTrack(track) {
    this.#track = track;
    await this.#peer?.replaceTrack(track);
  }

  /** Connect, over UDP or, where that does not get through, over a WebSocket; wait for the room's first message. */
  async #connect(takeOver) {
    const { signal } = this.#abort;
    const byway = this.#how.hasByway ? (timeoutMs) => this.#connectSocket(takeOver, signal, timeoutMs) : null;
    const udp = (timeoutMs) => this.#connectUdp(takeOver, signal, timeoutMs);
    this.#emit("byway", await this.#ways.go(udp, byway, signal));
  }

  async #connectUdp(takeOver, signal, timeoutMs) {
    const mine = () => `${this.#path}/${this.#id}`;
    const peer = new Peer({
      iceServers: this.#how.iceServers,
      track: this.#track,
      signalling: {
        offer: async (sdp) => {
          const body = { sdp, take_over: takeOver };
          const answer = await this.#api.json("POST", this.#path, body, { signal, timeoutMs: 30_000 });
          this.#id = answer.peer;
          return answer.sdp;
        },
        reoffer: async (sdp) => (await this.#api.json("PATCH", mine(), { sdp }, { timeoutMs: RESTART_MS })).sdp,
        candidates: (candidates) => this.#api.json("PATCH", mine(), { candidates }),
      },
    });
    await this.#meet(peer, () => peer.connect(), signal, timeoutMs);
  }

  async #connectSocket(takeOver, signal, timeoutMs) {
    const path = `api/${this.#room}/ws${takeOver ? "?take_over=true" : ""}`;
    const peer = new SocketPeer({ track: this.#track, token: this.#api.token, path });
    await this.#meet(peer, () => peer.connect({}), signal, timeoutMs);
    this.#id = null; // it is its socket
  }

  /** Let this be the peer, and wait until the room greets it. */
  async #meet(peer, connect, signal, timeoutMs) {
    this.#discard();
    this.#peer = peer;
    this.#farewell = "";
    peer.addEventListener("message", ({ detail }) => this.#message(detail));
    peer.addEventListener("remote", ({ detail }) => this.#emit("remote", detail));
    peer.addEventListener("lost", ({ detail }) => this.#lost(detail));
    await meet(peer, connect, "room", { signal, timeoutMs, farewell: () => this.#farewell });
  }

  #message(message) {
    if (message.type === "bye") {
      this.#farewell = message.reason ?? "";
      return;
    }
    this.#emit(message.type, message);
  }

  async #lost(reason) {
    if (this.state !== "live") return;
    if (FINAL.test(this.#farewell)) {
      this.#end(new Trouble(sentence(this.#farewell)));
      return;
    }
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#set("reconnecting", this.#farewell || reason);
    try {
      if (!(await this.#peer?.mend(signal))) await this.#comeBack(signal);
      this.#set("live");
    } catch (error) {
      if (!signal.aborted) this.#end(error);
    }
  }

  async #comeBack(signal) {
    const until = performance.now() + COME_BACK_MS;
    const said = this.#farewell;
    this.#discard();
    for (;;) {
      try {
        const { state, end_reason: why } = await this.#api.json("GET", this.#room, undefined, { signal });
        if (state === "ended") throw Object.assign(new Trouble(`The room has ended: ${why}.`), { ended: true });
        return await this.#connect(true);
      } catch (error) {
        signal.throwIfAborted();
        if (error.ended) throw error;
        if (["not-found", "conflict", "unauthorised"].includes(error.code)) {
          throw new Trouble(said ? `The room has ended: ${said}.` : sentence(error.message));
        }
        if (performance.now() > until) throw new Trouble("The connection was lost and did not come back.");
      }
      await sleep(AGAIN_MS);
      signal.throwIfAborted();
    }
  }

  /** The page goes away: tell the server in what outlives it. */
  #leave() {
    if (this.state !== "live" && this.state !== "reconnecting") return;
    if (this.#id === null) this.#peer?.send({ type: "bye" });
    else this.#api.request("DELETE", `${this.#path}/${this.#id}`, undefined, { keepalive: true }).catch(() => {});
    this.#discard();
    this.#set("ended");
  }

  #end(error) {
    this.#discard();
    this.#set("ended");
    this.#emit("ended", error);
  }

  #discard() {
    this.#peer?.close();
    this.#peer = null;
  }

  #set(state, reason = "") {
    this.state = state;
    this.#emit("state", { state, reason });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
