/** The frame of the page: navigation, the view of the present address, and alerts about what is unreachable. */
import { Element, html, nothing } from "./element.js";
import { connection } from "./connection.js";
import { offset, zone } from "./format.js";
import "./scrub-bar.js";
import "./sign-in.js";

/** Those without an icon are reached by links of other views. @type {{path: string, label: string, tag: string, icon: string, load: () => Promise<unknown>}[]} */
const VIEWS = [
  { path: "/", label: "Now", tag: "now-view", icon: "M3 12h4l3-8 4 16 3-8h4", load: () => import("./views/now.js") },
  { path: "/topics", label: "Topics", tag: "topics-view", icon: "M4 6h16M8 12h12M8 18h12M4 6v12", load: () => import("./views/topics.js") },
  { path: "/timeline", label: "Timeline", tag: "timeline-view", icon: "M4 19V5M4 19h16M7 15l4-5 3 3 5-7", load: () => import("./views/timeline.js") },
  { path: "/heating", label: "Heating", tag: "heating-view", icon: "M12 21a6 6 0 0 0 6-6c0-4-3-5-4-9-3 2-3 4-3 6-1-1-2-2-2-3-2 2-3 4-3 6a6 6 0 0 0 6 6z", load: () => import("./views/heating.js") },
  { path: "/fastening", label: "Fastening", tag: "fastening-view", icon: "M14 4l6 6-3 3-6-6zM11 7L4 14l-1 6 6-1 7-7", load: () => import("./views/fastening.js") },
  { path: "/machines", label: "Machines", tag: "machines-view", icon: "M4 20V9l6 4V9l6 4V4h4v16zM8 16h2M14 16h2", load: () => import("./views/machines.js") },
  { path: "/charging", label: "Charging", tag: "charging-view", icon: "M13 3L5 14h6l-1 7 8-11h-6z", load: () => import("./views/charging.js") },
  { path: "/energy", label: "Energy", tag: "energy-view", icon: "M5 20V10M10 20V4M15 20v-7M20 20V8", load: () => import("./views/energy.js") },
  { path: "/why", label: "Why", tag: "why-view", icon: "", load: () => import("./views/why.js") },
  { path: "/sql", label: "SQL", tag: "sql-view", icon: "M5 7c0-2 14-2 14 0v10c0 2-14 2-14 0zM5 7c0 2 14 2 14 0M5 12c0 2 14 2 14 0", load: () => import("./views/sql.js") },
];

class App extends Element {
  begin() {
    this.listen(window, "popstate", () => this.go());
    this.listen(this, "click", (event) => this.follow(event));
    this.listen(connection, "change", () => this.update());
    connection.connect();
    // A page that loads reports nothing for the first moments.
    this.since = Date.now();
    setTimeout(() => this.update(), 1600);
  }

  /** Follow a link inside the page without loading the page again. @param {MouseEvent} event */
  follow(event) {
    const link = event.composedPath().find((each) => each instanceof HTMLAnchorElement);
    if (!(link instanceof HTMLAnchorElement) || link.origin !== location.origin || link.target || event.button || event.metaKey || event.ctrlKey || event.shiftKey) return;
    if (!VIEWS.some((each) => each.path === "/" + link.pathname.split("/")[1])) return;
    event.preventDefault();
    history.pushState(null, "", link.href);
    this.go();
    this.querySelector("main")?.focus();
    scrollTo(0, 0);
  }

  /** Show the view of the address; it may be the one that is shown. */
  go() {
    this.update();
    if (this.present?.localName === this.view.tag) /** @type {Element} */ (this.present).navigated?.();
  }

  get view() {
    const first = "/" + location.pathname.split("/")[1];
    return VIEWS.find((each) => each.path === first) ?? VIEWS[0];
  }

  /** @returns {string[]} */
  interruptions() {
    if (connection.open) return connection.interruptions;
    if (connection.barred) return ["Sign in to see this plant."];
    if (connection.refusal) return [connection.refusal];
    return Date.now() - (this.since ?? 0) < 1500 ? [] : ["The web server cannot be reached. Trying again."];
  }

  template() {
    const view = this.view;
    document.title = `${view.label} · Scaup`;
    view.load();
    return html`
      <a class="skip" href="#main">Skip to content</a>
      <nav class="side" aria-label="Views">
        <a class="brand" href="/"><img src="/static/icon.svg" alt="">Scaup</a>
        <ul>${VIEWS.filter((each) => each.icon).map((each) => html`<li><a href=${each.path} aria-current=${each === view ? "page" : nothing}>
          <svg viewBox="0 0 24 24" aria-hidden="true"><path d=${each.icon}></path></svg>${each.label}</a></li>`)}</ul>
      </nav>
      <header class="head"><div class="title"><h1>${view.label}</h1><p class="small soft cut">${zone}, ${offset}</p></div><scrub-bar></scrub-bar><sign-in></sign-in></header>
      <main id="main" tabindex="-1">
        ${this.interruptions().map((each) => html`<p class="alert" role="alert">${each}</p>`)}
        ${connection.barred ? nothing : this.element(view.tag)}
      </main>`;
  }

  /** The element of the present view, made once for as long as the view stays. @param {string} tag */
  element(tag) {
    if (this.present?.localName !== tag) this.present = document.createElement(tag);
    return this.present;
  }
}

customElements.define("scaup-app", App);
