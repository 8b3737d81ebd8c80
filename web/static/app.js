/** The page of Tolmach: puts the parts together. Tests and benches look at it through hook.js. */

import { Api } from "./api.js";
import { Call } from "./call.js";
import { Captions } from "./captions.js";
import { Catalog } from "./catalog.js";
import { Conversations } from "./conversations.js";
import { languageOptions } from "./direction.js";
import { $, setText } from "./dom.js";
import { Downloads } from "./downloads.js";
import { Echo } from "./echo.js";
import { explainEmpty } from "./empty.js";
import { explain, obstacle } from "./errors.js";
import { GraphView } from "./graphview.js";
import { Health } from "./health.js";
import { exposeHook } from "./hook.js";
import { listenToKeys } from "./keys.js";
import { showLicences } from "./licences.js";
import { Meter } from "./meter.js";
import { showMissing } from "./missing.js";
import { Notices } from "./notices.js";
import { Pace } from "./pace.js";
import { Player } from "./player.js";
import { recall, remember } from "./prefs.js";
import { Setup } from "./setup.js";
import { Source } from "./source.js";
import { SourcePicker } from "./sourcepicker.js";
import { SHARED, mayCarryUs } from "./sources.js";
import { Status } from "./status.js";
import { Switching } from "./switching.js";
import { makeTabs } from "./tabs.js";
import { Timeline, guessesInWords } from "./timeline.js";
import { askToken } from "./token.js";
import { Voices } from "./voices.js";
import { BYWAY } from "./ways.js";
import { milliseconds, named, sentence } from "./words.js";

const api = new Api((wrong) => askToken($("token-dialog"), wrong));
const call = new Call(api);
const catalog = new Catalog(api);
const notices = new Notices($("notices"));
const player = new Player($("voice"));
const pace = new Pace($("pace"));
const meter = new Meter($("meter"));
const source = new Source(meter);
const captions = new Captions({
  scroller: $("captions"),
  list: $("caption-list"),
  pending: $("pending"),
  latest: $("latest"),
  said: $("said"),
});
const timeline = new Timeline(
  { list: $("timeline"), summary: $("timing-summary"), empty: $("timing-empty") },
  captions,
);
const health = new Health({ table: $("figures"), word: $("health"), note: $("health-note") });
const drawing = new GraphView($("drawing"), $("drawing-status"), $("drawing-size"), api);
const setup = new Setup(
  {
    graph: $("graph"),
    about: $("graph-about"),
    voice: $("voice-place"),
    advanced: $("advanced"),
    fields: $("fields"),
    problems: $("problems"),
    direction: { root: $("direction"), source: $("source-place"), target: $("target-place"), swap: $("swap") },
  },
  catalog,
);
const sources = new SourcePicker(
  {
    source: $("source"),
    headphones: $("headphones"),
    headphonesHint: $("headphones-hint"),
    silence: $("silence"),
    hint: $("source-hint"),
    output: $("output"),
  },
  player.canChoose,
);
const trouble = (text, key = "trouble") => notices.show("trouble", text, { key });
/** What is true only until the server answers has a key of its own. */
const failed = (error, key = "trouble") => trouble(explain(error), error.code === "unreachable" ? "unreachable" : key);
const voices = new Voices(
  {
    root: $("voices"),
    summary: $("voices-chosen"),
    language: $("voices-language"),
    list: $("voice-list"),
    note: $("voices-note"),
    samples: $("voices-samples"),
    fetch: $("voices-fetch"),
    others: $("voices-others"),
    otherCount: $("voices-other-count"),
    otherList: $("voices-other-list"),
  },
  api,
  player,
);
const conversations = new Conversations(captions, new Downloads(api, notices), $("downloads"));
const status = new Status($("status"), api, notices);
const echo = new Echo($("echo-found"));
const switching = new Switching($("switch"), call, setup, catalog, notices);

/** Grows with every Start and Stop, so that a microphone allowed too late is let go again. */
let attempt = 0;

// Source --------------------------------------------------------------------------------------------------------------

sources.addEventListener("source", () => {
  echo.forget();
  sources.cancelEcho = false;
  openAnother();
});
echo.addEventListener("cancel", () => {
  sources.cancelEcho = true;
  openAnother();
});

async function openAnother() {
  if (call.state !== "live" && call.state !== "reconnecting") return;
  const chosen = sources.choice;
  try {
    const opened = await source.open(chosen);
    await call.replaceTrack(opened);
    useTrack(opened);
    setup.gated = mayCarryUs(chosen, opened); // now, for a source that does not open leaves the one before in use
  } catch (error) {
    trouble(explain(error), "source");
  }
}
source.addEventListener("ended", () =>
  trouble("The source has ended. Choose another one under Setup, or plug it in again.", "source"),
);

