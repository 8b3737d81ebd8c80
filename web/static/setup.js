/** What is chosen: graph, direction, voice, params and settings; shown as the graph of the moment declares them. */

import { Direction, SOURCE, TARGET, isLanguage, takes } from "./direction.js";
import { make, setText } from "./dom.js";
import { field } from "./fields.js";
import { recall, remember } from "./prefs.js";
import { named, shortened } from "./words.js";

/** The role of params that say who speaks; they have a place of their own. */
const VOICE = "voice";
/** The setting by which the server keeps what it plays out of the microphone; it goes with the source of the sound. */
const GATE = "gate_playback";
/** What an element does, in words. */
const ROLES = { detector: "Finding speech", engine: "Translation", voice: "Voice", microphone: "Microphone" };
const LONGEST_ABOUT = 500;

/**
 * Fires `change` (detail: {graph, params, settings}) when the person chose something else, `gone` (detail: name) when
 * the chosen graph cannot be had any more, `back` when it can, `instead` (detail: {wanted, found}) when the one of the
 * last visit is not there.
 */
export class Setup extends EventTarget {
  #parts;
  #direction;
  #catalog;
  #graph = null;
  #gone = false;
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
      this.#changed({ params: byName(this.#graph.params, detail) });
    });
    parts.graph.addEventListener("change", () => this.#chooseGraph(parts.graph.value));
    catalog.addEventListener("change", () => this.#listed());
  }

  /** What is chosen now; null while that cannot be used. Values left at their defaults are left out. */
  get choice() {
    if (!this.#graph || this.#gone) return null;
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

  /** The value, chosen or default, of the param with a role; undefined where the graph has none. */
  valueOf(role) {
    const param = this.#graph?.params.find((each) => each.role === role);
    return param && this.#value(param);
  }

  /** Show what is in use, after a change was refused or another client made one. */
  show({ graph, params, settings }) {
    const found = this.#catalog.find(graph);
    if (!found) return;
    this.#graph = found;
    this.#notGone();
    this.#params = onlyOf(
      found.params.filter((p) => !p.locked).map((p) => p.name),
      params,
    );
    this.#settings = changedOf(shownOf(found), settings);
    this.#draw();
  }

  #listed() {
    const found = this.#found();
    this.#drawList(found);
    this.#drawProblems();
    if (!found) {
      if (this.#graph) this.#lose();
      else setText(this.#parts.about, "No graph on this server can be used.");
      return;
    }
    this.#notGone();
    if (found.name !== this.#graph?.name) this.#params = this.#carried(found);
    this.#graph = found;
    this.#params = valid(found.params, this.#params);
    this.#settings = onlyOf(
      shownOf(found).map((s) => s.target),
      this.#settings,
    );
    this.#draw();
  }

  /** The chosen graph in the new list; at first the one of the last visit, or the server's default. */
  #found() {
    const usable = this.#catalog.graphs.filter((graph) => graph.ok);
    const byName = (name) => usable.find((graph) => graph.name === name);
    // Never another one behind the back of somebody who chose, or talks through it.
    if (this.#graph) return byName(this.#graph.name);
    const wanted = recall("graph", null);
    const found = byName(wanted) ?? byName(this.#catalog.default) ?? usable[0];
    if (found && wanted !== null && found.name !== wanted) this.#fire("instead", { wanted, found: found.name });
    return found;
  }

  #lose() {
    const { name } = this.#graph;
    setText(this.#parts.about, `${named(name)} is not to be had from the server any more. Choose another graph.`);
    if (this.#gone) return;
    this.#gone = true;
    this.#drawn = "";
    this.#fire("gone", name);
  }

  #notGone() {
    if (!this.#gone) return;
    this.#gone = false;
    this.#fire("back", null);
  }

  #fire(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #chooseGraph(name) {
    const graph = this.#catalog.find(name);
    if (!graph?.ok) return;
    remember("graph", name);
    const params = this.#carried(graph);
    this.#graph = graph;
    this.#notGone();
    this.#drawList(graph);
    this.#changed({ params, settings: {}, anew: true });
  }

  /** The direction goes along from the graph of now to one that takes it; everything else begins at the defaults. */
  #carried(graph) {
    const languages = graph.params.filter(isLanguage);
    const carried = valid(languages, byName(languages, { ...recall("direction", {}), ...this.#direct() }));
    // Half a direction could turn "ru to en" into "ru to ru".
    return languages.length === 2 && Object.keys(carried).length === 1 ? {} : carried;
  }

  /** The languages that were chosen, by role. */
  #direct() {
    const chosen = (this.#graph?.params ?? []).filter((p) => isLanguage(p) && p.name in this.#params);
    return Object.fromEntries(chosen.map((p) => [p.role, this.#params[p.name]]));
  }

  #value(param) {
    return this.#params[param.name] ?? param.default;
  }

  #changed({ params = {}, settings = {}, anew = false }) {
    this.#params = anew ? params : { ...this.#params, ...params };
    this.#settings = anew ? settings : { ...this.#settings, ...settings };
    this.#draw();
    this.#fire("change", this.choice);
  }

  #drawList(chosen) {
    const { graph: select } = this.#parts;
    const options = this.#catalog.graphs.map((g) =>
      make("option", { value: g.name, disabled: !g.ok }, [named(g.name), ...remark(g)].join(" ")),
    );
    const former = this.#graph?.name;
    if (!chosen && former && !this.#catalog.find(former)) {
      options.unshift(make("option", { value: former, disabled: true }, `${named(former)} (no longer there)`));
    }
    select.replaceChildren(...options);
    if (chosen ?? this.#graph) select.value = (chosen ?? this.#graph).name;
  }

  /** Fields are made anew only when what they show differs: the list is polled, and nobody's typing must be lost. */
  #draw() {
    const key = JSON.stringify([this.#graph, this.choice]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    const { graph, about, voice, advanced, fields } = this.#parts;
    graph.value = this.#graph.name;
    setText(about, shortened(this.#graph.description ?? "", LONGEST_ABOUT));
    this.#direction.show(this.#graph.params, { [SOURCE]: this.valueOf(SOURCE), [TARGET]: this.valueOf(TARGET) });
    const voices = this.#graph.params.filter((p) => p.role === VOICE);
    voice.replaceChildren(
      ...voices.map((p) => this.#paramField({ ...p, title: voices.length === 1 ? "Voice" : p.title })),
    );
    const others = this.#graph.params.filter((p) => !isLanguage(p) && p.role !== VOICE);
    const open = new Set([...fields.querySelectorAll("details[open]")].map((d) => d.dataset.element));
    fields.replaceChildren(...others.map((param) => this.#paramField(param)), ...this.#settingGroups(open));
    advanced.hidden = others.length + shownOf(this.#graph).length === 0;
  }

  #paramField(param) {
    return field(param, this.#value(param), (value) => this.#changed({ params: { [param.name]: value } }));
  }

  #settingGroups(open) {
    const groups = new Map();
    for (const setting of shownOf(this.#graph)) {
      groups.set(setting.element, [...(groups.get(setting.element) ?? []), setting]);
    }
    return [...groups].map(([element, settings]) =>
      make(
        "details",
        { class: "group", "data-element": element, open: open.has(element) },
        make("summary", {}, ROLES[settings[0].role] ?? "", " ", make("code", {}, element)),
        ...settings.map((setting) => this.#settingField(setting, settings)),
      ),
    );
  }

  #settingField(setting, siblings) {
    // Descriptions are those of graph files, where settings have other names than here.
    const description = siblings.reduce(
      (text, { name, title }) => (name.includes("_") ? text.replaceAll(name, `“${title}”`) : text),
      setting.description ?? "",
    );
    return field({ ...setting, description }, this.#settings[setting.target] ?? setting.value, (value) =>
      this.#changed({ settings: { [setting.target]: value } }),
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

/** What there is to say of a graph in the list of all. */
function remark({ ok, missing }) {
  if (!ok) return ["(has errors)"];
  return missing?.length ? ["(models missing)"] : [];
}

/** The settings that have a field of their own. */
const shownOf = (graph) => graph.settings.filter((setting) => setting.name !== GATE);

/** What opens a graph's gate; nothing where its file has done so. */
const ungated = (graph) =>
  Object.fromEntries(graph.settings.filter((s) => s.name === GATE && s.value).map((s) => [s.target, false]));

const onlyOf = (names, values = {}) =>
  Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name)));

/** Values by role as values by the names of the params that have these roles. */
const byName = (params, values) =>
  Object.fromEntries(params.filter((p) => p.role in values).map((p) => [p.name, values[p.role]]));

/** The values a graph's params accept; a choice that is gone falls back to the default. */
function valid(params, values) {
  const accepts = (param, value) =>
    value !== undefined && (isLanguage(param) ? takes(param, value) : !param.choices?.length || param.choices.includes(value));
  return Object.fromEntries(params.filter((p) => accepts(p, values[p.name])).map((p) => [p.name, values[p.name]]));
}

/** Of all settings, those that differ from what the file says. */
function changedOf(settings, values = {}) {
  return Object.fromEntries(
    settings.filter((s) => s.target in values && values[s.target] !== s.value).map((s) => [s.target, values[s.target]]),
  );
}
