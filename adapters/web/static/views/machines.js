/** All machines: the latest reading, the moving averages, and the status of their jobs. */
import { Element, html, nothing } from "../element.js";
import { LatestMessages } from "../latest.js";
import { age, number } from "../format.js";
import { natural } from "../sorted.js";
import { session } from "../session.js";
import { timeWindow } from "../window.js";
import "../field-chart.js";
import "../time-range.js";

const STATES = { STARTED: "ok", COMPLETED: "ok", IDLE: "off", ERROR: "bad" };
const MOST_ROWS = 500;

class MachinesView extends Element {
  /** @type {LatestMessages} */
  latest;
  filter = "";
  /** @type {string | null} */
  machine = null;
  /** @type {string | null} */
  outcome = null;
  /** @type {string | null} */
  error = null;

  begin() {
    const query = new URLSearchParams(location.search);
    this.filter = query.get("filter") ?? "";
    this.machine = query.get("machine");
    timeWindow.read(query);
    this.latest = new LatestMessages(["machines/+/reading", "machines/+/average"], () => this.update());
    this.cleanups.push(() => this.latest.hide());
    this.every(2000, () => this.update());
  }

  keep() {
    const query = new URLSearchParams();
    if (this.filter) query.set("filter", this.filter);
    if (this.machine) query.set("machine", this.machine);
    if (this.machine) timeWindow.write(query);
    history.replaceState(null, "", `/machines${query.size ? `?${query}` : ""}`);
    this.update();
  }

  /** @returns {{id: string, reading: any, average: any, at: number}[]} */
  machines() {
    const found = new Map();
    for (const each of this.latest.under("machines/")) {
      const [, id, kind] = each.levels;
      const machine = found.get(id) ?? { id, reading: null, average: null, at: 0 };
      machine[kind] = each.value;
      if (kind === "reading") machine.at = each.at;
      found.set(id, machine);
    }
    const wanted = this.filter.toLowerCase();
    return [...found.values()].filter((each) => !wanted || `${each.id} ${each.reading?.name ?? ""} ${status(each)}`.toLowerCase().includes(wanted)).sort((a, b) => natural(a.id, b.id));
  }

  template() {
    const now = Date.now() / 1000, machines = this.machines();
    return html`<div class="stack">
      <section class="card"><header class="bar">
          <label class="hidden-label" for="filter">Filter</label>
          <input class="field grow" type="search" id="filter" placeholder="Number, name or status" .value=${this.filter} autocomplete="off" spellcheck="false"
            @input=${(event) => { this.filter = event.target.value; this.keep(); }}>
          <span class="small soft" role="status">${number(machines.length)} machines</span></header>
        <div class="table"><table aria-label="Machines">
          <thead><tr><th>Machine</th><th class="wide">Name</th><th>Status</th><th class="number">Temperature</th><th class="number wide">Mean</th><th class="number">Fan speed</th><th class="number wide">Mean</th><th class="number wide">Age</th></tr></thead>
          <tbody>${machines.slice(0, MOST_ROWS).map((each) => html`<tr aria-selected=${each.id === this.machine}>
            <td><a href=${`/machines?machine=${encodeURIComponent(each.id)}`} @click=${(event) => { event.preventDefault(); event.stopPropagation(); this.machine = each.id; this.keep(); }}>${each.id}</a><span class="narrow small soft">${each.reading?.name ?? ""}</span></td>
            <td class="wide">${each.reading?.name ?? ""}</td><td><span class="state ${STATES[status(each)] ?? ""}">${status(each)}</span></td>
            <td class="number">${value(each.reading?.temperature)} °C</td><td class="number soft wide">${number(each.average?.average_temperature, 1)} °C</td>
            <td class="number">${value(each.reading?.fan_speed)}<span class="wide"> 1/min</span></td><td class="number soft wide">${number(each.average?.average_speed, 1)} 1/min</td>
            <td class="number soft wide">${each.at ? age(each.at, now) : "–"}</td></tr>`)}</tbody></table>
        ${machines.length > MOST_ROWS ? html`<p class="empty">The first ${number(MOST_ROWS)} are shown: narrow the filter.</p>` : nothing}
        ${machines.length ? nothing : html`<p class="empty">${this.filter ? "No machine matches." : "No machine has reported since the page was opened."}</p>`}</div></section>
      ${this.machine ? this.detail(this.machine) : nothing}
    </div>`;
  }

  /** @param {string} id */
  detail(id) {
    const reading = `machines/${id}/reading`, average = `machines/${id}/average`;
    return html`<section class="stack" aria-label="Machine">
      <div class="bar last-first"><h2 class="grow">Machine ${id}</h2>
        <div class="group" role="group" aria-label="Set status">${Object.keys(STATES).map((each) => html`<button class="button" @click=${() => this.set(id, each)}>${each}</button>`)}</div>
        <button class="button plain" @click=${() => { this.machine = null; this.keep(); }}>Close</button></div>
      ${this.outcome ? html`<p class="small soft" role="status">${this.outcome}</p>` : nothing}
      ${this.error ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
      <time-range></time-range>
      <field-chart .heading=${"Temperature"} .lines=${[{ topic: reading, field: "temperature", label: "Reading", unit: "°C" }, { topic: average, field: "average_temperature", label: "Mean", unit: "°C" }]}></field-chart>
      <field-chart .heading=${"Fan speed"} .lines=${[{ topic: reading, field: "fan_speed", label: "Reading", unit: "1/min" }, { topic: average, field: "average_speed", label: "Mean", unit: "1/min" }]}></field-chart>
    </section>`;
  }

  /** @param {string} id @param {string} wanted */
  async set(id, wanted) {
    this.error = this.outcome = null;
    try {
      await session.publish(`machines/${id}/status`, JSON.stringify({ status: wanted }));
      this.outcome = `${wanted} was sent to machine ${id}`;
    } catch (error) {
      this.error = /** @type {Error} */ (error).message;
    }
    this.update();
  }
}

/** @param {{reading: any, average: any}} machine */
function status(machine) {
  return String(machine.reading?.status ?? machine.average?.status ?? "unknown");
}

/** A number, or what a device sent in its place. @param {any} sent */
function value(sent) {
  return typeof sent === "number" ? number(sent, 1) : sent === null || sent === undefined ? "–" : String(sent);
}

customElements.define("machines-view", MachinesView);
