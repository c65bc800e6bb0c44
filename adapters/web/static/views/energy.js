/** The energy of ships per quarter of an hour, with its quality, and what is unusual about it. */
import { Element, html, nothing } from "../element.js";
import { Asked } from "../asked.js";
import { LatestMessages } from "../latest.js";
import { instant, number, zone } from "../format.js";
import { session } from "../session.js";
import { download } from "../download.js";
import "../quarter-bars.js";

const PERIODS = { day: 86400, week: 7 * 86400, month: 31 * 86400 };
const MOST_ROWS = 1000;

class EnergyView extends Element {
  ships = new Asked("energy.ships", () => this.arrived());
  quarters = new Asked("energy.quarters", () => this.update());
  anomalies = new Asked("energy.anomalies", () => this.update());
  compared = new Asked("energy.quarters", () => this.update());
  period = "day";
  /** Last instant of the period, s since 1970; null: the end of the ship's last quarter. @type {number | null} */
  end = null;
  /** @type {string | null} */
  other = null;
  /** @type {string | null} */
  outcome = null;
  /** @type {string | null} */
  error = null;
  /** @type {{index: number, reason: string}[]} */
  skipped = [];

  begin() {
    const query = new URLSearchParams(location.search);
    const period = query.get("period") ?? "";
    if (period in PERIODS) this.period = period;
    this.cleanups.push(() => [this.ships, this.quarters, this.anomalies, this.compared].forEach((each) => each.stop()));
    // A new quarter or anomaly of any ship is a reason to ask again, a moment later.
    this.news = new LatestMessages(["energy/+/interval", "energy/+/anomaly"], () => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => [this.ships, this.quarters, this.anomalies].forEach((each) => each.ask()), 500);
    });
    this.cleanups.push(() => this.news?.hide(), () => clearTimeout(this.soon));
    this.ships.want({});
  }

  get ship() {
    return decodeURIComponent(location.pathname.split("/")[2] ?? "");
  }

  arrived() {
    this.load();
    this.update();
  }

  /** @param {string} ship */
  row(ship) {
    return this.ships.rows?.find((each) => each.ship === ship);
  }

  /** @returns {{from: number, until: number} | null} */
  bounds() {
    const row = this.row(this.ship);
    if (!row) return null;
    const until = this.end ?? Date.parse(row.last_at) / 1000 + 900;
    return { from: until - PERIODS[this.period], until };
  }

  load() {
    const bounds = this.bounds();
    if (!bounds) return;
    this.quarters.want({ ship: this.ship, ...bounds });
    this.anomalies.want({ ship: this.ship, ...bounds });
    if (this.other) this.compared.want({ ship: this.other, ...bounds });
  }

  /** @param {string} period */
  choose(period) {
    this.period = period;
    history.replaceState(null, "", `${location.pathname}?${new URLSearchParams({ period })}`);
    this.load();
    this.update();
  }

  /** @param {number} periods */
  move(periods) {
    const bounds = this.bounds();
    if (!bounds) return;
    this.end = bounds.until + periods * (bounds.until - bounds.from);
    this.load();
    this.update();
  }

  template() {
    return this.ship ? this.one(this.ship) : this.all();
  }

  all() {
    const { rows, error } = this.ships;
    return html`<div class="stack">${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      <section class="card"><div class="table"><table aria-label="Ships">
        <thead><tr><th>Ship</th><th>First quarter</th><th>Last quarter</th><th class="number">Quarters</th><th class="number">Energy</th><th class="number">Covered</th></tr></thead>
        <tbody>${(rows ?? []).map((each) => html`<tr><td><a href=${`/energy/${encodeURIComponent(each.ship)}`}>${each.ship}</a></td><td class="nowrap">${instant(each.first_at)}</td>
          <td class="nowrap">${instant(each.last_at)}</td><td class="number">${number(each.quarters)}</td><td class="number">${number(each.kwh, 1)} kWh</td><td class="number">${number(100 * each.coverage, 1)} %</td></tr>`)}</tbody></table>
        ${rows?.length ? nothing : html`<p class="empty">${rows ? "No ship has posted consumption yet." : "Loading…"}</p>`}</div></section>
      ${this.drop()}</div>`;
  }

  /** @param {string} ship */
  one(ship) {
    const bounds = this.bounds(), quarters = this.quarters.rows ?? [], anomalies = this.anomalies.rows ?? [];
    const sum = quarters.reduce((total, each) => total + (each.kwh ?? 0), 0);
    const error = this.ships.error ?? this.quarters.error ?? this.anomalies.error;
    const marks = new Map(anomalies.map((each) => [each.start_at, each.kind]));
    return html`<div class="stack">
      <div class="bar"><a href="/energy">All ships</a><h2 class="grow">Ship ${ship}</h2>
        <label class="bar small">Compare <select class="field" @change=${(event) => { this.other = event.target.value || null; this.load(); this.update(); }}>
          <option value="">none</option>${(this.ships.rows ?? []).filter((each) => each.ship !== ship).map((each) => html`<option ?selected=${each.ship === this.other}>${each.ship}</option>`)}</select></label></div>
      ${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      ${bounds ? html`
        <div class="bar"><div class="group" role="group" aria-label="Period">${Object.keys(PERIODS).map((each) => html`<button class="button" aria-pressed=${each === this.period} @click=${() => this.choose(each)}>${each}</button>`)}</div>
          <div class="group" role="group" aria-label="Move"><button class="button" @click=${() => this.move(-1)} aria-label="Earlier">‹</button><button class="button" @click=${() => this.move(1)} aria-label="Later">›</button>
            <button class="button" @click=${() => { this.end = null; this.load(); this.update(); }}>Newest</button></div>
          <span class="small soft">${instant(bounds.from)} to ${instant(bounds.until)} · ${zone}</span></div>
        <dl class="figures"><div><dt>Energy</dt><dd>${number(sum, 1)}<span class="unit">kWh</span></dd></div>
          <div><dt>Quarters</dt><dd>${number(quarters.length)} <small>of ${number((bounds.until - bounds.from) / 900)}</small></dd></div>
          <div><dt>Not measured whole</dt><dd>${number(quarters.filter((each) => each.quality !== "measured").length)}</dd></div>
          <div><dt>Anomalies</dt><dd>${number(anomalies.length)}</dd></div></dl>
        <section class="card"><header><h2>Energy per quarter of an hour</h2><span class="small soft legend-line"><span class="bar-key measured"></span>measured <span class="bar-key partial"></span>partial <span class="bar-key estimated"></span>estimated <span class="bar-key unusual"></span>unusual</span></header>
          <div class="body"><quarter-bars .content=${{ quarters, marks, ...bounds, compared: this.other ? this.compared.rows ?? [] : [], name: ship, other: this.other }}></quarter-bars></div></section>
        <div class="columns">
          <section class="card"><header><h2>Anomalies</h2></header><div class="table tall"><table aria-label="Anomalies"><thead><tr><th>Quarter</th><th>Kind</th><th class="number">Energy</th><th class="number">Usual</th><th>What</th></tr></thead>
            <tbody>${[...anomalies].reverse().map((each) => html`<tr><td class="nowrap">${instant(each.start_at)}</td><td><span class="state warn">${each.kind}</span></td><td class="number">${number(each.last?.kwh, 2)} kWh</td><td class="number">${number(each.last?.expected_kwh, 2)} kWh</td><td>${each.last?.text}</td></tr>`)}</tbody></table>
            ${anomalies.length ? nothing : html`<p class="empty">Nothing is unusual in this period.</p>`}</div></section>
          <section class="card"><header><h2>Quarters</h2><button class="button plain" ?disabled=${!quarters.length} @click=${() => download(`energy-${ship}.csv`, quarters)}>CSV</button></header>
            <div class="table tall"><table aria-label="Quarters"><thead><tr><th>Start</th><th class="number">Energy</th><th>Quality</th><th class="number">Covered</th><th>Revised</th></tr></thead>
            <tbody>${[...quarters].reverse().slice(0, MOST_ROWS).map((each) => html`<tr><td class="nowrap">${instant(each.start_at)}</td><td class="number">${number(each.kwh, 3)} kWh</td><td>${each.quality}${each.negative ? ", negative" : ""}</td><td class="number">${number(100 * each.coverage)} %</td><td class="nowrap soft">${instant(each.revised_at)}</td></tr>`)}</tbody></table>
            ${quarters.length ? nothing : html`<p class="empty">There is no energy in this period.</p>`}</div></section>
        </div>` : html`<p class="empty card">${this.ships.rows ? `Nothing is recorded of ship ${ship}.` : "Loading…"}</p>`}
      ${this.drop()}
    </div>`;
  }

  drop() {
    return html`<section class="card drop" @dragover=${(event) => event.preventDefault()} @drop=${(event) => { event.preventDefault(); this.post([...event.dataTransfer.files]); }}>
      <div class="body stack" .style=${"padding-top:1rem"}><div class="bar"><label class="button">Post a file<input class="hidden-label" type="file" accept=".json,application/json" @change=${(event) => this.post([...event.target.files])}></label>
        <span class="small soft">JSON with <code>spaceship_id</code>, <code>units</code> and <code>data</code>; or drop it here. CSV and Parquet: <code>scaup energy import</code>.</span></div>
      ${this.outcome ? html`<p role="status">${this.outcome}</p>` : nothing}
      ${this.error ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
      ${this.skipped.length ? html`<div class="table tall"><table aria-label="Skipped"><thead><tr><th class="number">Row</th><th>Reason</th></tr></thead><tbody>${this.skipped.map((each) => html`<tr><td class="number">${each.index}</td><td>${each.reason}</td></tr>`)}</tbody></table></div>` : nothing}</div></section>`;
  }

  /** @param {File[]} files */
  async post(files) {
    this.error = this.outcome = null;
    this.skipped = [];
    for (const file of files) {
      try {
        const text = await file.text();
        const ship = JSON.parse(text).spaceship_id;
        if (ship === undefined) throw new Error("it names no spaceship_id");
        const answer = await session.post("/request", { topic: `energy/${ship}/raw`, payload: text });
        if (answer.error) throw new Error(answer.error);
        this.outcome = `${file.name}: ${number(answer.stored)} values of ship ${ship} stored, ${number(answer.skipped?.length ?? 0)} skipped`;
        this.skipped = answer.skipped ?? [];
      } catch (error) {
        this.error = `${file.name}: ${/** @type {Error} */ (error).message}`;
      }
    }
    this.update();
  }
}

customElements.define("energy-view", EnergyView);
