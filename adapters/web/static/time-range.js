/** The control of the time window that all views share. */
import { Element, html } from "./element.js";
import { SPANS, timeWindow } from "./window.js";
import { instant, zone } from "./format.js";

class TimeRange extends Element {
  begin() {
    this.listen(timeWindow, "change", () => this.update());
  }

  template() {
    const { from, until } = timeWindow.bounds();
    return html`<div class="bar">
      <div class="group" role="group" aria-label="Window">${SPANS.map((each) => html`<button class="button" type="button"
        aria-pressed=${timeWindow.live && timeWindow.since === each} @click=${() => timeWindow.set(each)}>${each}</button>`)}</div>
      <button class="button" type="button" aria-pressed=${timeWindow.live} @click=${() => timeWindow.set(`${Math.round(until - from)}s`)}>Live</button>
      <span class="small soft">${instant(from)} to ${timeWindow.live ? "now" : instant(until)} · ${zone}</span>
    </div>`;
  }
}

customElements.define("time-range", TimeRange);
