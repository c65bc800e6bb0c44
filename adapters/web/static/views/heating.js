/** All rooms, and one of them. */
import { Element, html, nothing } from "../element.js";
import { LatestMessages } from "../latest.js";
import { age, number } from "../format.js";
import { session } from "../session.js";
import { timeWindow } from "../window.js";
import "../field-chart.js";
import "../time-range.js";

const MODES = { heating: "ok", "window open": "warn", "frost protection": "warn", holding: "warn", safe: "bad" };

class HeatingView extends Element {
  /** @type {LatestMessages} */
  latest;
  /** @type {string | null} */
  outcome = null;
  /** @type {string | null} */
  error = null;

  begin() {
    timeWindow.read(new URLSearchParams(location.search));
    this.latest = new LatestMessages(["heating/+/state"], () => this.update());
    this.cleanups.push(() => this.latest.hide());
    this.every(5000, () => this.update());
  }

  template() {
    const room = decodeURIComponent(location.pathname.split("/")[2] ?? "");
    return room ? this.room(room) : this.rooms();
  }

  rooms() {
    const now = Date.now() / 1000;
    const rooms = this.latest.under("heating/", "/state").sort((a, b) => a.levels[1].localeCompare(b.levels[1], undefined, { numeric: true }));
    return html`<section class="card"><div class="table"><table aria-label="Rooms">
      <thead><tr><th>Room</th><th class="number">Temperature</th><th class="number wide">Setpoint</th><th class="number">Valve</th><th>Mode</th><th class="wide">Attention</th><th class="number wide">Age</th></tr></thead>
      <tbody>${rooms.map(({ levels, value, at }) => html`<tr>
        <td class="nowrap"><a href="/heating/${encodeURIComponent(levels[1])}">${levels[1]}</a></td>
        <td class="number">${number(value.temperature, 1)} °C<span class="narrow small soft">of ${number(value.setpoint, 1)} °C</span></td><td class="number wide">${number(value.setpoint, 1)} °C</td>
        <td class="number"><span class="meter" .style=${`--share:${value.level}%`}></span><span class="beside">${number(value.level)} %</span></td>
        <td><span class="state ${MODES[value.mode] ?? ""}">${value.mode}</span><span class="narrow small soft">${attention(value)}</span></td>
        <td class="wide">${attention(value)}</td><td class="number soft wide">${age(at, now)}</td></tr>`)}</tbody></table>
      ${rooms.length ? nothing : html`<p class="empty">No room has reported yet. A room appears about a minute of plant time after its first reading on <code>/readings/{room}/temperature</code>.</p>`}</div></section>`;
  }

  /** @param {string} room */
  room(room) {
    const topic = `heating/${room}/state`, state = this.latest.all.get(topic)?.value;
    const line = (field, label, unit) => ({ topic, field, label, unit });
    return html`<div class="stack">
      <div class="bar"><a href="/heating">All rooms</a><h2 class="grow">${room}</h2>
        <a href=${`/why?${new URLSearchParams({ topic: `/actuators/${room}` })}`}>Why is the valve so?</a></div>
      ${state ? html`<dl class="figures">
        <div><dt>Temperature</dt><dd>${number(state.temperature, 1)}<span class="unit">°C</span></dd></div>
        <div><dt>Setpoint</dt><dd>${number(state.setpoint, 1)}<span class="unit">°C</span></dd></div>
        <div><dt>Valve</dt><dd>${number(state.level)}<span class="unit">%</span></dd></div>
        <div><dt>Mode</dt><dd><span class="state ${MODES[state.mode] ?? ""}">${state.mode}</span></dd></div>
      </dl>` : html`<p class="note">Nothing has been reported about ${room}.</p>`}
      ${this.setpoint(room, state)}
      <time-range></time-range>
      <field-chart .heading=${"Temperature"} .lines=${[line("temperature", "Room", "°C"), line("setpoint", "Setpoint", "°C")]}></field-chart>
      <field-chart .heading=${"Valve"} .lines=${[line("level", "Level", "%"), line("proportional", "Proportional part", "%"), line("integral", "Integral part", "%")]}></field-chart>
      ${state ? this.facts(state) : nothing}
    </div>`;
  }

  /** @param {string} room @param {any} state */
  setpoint(room, state) {
    return html`<form class="card bar" .style=${"padding:0.75rem 1rem"} @submit=${(event) => this.set(event, room)}>
      <label class="bar">Setpoint <input class="field" name="celsius" type="number" min="5" max="35" step="0.1" inputmode="decimal" required
        aria-label="Setpoint" .defaultValue=${String(state?.setpoint ?? 22)}> °C</label>
      <button class="button main">Set</button>
      <span class="small soft" role="status">${this.outcome ?? ""}</span>
      ${this.error ? html`<span class="alert" role="alert">${this.error}</span>` : nothing}
    </form>`;
  }

  /** @param {SubmitEvent} event @param {string} room */
  async set(event, room) {
    event.preventDefault();
    const celsius = Number(new FormData(/** @type {HTMLFormElement} */ (event.target)).get("celsius"));
    this.error = this.outcome = null;
    try {
      const { acknowledged_ms } = await session.publish(`heating/${room}/setpoint`, JSON.stringify({ celsius }), true);
      this.outcome = `${number(celsius, 1)} °C acknowledged by the broker after ${number(acknowledged_ms)} ms`;
    } catch (error) {
      this.error = /** @type {Error} */ (error).message;
    }
    this.update();
  }

  /** @param {any} state */
  facts(state) {
    const known = state.identified;
    return html`<div class="columns">
      <section class="card"><header><h2>Sensors</h2></header><div class="body"><dl class="facts">
        ${(state.sensors_used ?? []).map((each) => html`<dt>${each}</dt><dd><span class="state ok">used</span></dd>`)}
        ${Object.entries(state.sensors_left_out ?? {}).map(([name, reason]) => html`<dt>${name}</dt><dd><span class="state warn">left out: ${reason}</span></dd>`)}
      </dl></div></section>
      ${known ? html`<section class="card"><header><h2>Identified</h2></header><div class="body"><dl class="facts">
        ${Object.entries(known).filter(([, value]) => typeof value === "number").map(([name, value]) => html`<dt>${name}</dt><dd class="mono">${number(/** @type {number} */ (value), 1)}</dd>`)}
      </dl></div></section>` : nothing}
    </div>`;
  }
}

/** Alarms, and sensors that are left out. @param {any} state */
function attention(state) {
  return [...(state.alarms ?? []), ...leftOut(state)].join("; ");
}

/** @param {any} state */
function leftOut(state) {
  const reasons = Object.entries(state.sensors_left_out ?? {});
  return reasons.length ? [`left out: ${reasons.map(([name, reason]) => `${name} (${reason})`).join(", ")}`] : [];
}

customElements.define("heating-view", HeatingView);
