/** The page of Tolmach: puts the parts together. Tests and benches look at it through hook.js. */

import { Api } from "./api.js";
import { Call } from "./call.js";
import { Captions } from "./captions.js";
import { Catalog } from "./catalog.js";
import { languageOptions } from "./direction.js";
import { $ } from "./dom.js";
import { Downloads } from "./downloads.js";
import { explainEmpty } from "./empty.js";
import { explain, obstacle } from "./errors.js";
import { GraphView } from "./graphview.js";
import { Health } from "./health.js";
import { exposeHook } from "./hook.js";
import { listenToKeys } from "./keys.js";
import { showLicences } from "./licences.js";
import { Meter } from "./meter.js";
import { Notices } from "./notices.js";
import { Player } from "./player.js";
import { recall, remember } from "./prefs.js";
import { Setup } from "./setup.js";
import { Source } from "./source.js";
import { SourcePicker } from "./sourcepicker.js";
import { SHARED, mayCarryUs } from "./sources.js";
import { Status } from "./status.js";
import { Switching } from "./switching.js";
import { makeTabs } from "./tabs.js";
import { Timeline } from "./timeline.js";
import { askToken } from "./token.js";
import { milliseconds, sentence } from "./words.js";

const api = new Api((wrong) => askToken($("token-dialog"), wrong));
const call = new Call(api);
const catalog = new Catalog(api);
const notices = new Notices($("notices"));
const player = new Player($("voice"));
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
const drawing = new GraphView($("drawing"), $("drawing-status"), api);
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
const downloads = new Downloads($("downloads"), api, trouble);
const status = new Status($("status"), api);
const switching = new Switching($("switch"), call, setup, catalog, notices);

/** Grows with every Start and Stop, so that a microphone allowed too late is let go again. */
let attempt = 0;

// Source --------------------------------------------------------------------------------------------------------------

sources.addEventListener("source", async () => {
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
});
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
    trouble(explain(error));
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
  $("start-text").textContent = on ? (state === "starting" ? "Cancel" : "Stop") : "Start";
  $("start").disabled = !on && (!setup.choice || obstacle() !== null);
  $("mute").disabled = !on;
  $("skip").hidden = state !== "live";
  if (!on) {
    $("mute").setAttribute("aria-pressed", "false");
    source.muted = false;
  }
  showLevelNote();
}

let dead = false;
let gate = "open";

function showLevelNote() {
  const muted = $("mute").getAttribute("aria-pressed") === "true";
  let note = "";
  if (isOn() && muted) note = "Muted: nothing is sent";
  else if (isOn() && dead) note = "No sound at all. Is the microphone switched off?";
  else if (call.state === "live" && gate === "closed") note = "Hearing its own voice, not listening";
  $("level-note").textContent = note;
}

meter.addEventListener("dead", ({ detail }) => {
  dead = detail && sources.choice.id !== SHARED && !sources.choice.loopback;
  showLevelNote();
});

$("start").addEventListener("click", toggle);
$("mute").addEventListener("click", toggleMute);
$("skip").addEventListener("click", () => call.clear());
listenToKeys({ KeyS: toggle, KeyM: toggleMute });

// The call ------------------------------------------------------------------------------------------------------------

call.addEventListener("state", ({ detail: { state, reason, until } }) => {
  status.show(state, { reason, until });
  showControls(state);
  if (state === "live") {
    health.begin(() => call.pc);
    downloads.offer(call.session);
  } else if (state === "reconnecting") {
    health.end();
  } else if (state === "ended") {
    health.end();
    captions.pending(null);
    player.stop();
    source.release();
  }
});
call.addEventListener("waiting", ({ detail }) =>
  status.show("waiting", { error: detail.error, until: detail.retryAt }),
);
call.addEventListener("ended", ({ detail }) => {
  if (!detail) return;
  notices.clear("event "); // the last of them told the same
  trouble(explain(detail), "ended");
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
  captions.begin();
  timeline.begin();
});
call.addEventListener("caption", ({ detail }) => {
  $("empty").hidden = true;
  captions.add(detail);
  timeline.draw();
});
call.addEventListener("speech", ({ detail }) => captions.pending(detail.active ? "hearing" : "translating"));
call.addEventListener("timeline", ({ detail }) => {
  timeline.add(detail);
  if (detail.heard_ms !== null && detail.heard_ms !== undefined) captions.heard(detail.utterance, detail.heard_ms);
});
call.addEventListener("flow", ({ detail }) => drawing.flow(detail.elements));
call.addEventListener("stats", ({ detail }) => {
  health.server(detail);
  gate = detail.gate ?? "open";
  showLevelNote();
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
  explainEmpty($("empty"), graph, setup.param("source_lang"), setup.param("target_lang"));
  showLicences($("licences"), graph);
  if (graph) drawing.show(graph.name, graph.revision);
  if (!isOn()) showControls(call.state);
}

setup.addEventListener("change", ({ detail }) => {
  showChoice();
  if (call.state === "live") switching.to(detail);
});
switching.addEventListener("reverted", showChoice);
catalog.addEventListener("change", showChoice);
catalog.addEventListener(
  "unreachable",
  ({ detail }) => call.state !== "reconnecting" && trouble(explain(detail), "unreachable"),
);
catalog.addEventListener("reachable", () => notices.dismiss("unreachable"));

$("volume").value = recall("volume", 100);
player.volume = $("volume").value / 100;
$("volume").addEventListener("input", () => {
  player.volume = $("volume").value / 100;
  remember("volume", Number($("volume").value));
});

// Begin ---------------------------------------------------------------------------------------------------------------

exposeHook({ call, captions, timeline, health, drawing, source, player });
$("languages").replaceChildren(...languageOptions());
makeTabs(document.querySelector('[role="tablist"]'));
const hindrance = obstacle();
if (hindrance) trouble(hindrance, "obstacle");
showControls("idle");
status.show("idle");
await sources.refresh();
if (player.canChoose && $("output").value) await chooseOutput($("output").value);
await catalog.poll();
await status.untilReady();
