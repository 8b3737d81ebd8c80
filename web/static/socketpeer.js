/** The call over a WebSocket, for networks that carry no UDP: what Peer says and hears, as messages and PCM. */

import { ApiError } from "./api.js";

const SESSION = "ws/translate";
/** The subprotocol that the server answers with; without one Chrome would not take the one that holds the token. */
const SUBPROTOCOL = "tolmach";
const TOKEN = "tolmach-token.";
const ROUND_MS = 500;
/** Longer than over WebRTC: TCP repeats what was lost after 1, 2 and 4 seconds, and the call goes on. */
const SILENT_ROUNDS = 24;
const FAREWELL_MS = 1000;
/** Speech that may wait in the browser to be sent; a network that has stalled longer loses it, bytes: four seconds. */
const MAX_WAITING = 4 * 96_000;
/** The rate of what is heard, Hz. */
const HEARD_HZ = 48_000;
const REFUSALS = 4000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Has the face of Peer. Events: `message` (detail: a parsed message), `remote` (detail: MediaStream), `lost` (detail:
 * why, in words; at most once).
 */
export class SocketPeer extends EventTarget {
  #track;
  #token;
  #path;
  #capture = null;
  #microphone = null;
  #worklet = null;
  #playback = null;
  #voice = null;
  #socket = null;
  #watch = 0;
  #silent = 0;
  #refusal = null;
  #lost = false;
  #closed = false;
  #dropped = 0;

  /** There is no RTCPeerConnection. */
  pc = null;

  /**
   * @param {{track: MediaStreamTrack|null, token: string|null, path?: string}} options Without a `track` nothing is
   *   said, only heard. `path` is that of the WebSocket, with its query; of a session unless told otherwise.
   */
  constructor({ track, token, path = SESSION }) {
    super();
    this.#track = track;
    this.#token = token;
    this.#path = path;
  }

  /**
   * Open the socket and say hello; audio follows. Resolves when that is on its way.
   *
   * @param {{graph?: string, params?: object, settings?: object, resume?: string}} wanted
   * @throws {ApiError} When there is no way to the server.
   */
  async connect({ resume, ...wanted }) {
    await this.#openAudio();
    const address = new URL(this.#path, document.baseURI);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    if (resume) address.searchParams.set("resume", resume);
    const token = this.#token === null ? [] : [TOKEN + asProtocol(this.#token)];
    this.#socket = new WebSocket(address, [SUBPROTOCOL, ...token]);
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onmessage = ({ data }) => this.#received(data);
    await new Promise((resolve, reject) => {
      this.#socket.onopen = resolve;
      this.#socket.onclose = () => reject(new ApiError(0, "unreachable", "No WebSocket to the server could be opened."));
    });
    this.#socket.onclose = ({ reason }) => this.#lose(this.#refusal?.message ?? (reason || "it was closed"));
    const format = this.#capture ? { sample_rate: this.#capture.sampleRate, channels: 1 } : {};
    this.send({ type: "hello", ...wanted, ...format });
    if (this.#worklet) this.#worklet.port.onmessage = ({ data }) => this.#speak(data);
    this.#beginWatch();
    this.#emit("remote", this.#playback.stream);
  }

  /** The WebSocket, once it was asked for. */
  get socket() {
    return this.#socket;
  }

  /** Why the server has refused, or null. */
  get refusal() {
    return this.#refusal;
  }

  /** Resolves at the first message that `matches`. Rejects when `signal` is aborted, or after `timeoutMs`. */
  message(matches, signal, timeoutMs) {
    return new Promise((resolve, reject) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      limit.addEventListener("abort", () => reject(limit.reason), { once: true });
      this.addEventListener("message", ({ detail }) => matches(detail) && resolve(detail), { signal: limit });
      limit.throwIfAborted();
    });
  }

  /** A socket cannot be mended; the session can be taken over by another one. */
  get mendable() {
    return false;
  }

  async mend() {
    return false;
  }

  /** Send another track from now on. */
  async replaceTrack(track) {
    this.#track = track;
    this.#listen();
  }

  /** Send a message if the socket is open. */
  send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ v: 1, ...message }));
  }

  /** Say goodbye, so that the server may still write down what was said, and close. Resolves to whether it was heard. */
  async farewell() {
    clearInterval(this.#watch);
    const socket = this.#socket;
    const gone = new Promise((resolve) => {
      if (socket) socket.onclose = () => resolve(true);
    });
    this.send({ type: "bye" });
    const heard =
      socket?.readyState === WebSocket.OPEN && (await Promise.race([gone, sleep(FAREWELL_MS).then(() => false)]));
    this.close();
    return heard;
  }

  /** Close without a word; the server keeps the session for a resume. Safe twice. */
  close() {
    this.#closed = true;
    clearInterval(this.#watch);
    if (this.#worklet) this.#worklet.port.onmessage = null;
    this.#socket?.close();
    this.#capture?.close();
    this.#voice?.context.close();
    this.#capture = this.#voice = null;
  }

  /** Two contexts: what is captured keeps its own rate (Firefox connects no others), what is heard has the server's. */
  async #openAudio() {
    const worklets = new URL("audioworklets.js", import.meta.url);
    if (this.#track) this.#capture = new AudioContext({ latencyHint: "interactive" });
    const heard = new AudioContext({ latencyHint: "interactive", sampleRate: HEARD_HZ });
    this.#playback = new MediaStreamAudioDestinationNode(heard, { channelCount: 1 });
    const contexts = [this.#capture, heard].filter(Boolean);
    await Promise.all(contexts.map((context) => context.audioWorklet.addModule(worklets)));
    if (this.#closed) {
      heard.close();
      throw new DOMException("It was closed.", "AbortError");
    }
    if (this.#capture) {
      this.#worklet = new AudioWorkletNode(this.#capture, "tolmach-capture", { numberOfOutputs: 0 });
      this.#listen();
      this.#capture.resume();
    }
    this.#voice = new AudioWorkletNode(heard, "tolmach-playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.#voice.connect(this.#playback);
    heard.resume();
  }

  #listen() {
    this.#microphone?.disconnect();
    this.#microphone = this.#capture?.createMediaStreamSource(new MediaStream([this.#track])) ?? null;
    this.#microphone?.connect(this.#worklet);
  }

  #speak(pcm) {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    if (this.#socket.bufferedAmount > MAX_WAITING) this.#dropped += 1;
    else this.#socket.send(pcm);
  }

  #received(data) {
    this.#silent = 0;
    if (typeof data !== "string") {
      this.#voice?.port.postMessage(data, [data]);
      return;
    }
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return; // not ours
    }
    const { error } = message ?? {};
    if (error) {
      // The status comes with the close; programs go by the code.
      this.#refusal = new ApiError(REFUSALS, error.code, error.message, { retryAfterS: error.retry_after_s });
      return;
    }
    if (message?.v !== 1) return;
    if (message.type === "ping") this.send({ type: "pong", number: message.number });
    this.#emit("message", message);
  }

  #beginWatch() {
    this.#watch = setInterval(() => {
      this.#silent += 1;
      if (this.#silent >= SILENT_ROUNDS) this.#lose("the server has not been heard for some seconds");
    }, ROUND_MS);
  }

  #lose(why) {
    if (this.#lost || this.#closed) return;
    this.#lost = true;
    this.#emit("lost", why);
  }

  #emit(type, detail) {
    if (!this.#closed) this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/** A token in the characters that a subprotocol may have (RFC 9110, 5.6.2). */
const asProtocol = (token) => encodeURIComponent(token).replace(/[()]/g, (c) => `%${c.charCodeAt(0).toString(16)}`);
