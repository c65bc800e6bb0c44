/**
 * Fields of topics over the shared time window: a chart, and the same values as a table.
 * @typedef {{topic: string, field: string, label?: string, unit?: string}} Line
 */
import { Element, html, nothing } from "./element.js";
import { connection } from "./connection.js";
import { FieldSeries } from "./series.js";
import { timeWindow } from "./window.js";
import { moment, number } from "./format.js";
import { SIGNS } from "./time-chart.js";

const LONGEST_TABLE = 2000;

class FieldChart extends Element {
  /** @type {{from: number, until: number}} */
  bounds = timeWindow.bounds();

  constructor() {
    super();
    /** @type {FieldSeries[]} */
    this.series = [];
    this.key = "[]";
    this.table = false;
    /** @type {Map<FieldSeries, any[]>} Rows of the tables: number, instant, value, mark, plant time; the newest first. */
    this.rows = new Map();
    this.abort = new AbortController();
    this.heading = "";
    this.headingLevel = 2;
  }

  /** @param {Line[]} lines */
  set lines(lines) {
    const key = JSON.stringify(lines);
    if (key === this.key) return;
    this.key = key;
    this.series = lines.map(({ topic, field, label, unit }) => new FieldSeries(topic, field, label, unit));
    if (this.isConnected) this.load();
  }

  begin() {
    this.cleanups.push(() => this.abort.abort());
    this.listen(timeWindow, "change", () => this.load());
    this.listen(connection, "change", () => connection.open && this.load());
    this.every(1000, () => this.follow());
    this.load();
  }

  async load() {
    this.abort.abort();
    const { signal } = (this.abort = new AbortController());
    const { from, until } = (this.bounds = timeWindow.bounds());
    this.busy = true;
    this.update();
    await this.each(signal, (each) => each.load(from, until, signal));
    if (this.table) await this.loadTables(signal);
    if (signal.aborted) return;
    this.busy = false;
    this.update();
    // The line is there first: a year of marks takes as long as a year of values.
    await this.each(signal, (each) => each.loadMarks(from, until, signal));
    this.update();
  }

  /** @param {AbortSignal} signal */
  async loadTables(signal) {
    const { from, until } = timeWindow.bounds();
    await this.each(signal, async (each) => {
      const { topic, field } = each;
      this.rows.set(each, (await connection.ask("values", { topic, field, from, until, rows: LONGEST_TABLE }, signal)).rows);
    });
  }

  async follow() {
    if (!timeWindow.live || this.busy || this.following || !connection.open) return;
    this.following = true;
    const { signal } = this.abort;
    this.bounds = timeWindow.bounds();
    await this.each(signal, async (each) => {
      const added = await each.follow(signal);
      each.trim(this.bounds.from);
      const rows = this.rows.get(each);
      // The table may have been loaded after the chart: what it has already is not added again.
      if (rows) this.rows.set(each, [...added.filter(([recorded, , value]) => value !== null && recorded > (rows[0]?.[0] ?? 0)).reverse(), ...rows].slice(0, LONGEST_TABLE));
    });
    this.following = false;
    this.update();
  }

  /** Do something with every series at once; an error stays at the series. @param {AbortSignal} signal @param {(each: FieldSeries) => Promise<unknown>} action */
  async each(signal, action) {
    await Promise.all(this.series.map(async (each) => {
      try {
        await action(each);
        each.error = null;
      } catch (error) {
        if (!signal.aborted) each.error = /** @type {Error} */ (error).message;
      }
    }));
  }

  /** Show another part: at once what is there, and in more detail a moment later. @param {{from: number, until: number}} range */
  range({ from, until }) {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => timeWindow.show(from, until), 150);
  }

  toggle() {
    this.table = !this.table;
    this.rows.clear();
    if (this.table) this.loadTables(this.abort.signal).then(() => this.update());
    this.update();
  }

  template() {
    const { from, until } = this.bounds;
    const errors = [...new Set(this.series.map((each) => each.error).filter(Boolean))];
    return html`<div class=${this.heading ? "card" : "card bare"}>
      <header><h2>${this.heading}</h2><button class="button plain" type="button" aria-pressed=${this.table} @click=${() => this.toggle()}>Table</button></header>
      <div class="body">
        ${errors.map((each) => html`<p class="alert" role="alert">${each}</p>`)}
        <time-chart .content=${{ series: this.series, from, until }} @range=${(event) => this.range(event.detail)}></time-chart>
      </div>
      ${this.table ? html`<div class="columns tables">${this.series.map((each) => this.values(each))}</div>` : nothing}
    </div>`;
  }

  /** @param {FieldSeries} series */
  values(series) {
    const rows = this.rows.get(series) ?? [];
    return html`<div class="table tall"><table aria-label=${series.label}><thead><tr><th>Received</th><th class="number">${series.field || "value"}</th><th>Mark</th></tr></thead>
      <tbody>${rows.map(([recorded, at, value, mark, plant]) => html`<tr><td class="nowrap"><a href=${`/why?number=${recorded}`} title="What it follows from">${moment(at)}</a></td><td class="number">${number(value, Number.isInteger(value) ? 0 : 3)}${series.unit ? ` ${series.unit}` : ""}</td>
        <td class="nowrap soft">${mark ? `${SIGNS[mark] ?? ""} ${mark}${plant === null ? "" : `, of ${moment(plant)}`}` : ""}</td></tr>`)}</tbody></table></div>`;
  }
}

customElements.define("field-chart", FieldChart);
