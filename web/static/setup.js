/** What is chosen: graph, direction, voice, params and settings; shown as the graph of the moment declares them. */

import { Direction, SOURCE, TARGET } from "./direction.js";
import { make, setText } from "./dom.js";
import { field } from "./fields.js";
import { recall, remember } from "./prefs.js";

const VOICE = "voice";
/** The setting by which the server keeps what it plays out of the microphone; it goes with the source of the sound. */
const GATE = "gate_playback";

/** Fires `change` (detail: {graph, params, settings}) when the person chose something else. */
export class Setup extends EventTarget {
  #parts;
  #direction;
  #catalog;
  #graph = null;
  #params = {};
  #settings = {};
  #gated = true;
  #drawn = "";

  /**
   * @param {{graph: HTMLSelectElement, about: HTMLElement, voice: HTMLElement, advanced: HTMLDetailsElement,
   *   fields: HTMLElement, problems: HTMLElement, direction: object}} parts
   * @param {import("./catalog.js").Catalog} catalog
   */
  constructor(parts, catalog) {
    super();
    this.#parts = parts;
    this.#catalog = catalog;
    this.#direction = new Direction(parts.direction);
    this.#direction.addEventListener("change", ({ detail }) => {
      remember("direction", { ...recall("direction", {}), ...detail });
      this.#changed({ params: detail });
    });
    parts.graph.addEventListener("change", () => this.#chooseGraph(parts.graph.value));
    catalog.addEventListener("change", () => this.#listed());
  }

  /** What is chosen now; null while no graph can be used. Values left at their defaults are left out. */
  get choice() {
    if (!this.#graph) return null;
    const settings = { ...this.#settings, ...(this.#gated ? {} : ungated(this.#graph)) };
    return { graph: this.#graph.name, params: { ...this.#params }, settings };
  }

  /** Whether what is played may come back in the source, so that the server has to keep it out. */
  set gated(gated) {
    if (gated === this.#gated) return;
    const before = JSON.stringify(this.choice);
    this.#gated = gated;
    if (JSON.stringify(this.choice) !== before) this.#changed({});
  }

  /** The chosen graph as the server describes it. */
  get graph() {
    return this.#graph;
  }

  /** A param's value, chosen or default. */
  param(name) {
    return this.#params[name] ?? this.#graph?.params.find((param) => param.name === name)?.default;
  }

  /** Show what is in use, after a change was refused or another client made one. */
  show({ graph, params, settings }) {
    const found = this.#catalog.find(graph);
    if (!found) return;
    this.#graph = found;
    this.#params = onlyOf(
      found.params.filter((p) => !p.locked).map((p) => p.name),
      params,
    );
    this.#settings = changedOf(shownOf(found), settings);
    this.#draw();
  }

  #listed() {
    const { graphs } = this.#catalog;
    const wanted = this.#graph?.name ?? recall("graph", this.#catalog.default);
    const usable = graphs.filter((graph) => graph.ok);
    const found =
      usable.find((g) => g.name === wanted) ?? usable.find((g) => g.name === this.#catalog.default) ?? usable[0];
    this.#drawList();
    this.#drawProblems();
    if (!found) {
      this.#graph = null;
      this.#drawn = "";
      setText(this.#parts.about, "No graph on this server can be used.");
      return;
    }
    const isOther = found.name !== this.#graph?.name;
    this.#graph = found;
    if (isOther) this.#params = this.#carried(found);
    this.#params = valid(found.params, this.#params);
    this.#settings = onlyOf(
      shownOf(found).map((s) => s.target),
      this.#settings,
    );
    this.#draw();
  }

  #chooseGraph(name) {
    const graph = this.#catalog.find(name);
    if (!graph?.ok) return;
    remember("graph", name);
    this.#graph = graph;
    this.#changed({ params: this.#carried(graph), settings: {}, anew: true });
  }

  /** The remembered direction goes along to a graph that takes it; everything else begins at the defaults. */
  #carried(graph) {
    const direction = { ...recall("direction", {}), ...onlyOf([SOURCE, TARGET], this.#params) };
    const carried = valid(graph.params, direction);
    const both = graph.params.filter((p) => p.name === SOURCE || p.name === TARGET).length === 2;
    // Half a direction could turn "ru to en" into "ru to ru".
    return both && Object.keys(carried).length === 1 ? {} : carried;
  }

  #changed({ params = {}, settings = {}, anew = false }) {
    this.#params = anew ? params : { ...this.#params, ...params };
    this.#settings = anew ? settings : { ...this.#settings, ...settings };
    this.#draw();
    this.dispatchEvent(new CustomEvent("change", { detail: this.choice }));
  }

  #drawList() {
    const { graph: select } = this.#parts;
    const options = this.#catalog.graphs.map((g) =>
      make("option", { value: g.name, disabled: !g.ok }, g.ok ? g.name : `${g.name} (has errors)`),
    );
    select.replaceChildren(...options);
    if (this.#graph) select.value = this.#graph.name;
  }

  /** Fields are made anew only when what they show differs: the list is polled, and nobody's typing must be lost. */
  #draw() {
    const key = JSON.stringify([this.#graph, this.choice]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    const { graph, about, voice, advanced, fields } = this.#parts;
    graph.value = this.#graph.name;
    setText(about, this.#graph.description ?? "");
    this.#direction.show(this.#graph.params, { [SOURCE]: this.param(SOURCE), [TARGET]: this.param(TARGET) });
    const voiceParam = this.#graph.params.find((p) => p.name === VOICE);
    voice.replaceChildren(...(voiceParam ? [this.#paramField({ ...voiceParam, label: "Voice" })] : []));
    const others = this.#graph.params.filter((p) => ![SOURCE, TARGET, VOICE].includes(p.name));
    const open = new Set([...fields.querySelectorAll("details[open]")].map((d) => d.dataset.element));
    fields.replaceChildren(...others.map((param) => this.#paramField(param)), ...this.#settingGroups(open));
    advanced.hidden = others.length + shownOf(this.#graph).length === 0;
  }

  #paramField(param) {
    return field(param, this.param(param.name), (value) => this.#changed({ params: { [param.name]: value } }));
  }

  #settingGroups(open) {
    const groups = new Map();
    for (const setting of shownOf(this.#graph)) {
      const group = groups.get(setting.element) ?? [];
      group.push(
        field(setting, this.#settings[setting.target] ?? setting.value, (value) =>
          this.#changed({ settings: { [setting.target]: value } }),
        ),
      );
      groups.set(setting.element, group);
    }
    return [...groups].map(([element, group]) =>
      make(
        "details",
        { class: "group", "data-element": element, open: open.has(element) },
        make("summary", {}, make("code", {}, element)),
        ...group,
      ),
    );
  }

  #drawProblems() {
    const broken = this.#catalog.graphs.filter((g) => !g.ok || g.stale);
    this.#parts.problems.hidden = broken.length === 0;
    this.#parts.problems.replaceChildren(
      make("h3", {}, broken.length === 1 ? "A graph file has errors" : `${broken.length} graph files have errors`),
      ...broken.map((g) =>
        make(
          "article",
          { "data-graph": g.name },
          make("h4", {}, g.name),
          make(
            "p",
            { class: "hint" },
            g.stale ? "The last good version stays in use." : "It cannot be used until it is mended.",
          ),
          make(
            "pre",
            { tabindex: 0, "aria-label": `What is wrong with ${g.name}` },
            g.diagnostics_text || "No details.",
          ),
        ),
      ),
    );
  }
}

/** The settings that have a field of their own. */
const shownOf = (graph) => graph.settings.filter((setting) => setting.name !== GATE);

/** What opens a graph's gate; nothing where its file has done so. */
const ungated = (graph) =>
  Object.fromEntries(graph.settings.filter((s) => s.name === GATE && s.value).map((s) => [s.target, false]));

const onlyOf = (names, values = {}) =>
  Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name)));

/** The values a graph's params accept; a choice that is gone falls back to the default. */
function valid(params, values) {
  const accepts = (param, value) => value !== undefined && (!param.choices?.length || param.choices.includes(value));
  return Object.fromEntries(params.filter((p) => accepts(p, values[p.name])).map((p) => [p.name, values[p.name]]));
}

/** Of all settings, those that differ from what the file says. */
function changedOf(settings, values = {}) {
  return Object.fromEntries(
    settings.filter((s) => s.target in values && values[s.target] !== s.value).map((s) => [s.target, values[s.target]]),
  );
}
