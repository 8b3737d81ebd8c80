/** The graph, drawn by the server, with the elements lit through which something flows. */

/** The server tells what worked four times a second; a light outlives two of these, ms. */
const LIT_MS = 500;

const LIGHT = `
  :host { display: block; }
  svg { display: block; width: 100%; height: auto; max-width: var(--natural, 100%); margin: -1rem auto 0; }
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
  #root;
  #status;
  #api;
  #shown = null;
  #lit = new Map();
  #elements = new Map();
  #links = [];

  /**
   * @param {HTMLElement} host Gets a shadow root: the drawing's style names plain things like `text`, and must stay
   *   inside. Its rules are adopted as a style sheet object, which needs no `unsafe-inline` in the security policy.
   * @param {HTMLElement} status Says when there is no drawing.
   * @param {import("./api.js").Api} api
   */
  constructor(host, status, api) {
    this.#root = host.attachShadow({ mode: "open" });
    this.#status = status;
    this.#api = api;
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
    svg.style.setProperty("--natural", `${svg.getAttribute("width")}px`);
    this.#root.adoptedStyleSheets = [...sheets, light];
    this.#root.replaceChildren(svg);
    this.#elements = new Map([...svg.querySelectorAll("[data-element]")].map((g) => [g.dataset.element, g]));
    this.#links = [...svg.querySelectorAll(".link[data-src]")];
    this.#status.textContent = "";
  }
}
