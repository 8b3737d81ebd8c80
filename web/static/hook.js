/** What tests and benches may look at: `window.tolmach`, read-only. */

/**
 * Put the hook in place.
 *
 *   state     "idle", "starting", "live", "reconnecting" or "ended"
 *   session   the session's id, or null
 *   current   {graph, params, settings} in use
 *   socket    the WebSocket that the call goes over where UDP does not get through, or null
 *   pc        the RTCPeerConnection of the moment, or null
 *   captions  the session's captions as the server sent them, oldest first
 *   timeline  its `timeline` messages, oldest first
 *   health    {server: the newest `stats` message, here: what this browser measures}
 *   echo      the state of the newest `echo` message
 *   lit       names of the elements of the drawing that are lit
 *   source    the MediaStreamTrack that is sent, or null
 *   remote    the MediaStream that is played, or null
 */
export function exposeHook({ call, captions, timeline, health, drawing, echo, source, player }) {
  const values = {
    state: () => call.state,
    session: () => call.session,
    current: () => call.current,
    socket: () => call.socket,
    pc: () => call.pc,
    captions: () => captions.all,
    timeline: () => timeline.all,
    health: () => health.figures,
    echo: () => echo.state,
    lit: () => drawing.lit,
    source: () => source.track,
    remote: () => player.stream,
  };
  const hook = {};
  for (const [name, get] of Object.entries(values)) Object.defineProperty(hook, name, { get, enumerable: true });
  window.tolmach = Object.freeze(hook);
}