function useTrack(opened) {
  source.use(opened);
  notices.dismiss("source");
  sources.refresh(); // names are told now
}

sources.addEventListener("output", ({ detail }) => chooseOutput(detail));

async function chooseOutput(deviceId) {
  try {
    await player.choose(deviceId);
  } catch (error) {
    trouble(`The loudspeaker cannot be used: ${sentence(error.message)}`, "output");
  }
}

// Start, stop, mute ---------------------------------------------------------------------------------------------------

async function start() {
  const chosen = sources.choice;
  if (!setup.choice) return;
  if (setup.graph.seats?.length) return openRoom(setup.choice);
  const mine = (attempt += 1);
  notices.clear();
  status.show("asking");
  showControls("starting");
  try {
    const opened = await source.open(chosen);
    if (mine !== attempt) return opened.stop();
    useTrack(opened);
    setup.gated = mayCarryUs(chosen, opened);
    await call.start(setup.choice, opened);
  } catch (error) {
    if (mine !== attempt) return;
    source.release();
    showControls("idle");
    status.show("idle");
    failed(error);
  }
}

/** A graph for several people is no session of one: open a room with it, and go there. */
async function openRoom(choice) {
  notices.clear();
  $("start").disabled = true;
  try {
    const { room, code } = await api.json("POST", "rooms", choice);
    location.assign(new URL(`room#${room}~${code}`, document.baseURI));
  } catch (error) {
    failed(error);
    showControls("idle");
  }
}

function stop() {
  attempt += 1;
  source.release();
  call.stop();
  if (call.state !== "ended") {
    showControls("idle");
    status.show("idle");
  }
}

const isOn = () => $("start").dataset.on === "true";
const toggle = () => (isOn() ? stop() : !$("start").disabled && start());

function toggleMute() {
  const button = $("mute");
  if (button.disabled) return;
  const muted = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(muted));
  source.muted = muted;
  showLevelNote();
}

/** Buttons as the state wants them. */
function showControls(state) {
  const on = state !== "idle" && state !== "ended";
  $("start").dataset.on = String(on);
  $("start-text").textContent = on
    ? state === "starting"
      ? "Cancel"
      : "Stop"
    : setup.graph?.seats?.length
      ? "Open a room"
      : "Start";
  $("start").disabled = !on && (!setup.choice || obstacle() !== null);
  $("mute").disabled = !on;
  $("skip").hidden = state !== "live";
  voices.live = on;
  explainState(state);
  if (!on) {
    $("mute").setAttribute("aria-pressed", "false");
    source.muted = false;
  }
  showLevelNote();
}

let dead = false;

function showLevelNote() {
  const muted = $("mute").getAttribute("aria-pressed") === "true";
  let note = "";
  if (isOn() && muted) note = "Muted: nothing is sent";
  else if (isOn() && dead) note = "No sound at all. Is the microphone switched off?";
  else if (call.state === "live" && echo.deaf) note = "Hearing its own voice, not listening";
  $("level-note").textContent = note;
}

meter.addEventListener("dead", ({ detail }) => {
  dead = detail && sources.choice.id !== SHARED && !sources.choice.loopback;
  showLevelNote();
});

$("start").addEventListener("click", toggle);
$("mute").addEventListener("click", toggleMute);
$("skip").addEventListener("click", () => call.clear());
player.addEventListener("sounding", ({ detail }) => {
  $("skip").disabled = !detail;
  pace.sounding = detail;
});
listenToKeys({ KeyS: toggle, KeyM: toggleMute });

// The call ------------------------------------------------------------------------------------------------------------

