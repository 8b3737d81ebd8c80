/** A session with the server, across the peer connections it takes: start, switch, reconnect, stop. */

import { ApiError } from "./api.js";
import { PASSING, Trouble } from "./errors.js";
import { Peer, RESTART_MS } from "./peer.js";
import { SocketPeer } from "./socketpeer.js";
import { Ways, meet } from "./ways.js";
import { sentence } from "./words.js";

/** The server keeps a session that lost its connection this long, ms. */
const RESUME_MS = 30_000;
const AGAIN_MS = 1000;

/**
 * States: `idle` → `starting` → `live` ⇄ `reconnecting` → `ended` (or back to `idle` when starting failed).
 *
 * Events: `state` (detail: {state, reason, until}), `waiting` (detail: {error, retryAt}, while starting), `remote`
 * (detail: MediaStream), `byway` (detail: whether the call goes over a WebSocket, for UDP does not get through), `ended`
 * (detail: error or null), and every message of the server by its type.
 */
export class Call extends EventTarget {
  #api;
  #peer = null;
  #track = null;
  #abort = new AbortController();
  #farewell = "";
  #ways = new Ways();

  state = "idle";
  /** The session's id; it stays after the end, for downloads. */
  session = null;
  /** The graph, params and settings in use, as the server last said. */
  current = null;

