/** The base of all elements: it renders a template into itself, at most once a frame. */
import { html, nothing, render } from "/vendor/lit-html.js";

export { html, nothing };

export class Element extends HTMLElement {
  constructor() {
    super();
    this.waiting = false;
    /** @type {(() => void)[]} Called when the element is removed. */
    this.cleanups = [];
  }

  connectedCallback() {
    this.begin();
    this.update();
  }

  disconnectedCallback() {
    for (const each of this.cleanups.splice(0)) each();
  }

  /** Start what has to be stopped when the element is removed: see `cleanups`. */
  begin() {}

  /** The address has changed, and the view is the same. */
  navigated() {
    this.update();
  }

  /** Render in the next frame. */
  update() {
    if (this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      if (!this.isConnected) return;
      render(this.template(), this);
      letKeysScroll(this);
    });
  }

  /** @returns {unknown} */
  template() {
    return nothing;
  }

  /**
   * Listen until the element is removed.
   * @param {EventTarget} target @param {string} type @param {(event: any) => void} listener
   */
  listen(target, type, listener) {
    target.addEventListener(type, listener);
    this.cleanups.push(() => target.removeEventListener(type, listener));
  }

  /** @param {number} ms @param {() => void} action */
  every(ms, action) {
    const timer = setInterval(() => document.hidden || action(), ms);
    this.cleanups.push(() => clearInterval(timer));
  }
}

/** Let Tab reach the tables that scroll, so that the arrow keys can scroll them. @param {Element} inside */
function letKeysScroll(inside) {
  for (const table of /** @type {NodeListOf<HTMLElement>} */ (inside.querySelectorAll(".table"))) {
    const scrolls = table.scrollHeight > table.clientHeight || table.scrollWidth > table.clientWidth;
    if (scrolls !== (table.tabIndex === 0)) scrolls ? (table.tabIndex = 0) : table.removeAttribute("tabindex");
  }
}
