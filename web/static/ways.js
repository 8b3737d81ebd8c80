/** How a call gets to the server: over UDP or, where that does not get through, over a WebSocket. */

import { Trouble } from "./errors.js";

const CONNECT_MS = 10_000;
/** Where there is another way, UDP is given less time: it connects in two seconds or, mostly, not at all. */
const UDP_MS = 6000;

const UNREACHED =
  "The server answers, but sound does not get through to it. A firewall may block UDP between you and the server; " +
  "its operator can set up a TURN server.";

/** What is said when the call goes over the WebSocket. */
export const BYWAY =
  "No UDP gets through to the server from this network, so sound goes over a WebSocket. It may come a little later, and " +
  "stutter where the network loses packets.";

/** Nothing was heard of the server over UDP. */
class Unreached extends Trouble {}

/** The ways from one network to the server. */
export class Ways {
  /** Whether UDP has not got through. */
  #noUdp = false;

  /** It is another network now, maybe. */
  forget() {
    this.#noUdp = false;
  }

  /**
   * Go the way that is open.
   *
   * @param {(timeoutMs: number) => Promise<void>} udp Connects over UDP, see `meet`.
   * @param {((timeoutMs: number) => Promise<void>)|null} byway The same over a WebSocket; null if the server takes none.
   * @returns {Promise<boolean>} Whether it was the byway.
   */
  async go(udp, byway, signal) {
    let unreached = null;
    if (!(this.#noUdp && byway)) {
      try {
        await udp(byway ? UDP_MS : CONNECT_MS);
        return false;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Unreached && byway)) throw error;
        unreached = error;
      }
    }
    try {
      await byway(CONNECT_MS);
    } catch (error) {
      // The server does answer: a proxy that passes no WebSockets, say.
      throw unreached && error.code === "unreachable" ? unreached : error;
    }
    this.#noUdp = true;
    return true;
  }
}

/**
 * Let a peer connect, and wait until the server greets it; it is closed if that fails.
 *
 * @param {import("./peer.js").Peer|import("./socketpeer.js").SocketPeer} peer
 * @param {() => Promise<void>} connect Makes it connect.
 * @param {string} greeting Type of the message that is waited for.
 * @param {{signal: AbortSignal, timeoutMs: number, farewell: () => string}} options `farewell` is what the server has
 *   said last before it closed the connection, if anything.
 */
export async function meet(peer, connect, greeting, { signal, timeoutMs, farewell }) {
  const gone = new AbortController();
  peer.addEventListener("lost", ({ detail }) => {
    const why = `The connection did not come about: ${farewell() || detail}.`;
    gone.abort(peer.refusal ?? (farewell() ? new Trouble(why) : new Unreached(why)));
  });
  try {
    const greeted = peer.message(({ type }) => type === greeting, AbortSignal.any([signal, gone.signal]), timeoutMs);
    greeted.catch(() => {}); // connect() may fail before it is awaited
    await Promise.race([connect(), greeted]); // whatever it waits for, there is a limit, and Cancel
    await greeted;
  } catch (error) {
    peer.close();
    signal.throwIfAborted();
    if (error instanceof DOMException && error.name === "TimeoutError") throw new Unreached(UNREACHED);
    throw error;
  }
}
