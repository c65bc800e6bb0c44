/** Shows the plant as of an instant of the past: drag the instant, or play from it. Nothing is published meanwhile. */
import { Element, html } from "./element.js";
import { timeWindow } from "./window.js";
import { instant, zone } from "./format.js";

const SPEEDS = [1, 10, 60, 300, 1000];
const STEPS = 1000;
const FRAME_MS = 200;

class ScrubBar extends Element {
  speed = 60;
  playing = false;

  begin() {
    this.listen(timeWindow, "scrub", () => this.update());
    this.listen(timeWindow, "change", () => this.update());
    this.every(FRAME_MS, () => this.play());
  }

  play() {
    if (!this.playing || timeWindow.at === null) return;
    const at = timeWindow.at + (this.speed * FRAME_MS) / 1000;
    if (at >= Date.now() / 1000) this.now();
    else timeWindow.scrub(at);
  }

  now() {
    this.playing = false;
    timeWindow.scrub(null);
  }

  template() {
    const at = timeWindow.at, { from, until } = timeWindow.bounds();
    if (at === null) return html`<button class="button" title="Show the plant as it was" @click=${() => timeWindow.scrub(from + 0.9 * (until - from))}>Past</button>`;
    const place = Math.round(((at - from) / (until - from)) * STEPS);
    return html`<div class="scrub note" role="region" aria-label="Past">
      <button class="button" aria-pressed=${this.playing} @click=${() => { this.playing = !this.playing; this.update(); }}>${this.playing ? "Pause" : "Play"}</button>
      <select class="field" aria-label="Speed" @change=${(event) => { this.speed = Number(event.target.value); }}>${SPEEDS.map((each) => html`<option value=${each} ?selected=${each === this.speed}>${each}×</option>`)}</select>
      <input class="grow" type="range" min="0" max=${STEPS} .value=${String(Math.max(0, Math.min(STEPS, place)))} aria-label="Instant" aria-valuetext=${instant(at)}
        @input=${(event) => timeWindow.scrub(from + (Number(event.target.value) / STEPS) * (until - from))}>
      <span class="nowrap"><b>${instant(at)}</b> ${zone}</span>
      <button class="button main" @click=${() => this.now()}>Now</button>
    </div>`;
  }
}

customElements.define("scrub-bar", ScrubBar);
