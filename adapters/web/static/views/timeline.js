/** Any fields of any topics over one another. */
import { Element, html, nothing } from "../element.js";
import { FieldSeries } from "../series.js";
import { SPANS, timeWindow } from "../window.js";
import { instant, number, zone } from "../format.js";
import "../time-chart.js";

const LONGEST_TABLE = 2000;

class TimelineView extends Element {
  begin() {
    const query = new URLSearchParams(location.search);
    timeWindow.read(query);
    const fields = query.getAll("field");
    /** @type {FieldSeries[]} */
    this.series = query.getAll("topic").map((topic, index) => new FieldSeries(topic, fields[index] ?? ""));
    this.table = false;
    this.abort = new AbortController();
    this.cleanups.push(() => this.abort.abort());
    this.listen(timeWindow, "change", () => this.load());
    this.every(1000, () => this.follow());
    this.load();
  }

  keep() {
    const query = new URLSearchParams();
    for (const each of this.series) {
      query.append("topic", each.topic);
      query.append("field", each.field);
    }
    timeWindow.write(query);
    history.replaceState(null, "", `/timeline?${query}`);
  }

  async load() {
    this.keep();
    this.abort.abort();
    const { signal } = (this.abort = new AbortController());
    const bounds = (this.bounds = timeWindow.bounds());
    this.busy = true;
    this.update();
    await Promise.all(this.series.map(async (each) => {
      try {
        await each.load(bounds.from, bounds.until, signal);
        each.error = null;
      } catch (error) {
        if (!signal.aborted) each.error = /** @type {Error} */ (error).message;
      }
    }));
    if (signal.aborted) return;
    this.busy = false;
    this.update();
  }

  async follow() {
    if (!timeWindow.live || this.busy || this.following) return;
    this.following = true;
    const { signal } = this.abort;
    this.bounds = timeWindow.bounds();
    await Promise.all(this.series.map(async (each) => {
      try {
        await each.follow(signal);
        each.error = null;
      } catch (error) {
        if (!signal.aborted) each.error = /** @type {Error} */ (error).message;
      }
      each.trim(this.bounds.from);
    }));
    this.following = false;
    this.update();
  }

  /** Show another part: at once what is there, and in more detail a moment later. @param {{from: number, until: number}} range */
  range({ from, until }) {
    this.bounds = { from, until };
    clearTimeout(this.waiting_);
    this.waiting_ = setTimeout(() => {
      const now = Date.now() / 1000;
      const iso = (at) => new Date(at * 1000).toISOString();
      if (until >= now - (until - from) * 0.02) timeWindow.set(`${Math.max(1, Math.round(now - from))}s`);
      else timeWindow.set(iso(from), iso(until));
    }, 150);
  }

  /** @param {SubmitEvent} event */
  add(event) {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    const topic = String(form.get("topic") ?? "").trim();
    if (!topic) return;
    this.series.push(new FieldSeries(topic, String(form.get("field") ?? "").trim()));
    /** @type {HTMLFormElement} */ (event.target).reset();
    this.load();
  }

  template() {
    const bounds = this.bounds ?? timeWindow.bounds();
    const errors = [...new Set(this.series.map((each) => each.error).filter(Boolean))];
    return html`<section class="stack" aria-label="Timeline">
      <div class="bar">
        <div class="group" role="group" aria-label="Window">${SPANS.map((each) => html`<button class="button"
          aria-pressed=${timeWindow.live && timeWindow.since === each} @click=${() => timeWindow.set(each)}>${each}</button>`)}</div>
        <button class="button" aria-pressed=${timeWindow.live} @click=${() => timeWindow.set(`${Math.round(bounds.until - bounds.from)}s`)}>Live</button>
        <button class="button" aria-pressed=${this.table} @click=${() => { this.table = !this.table; this.update(); }}>Table</button>
        <span class="small soft">${instant(bounds.from)} to ${timeWindow.live ? "now" : instant(bounds.until)} · ${zone}</span>
      </div>
      ${errors.map((each) => html`<p class="alert" role="alert">${each}</p>`)}
      <div class="card"><div class="body" .style=${"padding-top:0.75rem"}>
        ${this.series.length ? html`<time-chart .content=${{ series: this.series, from: bounds.from, until: bounds.until }}
          @range=${(event) => this.range(event.detail)}></time-chart>` : html`<p class="empty">Add a topic and a field, or choose a number on the Topics page.</p>`}
      </div></div>
      ${this.table ? this.tables() : nothing}
      <form class="bar" @submit=${(event) => this.add(event)}>
        <input class="field grow" name="topic" placeholder="Topic" aria-label="Topic" autocomplete="off" spellcheck="false">
        <input class="field" name="field" placeholder="Field, such as temperature" aria-label="Field" autocomplete="off" spellcheck="false">
        <button class="button">Add</button>
      </form>
      ${this.series.length ? html`<ul class="bar" aria-label="Lines">${this.series.map((each) => html`<li class="chip">${each.label} <button class="button plain" aria-label=${`Remove ${each.label}`} @click=${() => { this.series = this.series.filter((other) => other !== each); this.load(); }}>×</button></li>`)}</ul>` : nothing}
    </section>`;
  }

  tables() {
    return this.series.map((each) => {
      const rows = [];
      for (let index = each.at.length - 1; index >= 0 && rows.length < LONGEST_TABLE; index--) {
        if (each.value[index] !== null) rows.push([each.at[index], each.value[index]]);
      }
      return html`<div class="card table"><table aria-label=${each.label}><thead><tr><th>Received</th><th class="number">${each.field || "value"}</th></tr></thead>
        <tbody>${rows.map(([at, value]) => html`<tr><td class="nowrap">${instant(at)}</td><td class="number">${number(value, Number.isInteger(value) ? 0 : 3)}</td></tr>`)}</tbody></table></div>`;
    });
  }
}

customElements.define("timeline-view", TimelineView);
