/** The graph, drawn by the server, with the elements lit through which something flows. */

/** The server tells what worked four times a second; a light outlives two of these, ms. */
const LIT_MS = 500;

/** What a drawing is made of (pipelines/describe/svg.py); anything else is left out, whoever named the elements. */
const PARTS = new Set(["svg", "title", "desc", "defs", "marker", "g", "path", "rect", "polygon", "text", "tspan"]);

const LIGHT = `
  :host { display: block; }
  svg { display: block; width: 100%; height: 100%; max-width: var(--width); max-height: var(--height); margin: 0 auto; }
  :host([data-size="actual"]) svg { width: var(--width); height: var(--height); max-width: none; }
  .paper { fill: var(--surface); }
  .element .box { transition: stroke 120ms, stroke-width 120ms; }
  .link { transition: stroke 120ms; }
  .arrow { fill: context-stroke; }
  .element.lit .box { stroke: var(--accent); stroke-width: 3; }
  .link.lit { stroke: var(--accent); stroke-dasharray: 6 5; animation: flow 0.5s linear infinite; }
  @keyframes flow { to { stroke-dashoffset: -11; } }
  @media (prefers-reduced-motion: reduce) { .link.lit { animation: none; } }
`;

export class GraphView {
  #host;
  #root;
  #status;
  #size;
  #api;
  #shown = null;
  #lit = new Map();
  #elements = new Map();
  #links = [];

  /**
   * @param {HTMLElement} host Gets a shadow root: the drawing's style names plain things like `text`, and must stay
   *   inside. Its rules are adopted as a style sheet object, which needs no `unsafe-inline` in the security policy.
   * @param {HTMLElement} status Says when there is no drawing.
   * @param {HTMLButtonElement} size Changes between the whole drawing and its actual size.
   * @param {import("./api.js").Api} api
   */
  constructor(host, status, size, api) {
    this.#host = host;
    this.#root = host.attachShadow({ mode: "open" });
    this.#status = status;
    this.#size = size;
    this.#api = api;
    size.addEventListener("click", () => this.#show(host.dataset.size === "whole" ? "actual" : "whole"));
    new ResizeObserver(() => this.#offerSize()).observe(host);
    this.#show("whole");
  }

  #show(size) {
    this.#host.dataset.size = size;
    this.#host.tabIndex = size === "actual" ? 0 : -1; // it may scroll
    this.#size.textContent = size === "actual" ? "Whole graph" : "Actual size";
    this.#offerSize();
  }

  /** Offered only where it makes a difference. */
  #offerSize() {
    const svg = this.#root.querySelector("svg");
    const shrunk = svg && svg.getBoundingClientRect().width < 0.98 * Number(svg.getAttribute("width"));
    const squeezed = svg && svg.getBoundingClientRect().height < 0.98 * Number(svg.getAttribute("height"));
    this.#size.hidden = !(this.#host.dataset.size === "actual" || shrunk || squeezed);
  }

  /** Draw a graph, anew when its revision is another one. */
  async show(name, revision) {
    const wanted = `${name}\u0000${revision}`;
    if (wanted === this.#shown) return;
    this.#shown = wanted;
    try {
      const response = await this.#api.request("GET", `graphs/${encodeURIComponent(name)}/drawing.svg`);
      const text = await response.text();
      if (this.#shown === wanted) this.#insert(text);
    } catch {
      if (this.#shown !== wanted) return;
      this.#shown = null;
      this.#root.replaceChildren();
      this.#status.textContent = "This graph cannot be drawn at the moment.";
    }
  }

  /** Take a `flow` message: names of the elements that worked. */
  flow(names) {
    for (const name of names) {
      const element = this.#elements.get(name);
      if (!element) continue;
      element.classList.add("lit");
      clearTimeout(this.#lit.get(name));
      this.#lit.set(
        name,
        setTimeout(() => {
          element.classList.remove("lit");
          this.#lightLinks();
        }, LIT_MS),
      );
    }
    this.#lightLinks();
  }

  /** The names of the elements that are lit. */
  get lit() {
    return [...this.#elements].filter(([, element]) => element.classList.contains("lit")).map(([name]) => name);
  }

  #lightLinks() {
    const isLit = (name) => this.#elements.get(name)?.classList.contains("lit") ?? false;
    for (const link of this.#links) {
      link.classList.toggle("lit", isLit(link.dataset.src) && isLit(link.dataset.sink));
    }
  }

  #insert(text) {
    // Taken out before parsing: a strict policy complains of inline styles even in a document that is never shown.
    const sheets = [];
    const bare = text.replace(/<style>([^<]*)<\/style>/g, (_, rules) => {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(rules);
      sheets.push(sheet);
      return "";
    });
    const parsed = new DOMParser().parseFromString(bare, "image/svg+xml").documentElement;
    if (parsed.localName !== "svg") throw new Error("the drawing is no SVG");
    const light = new CSSStyleSheet();
    light.replaceSync(LIGHT);
    const svg = document.importNode(parsed, true);
    strip(svg);
    svg.style.setProperty("--width", `${svg.getAttribute("width")}px`);
    svg.style.setProperty("--height", `${svg.getAttribute("height")}px`);
    this.#root.adoptedStyleSheets = [...sheets, light];
    this.#root.replaceChildren(svg);
    this.#elements = new Map([...svg.querySelectorAll("[data-element]")].map((g) => [g.dataset.element, g]));
    this.#links = [...svg.querySelectorAll(".link[data-src]")];
    this.#status.textContent = "";
    this.#offerSize();
  }
}

/** Take out what a drawing has no use for: scripts, links, handlers. */
function strip(svg) {
  for (const element of svg.querySelectorAll("*")) {
    if (!PARTS.has(element.localName)) element.remove();
    for (const { name } of [...element.attributes]) {
      if (/^on|href$/i.test(name)) element.removeAttribute(name);
    }
  }
}
