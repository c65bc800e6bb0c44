/** The control of the time window that all views share. */
import { Element, html, nothing } from "./element.js";
import { SPANS, timeWindow } from "./window.js";
import { instant, zone } from "./format.js";

class TimeRange extends Element {
  chosen = false;

  begin() {
    this.listen(timeWindow, "change", () => this.keep());
  }

  /** Keep the window in the address, beside what the view has there. */
  keep() {
    const query = new URLSearchParams(location.search);
    timeWindow.write(query);
    history.replaceState(null, "", `${location.pathname}?${query}`);
    this.update();
  }

  /** Show the time between what was chosen. @param {SubmitEvent} event */
  choose(event) {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const [from, until] = ["from", "until"].map((each) => new Date(String(form.get(each))).getTime());
    this.wrong = !(from < until);
    if (!this.wrong) timeWindow.set(new Date(from).toISOString(), new Date(until).toISOString());
    this.update();
  }

  template() {
    const { from, until } = timeWindow.bounds();
    return html`<div class="bar">
      <div class="group" role="group" aria-label="Window">${SPANS.map((each) => html`<button class="button" type="button"
        aria-pressed=${timeWindow.live && timeWindow.since === each} @click=${() => timeWindow.set(each)}>${each}</button>`)}</div>
      <div class="bar"><button class="button" type="button" aria-pressed=${timeWindow.live} @click=${() => timeWindow.set(`${Math.round(until - from)}s`)}>Live</button>
        <button class="button" type="button" aria-expanded=${this.chosen} @click=${() => { this.chosen = !this.chosen; this.update(); }}>Period</button></div>
      <span class="small soft">${instant(from)} to ${timeWindow.live ? "now" : instant(until)} · ${zone}</span>
      ${this.chosen ? html`<form class="bar period" aria-label="Period" @submit=${(event) => this.choose(event)}>
        <label class="bar small soft">From <input class="field" type="datetime-local" name="from" step="1" required .value=${local(from)}></label>
        <label class="bar small soft">until <input class="field" type="datetime-local" name="until" step="1" required .value=${local(until)}></label>
        <button class="button main">Show</button>${this.wrong ? html`<span class="state bad" role="alert">It ends before it begins.</span>` : nothing}</form>` : nothing}
    </div>`;
  }
}

/** An instant as a field for local times takes it. @param {number} at seconds since 1970 */
function local(at) {
  const date = new Date(at * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}

customElements.define("time-range", TimeRange);