call.addEventListener("state", ({ detail: { state, reason, until } }) => {
  status.show(state, { reason, until });
  showControls(state);
  if (state === "live") {
    health.begin(() => call.pc);
  } else if (state === "reconnecting") {
    health.end();
  } else if (state === "ended") {
    health.end();
    captions.pending(null);
    player.stop();
    pace.clear();
    source.release();
  }
});
call.addEventListener("waiting", ({ detail }) =>
  status.show("waiting", { error: detail.error, until: detail.retryAt }),
);
call.addEventListener("ended", ({ detail }) => {
  if (!detail) return;
  notices.clear("event "); // the last of them told the same
  const rest = conversations.unsaved ? " What was said can still be saved." : "";
  trouble(`${explain(detail)}${rest}`, "ended");
});
call.addEventListener("byway", ({ detail }) => {
  if (!detail) return notices.dismiss("byway");
  notices.keep("remark", BYWAY, "byway");
});
call.addEventListener("remote", async ({ detail }) => {
  if (await player.play(detail)) return;
  notices.show("trouble", "The browser waits for your permission to play sound.", {
    key: "autoplay",
    action: { label: "Play", run: () => player.resume() },
  });
});
call.addEventListener("session", ({ detail }) => {
  if (detail.resumed) return;
  conversations.begin(detail.session);
  timeline.begin();
});
call.addEventListener("caption", ({ detail }) => {
  $("empty").hidden = true;
  captions.add(detail);
  conversations.captioned();
  timeline.draw();
});
call.addEventListener("speech", ({ detail }) => captions.pending(detail.active ? "hearing" : "translating"));
call.addEventListener("timeline", ({ detail }) => {
  timeline.add(detail);
  if (detail.heard_ms !== null && detail.heard_ms !== undefined) captions.heard(detail.utterance, detail.heard_ms);
});
call.addEventListener("voice", ({ detail }) => pace.told(detail));
call.addEventListener("flow", ({ detail }) => drawing.flow(detail.elements));
call.addEventListener("echo", ({ detail }) => {
  echo.told(detail);
  showLevelNote();
});
call.addEventListener("stats", ({ detail }) => {
  health.server(detail);
  setText($("timing-guesses"), guessesInWords(detail.speculations));
  const { here } = health.figures;
  if (here) {
    const onTheWay = (here.bufferMs ?? 0) + (detail.round_trip_ms ?? here.roundTripMs ?? 0) / 2;
    $("timing-note").textContent = `Add about ${milliseconds(onTheWay)} on the way to your ears.`;
  }
});
call.addEventListener("event", ({ detail: { kind, element, text } }) => {
  const said = element ? `${element}: ${sentence(text)}` : sentence(text);
  if (kind === "error") trouble(said, `event ${element}`);
  if (kind === "warning" || kind === "dropped") notices.show("remark", said, { key: `event ${kind} ${element}` });
});

// Choices -------------------------------------------------------------------------------------------------------------

function showChoice() {
  const { graph } = setup;
  explainState(call.state);
  showMissing($("missing"), graph);
  showLicences($("licences"), graph);
  voices.show(setup.choice, graph);
  if (graph) drawing.show(graph.name, graph.revision);
  if (!isOn()) showControls(call.state);
}

function explainState(state) {
  const listening = state === "live" || state === "reconnecting";
  explainEmpty($("empty"), setup.graph, setup.valueOf("source_lang"), setup.valueOf("target_lang"), listening);
}

setup.addEventListener("change", ({ detail }) => {
  showChoice();
  if (call.state === "live" && detail) switching.to(detail);
});
setup.addEventListener("gone", ({ detail }) => {
  const goes = call.state === "live" ? "This session goes on with it. " : "";
  trouble(`The graph ${named(detail)} is not on the server any more. ${goes}Choose another one under Setup.`, "gone");
});
setup.addEventListener("back", () => notices.dismiss("gone"));
setup.addEventListener("instead", ({ detail: { wanted, found } }) =>
  notices.show("remark", `${named(wanted)}, chosen at the last visit, is not to be had here; ${named(found)} is.`),
);
switching.addEventListener("reverted", showChoice);
catalog.addEventListener("change", showChoice);
catalog.addEventListener("unreachable", ({ detail }) => {
  status.lost = true;
  if (call.state !== "reconnecting") trouble(explain(detail), "unreachable");
});
catalog.addEventListener("answered", () => {
  notices.dismiss("unreachable");
  status.lost = false;
});

$("volume").value = recall("volume", 100);
player.volume = $("volume").value / 100;
$("volume").addEventListener("input", () => {
  player.volume = $("volume").value / 100;
  remember("volume", Number($("volume").value));
});

// Words that only this page has are not to be lost by a slip: a call that goes on, or one whose server is gone.
window.addEventListener("beforeunload", (event) => {
  const goesOn = call.state === "live" || call.state === "reconnecting";
  if (goesOn || (catalog.lost && conversations.unsaved)) event.preventDefault();
});

// Begin ---------------------------------------------------------------------------------------------------------------

exposeHook({ call, captions, timeline, health, drawing, echo, source, player });
$("languages").replaceChildren(...languageOptions());
makeTabs(document.querySelector('[role="tablist"]'));
const hindrance = obstacle();
if (hindrance) trouble(hindrance, "obstacle");
showControls("idle");
status.show("idle");
await sources.refresh();
if (player.canChoose && $("output").value) await chooseOutput($("output").value);
if (await conversations.restore(api)) $("empty").hidden = true;
await catalog.poll();
await status.untilReady();