  /** @param {import("./api.js").Api} api */
  constructor(api) {
    super();
    this.#api = api;
    window.addEventListener("online", () => this.#networkChanged());
    navigator.connection?.addEventListener?.("change", this.#byType(navigator.connection.type));
    window.addEventListener("pagehide", () => this.#leave());
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.#returned());
  }

  get pc() {
    return this.#peer?.pc ?? null;
  }

  /** The WebSocket that the call goes over, if it does not go over UDP. */
  get socket() {
    return this.#peer?.socket ?? null;
  }

  /**
   * Begin a session.
   *
   * @param {{graph: string, params: object, settings: object}} choice
   * @param {MediaStreamTrack} track The source; open it first, or Chrome hides its addresses from the offer.
   * @throws {ApiError|Trouble} When it cannot begin. A server without room is asked again until `stop()`.
   */
  async start(choice, track) {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    this.#track = track;
    this.session = null;
    this.current = choice;
    this.#set("starting");
    try {
      await this.#enter(choice, signal);
      this.#set("live");
    } catch (error) {
      this.#discard();
      this.#set("idle");
      signal.throwIfAborted();
      throw error;
    }
  }

  /** End the session, or give up starting it. Nothing more is heard of it. Safe at any time. */
  async stop() {
    const { session, state } = this;
    this.#abort.abort();
    if (state !== "live" && state !== "reconnecting") return;
    const peer = this.#peer;
    this.#peer = null;
    this.#end(null);
    if (await peer?.farewell()) return;
    await this.#api.json("DELETE", `sessions/${session}`).catch(() => {}); // it may have ended already
  }

  /** Change graph, params or settings while it runs; how it goes on comes as `graph` messages. */
  async switchTo(choice) {
    return this.#api.json("PUT", `sessions/${this.session}/graph`, choice, { timeoutMs: 30_000 });
  }

  /** Speak from another source. */
  async replaceTrack(track) {
    this.#track = track;
    await this.#peer?.replaceTrack(track);
  }

  /** Throw away what waits to be heard. */
  clear() {
    this.#peer?.send({ type: "clear" });
  }

  async #enter(choice, signal) {
    for (;;) {
      try {
        return await this.#connect(choice, signal);
      } catch (error) {
        if (this.session) this.#api.json("DELETE", `sessions/${this.session}`).catch(() => {});
        this.session = null;
        if (!(error instanceof ApiError && PASSING.has(error.code))) throw error;
        const pause = Math.max(1, error.retryAfterS ?? 3) * 1000;
        this.#emit("waiting", { error, retryAt: performance.now() + pause });
        await sleep(pause, signal);
      }
    }
  }

  /** Connect, over UDP or, where that does not get through, over a WebSocket; wait for the session's first message. */
  async #connect(body, signal) {
    const { ice_servers: iceServers, doors } = await this.#api.json("GET", "config", undefined, { signal });
    const byway = doors?.includes("websocket") ? (timeoutMs) => this.#connectSocket(body, signal, timeoutMs) : null;
    const udp = (timeoutMs) => this.#connectUdp(body, iceServers, signal, timeoutMs);
    this.#emit("byway", await this.#ways.go(udp, byway, signal));
  }

  async #connectSocket(body, signal, timeoutMs) {
    const peer = new SocketPeer({ track: this.#track, token: this.#api.token });
    // What UDP has begun goes on here; where it has ended meanwhile, another session begins.
    const begun = body.resume ?? this.session;
    try {
      await this.#meet(peer, () => peer.connect(begun ? { ...body, resume: begun } : body), signal, timeoutMs);
    } catch (error) {
      const isGone = error.code === "not-found" || error.code === "conflict";
      if (body.resume || !begun || !isGone) throw error;
      this.session = null;
      await this.#connectSocket(body, signal, timeoutMs);
    }
  }

  async #connectUdp(body, iceServers, signal, timeoutMs) {
    const path = () => `sessions/${this.session}`;
    const peer = new Peer({
      iceServers,
      track: this.#track,
      signalling: {
        offer: async (sdp) => {
          // Also in the address: a proxy in front of several servers finds the one that has the session by it.
          const to = body.resume ? `sessions?resume=${encodeURIComponent(body.resume)}` : "sessions";
          const answer = await this.#api.json("POST", to, { ...body, sdp }, { signal, timeoutMs: 30_000 });
          this.session = answer.session;
          return answer.sdp;
        },
        reoffer: async (sdp) =>
          (await this.#api.json("PATCH", path(), { sdp }, { signal: this.#abort.signal, timeoutMs: RESTART_MS }))
            .sdp,
        candidates: (candidates) => this.#api.json("PATCH", path(), { candidates }),
      },
    });
    await this.#meet(peer, () => peer.connect(), signal, timeoutMs);
  }

  /** Let this be the peer, and wait until the session greets it. */
  async #meet(peer, connect, signal, timeoutMs) {
    this.#discard();
    this.#peer = peer;
    peer.addEventListener("message", ({ detail }) => this.#message(detail));
    peer.addEventListener("remote", ({ detail }) => this.#emit("remote", detail));
    peer.addEventListener("lost", ({ detail }) => this.#lost(detail));
    await meet(peer, connect, "session", { signal, timeoutMs, farewell: () => this.#farewell });
  }

  #message(message) {
    if (message.type === "session") {
      this.session = message.session;
      this.current = choiceOf(message);
      this.#farewell = "";
    }
    if (message.type === "graph" && message.state === "current") this.current = choiceOf(message);
    if (message.type === "bye") {
      // The connection closes now. The session may still be there: a resume finds out.
      this.#farewell = message.reason ?? "";
      return;
    }
    this.#emit(message.type, message);
  }

  async #lost(reason) {
    if (this.state !== "live") return;
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const until = performance.now() + RESUME_MS;
    this.#set("reconnecting", { reason: this.#farewell || reason, until });
    try {
      if (!(await this.#peer?.mend(signal))) await this.#resume(until, signal);
      this.#set("live");
    } catch (error) {
      if (!signal.aborted) this.#end(error);
    }
  }

  /** Come back with new peer connections until `until`. */
  async #resume(until, signal) {
    this.#discard();
    for (;;) {
      let failure;
      try {
        return await this.#connect({ resume: this.session }, signal);
      } catch (error) {
        signal.throwIfAborted();
        failure = error;
      }
      if (failure.code === "not-found" || failure.code === "conflict") {
        throw new Trouble(
          this.#farewell ? `The server ended the session: ${this.#farewell}.` : sentence(failure.message),
        );
      }
      if (performance.now() + AGAIN_MS > until) {
        throw new Trouble(
          "The connection was lost and did not come back within 30 seconds. Press Start for a new session.",
        );
      }
      await sleep(AGAIN_MS, signal, "online");
    }
  }

  #networkChanged() {
    this.#ways.forget();
    // ICE would notice by itself, after several seconds of silence.
    if (this.state === "live" && this.#peer?.mendable) this.#peer.pc.restartIce();
  }

  /** `change` of the Network Information API also tells every new estimate of the bandwidth. */
  #byType(before) {
    let type = before;
    return () => {
      const changed = navigator.connection.type !== type;
      type = navigator.connection.type;
      if (changed && type !== "none") this.#networkChanged();
    };
  }

  /** The page goes away: tell the server in a request that outlives it. */
  #leave() {
    if (this.session === null || this.state === "ended") return;
    this.#api.request("DELETE", `sessions/${this.session}`, undefined, { keepalive: true }).catch(() => {});
    this.#discard();
  }

  /** The browser shows a page again that it had put away. */
  #returned() {
    if (this.state === "live" || this.state === "reconnecting") {
      this.#end(new Trouble("The session ended when you left this page. Press Start for a new one."));
    }
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

  #set(state, detail = {}) {
    this.state = state;
    this.#emit("state", { state, ...detail });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

const choiceOf = ({ graph, params, settings }) => ({ graph, params: params ?? {}, settings: settings ?? {} });

/** Wait; ends early at the window's event `wake`. Rejects when `signal` is aborted. */
function sleep(ms, signal, wake) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      if (wake) window.removeEventListener(wake, done);
      signal.removeEventListener("abort", done);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, ms);
    if (wake) window.addEventListener(wake, done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
