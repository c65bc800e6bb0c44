/** The energy of ships per quarter of an hour, with its quality, and what is unusual about it. */
import { Element, html, nothing } from "../element.js";
import { Asked } from "../asked.js";
import { LatestMessages } from "../latest.js";
import { minute, number, zone } from "../format.js";
import { timeWindow } from "../window.js";
import { session } from "../session.js";
import { download } from "../download.js";
import "../quarter-bars.js";

const PERIODS = { day: 86400, week: 7 * 86400, month: 31 * 86400 };
const MOST_ROWS = 1000;

class EnergyView extends Element {
  ships = new Asked("energy.ships", () => this.arrived());
  quarters = new Asked("energy.quarters", () => this.update());
  anomalies = new Asked("energy.anomalies", () => this.update());
  newest = new Asked("energy.newest_anomalies", () => this.update());
  compared = new Asked("energy.quarters", () => this.update());
  period = "day";
  /** Last instant of the period, s since 1970; null: the end of the ship's last quarter. @type {number | null} */
  end = null;
  /** @type {string | null} */
  other = null;
  /** Files that were posted last, and their answers. @type {File[]} */
  files = [];
  /** @type {any[]} */
  posted = [];
  posting = "";
  /** A file is held over the page. */
  over = false;
  /** The form is wanted: a file could not be read without it. */
  wanted = false;
  /** @type {Record<string, string>} */
  form = { ship: "", units: "", interval_minutes: "", separator: "", decimal: "", dates: "" };

  begin() {
    this.read();
    this.cleanups.push(() => [this.ships, this.quarters, this.anomalies, this.newest, this.compared].forEach((each) => each.stop()));
    // A new quarter or anomaly of any ship is a reason to ask again, a moment later.
    this.news = new LatestMessages(["energy/+/interval", "energy/+/anomaly"], () => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => [this.ships, this.quarters, this.anomalies, this.newest].forEach((each) => each.ask()), 500);
    });
    this.cleanups.push(() => this.news?.hide(), () => clearTimeout(this.soon));
    this.listen(timeWindow, "scrub", () => {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => { this.ships.refresh(this.known()); if (!this.ship) this.newest.refresh(this.known()); this.load(); }, 150);
    });
    this.ships.want(this.known());
    if (!this.ship) this.newest.want(this.known());
  }

  /** Read what to show from the address. */
  read() {
    const query = new URLSearchParams(location.search), period = query.get("period") ?? "", until = Date.parse(query.get("until") ?? "");
    if (period in PERIODS) this.period = period;
    this.end = Number.isNaN(until) ? null : until / 1000;
    this.other = query.get("compare");
  }

  navigated() {
    this.read();
    if (!this.ship) this.newest.want(this.known());
    this.load();
    this.update();
  }

  /** As of when: what was known at the instant that the page shows, or is known now. @returns {{at?: number}} */
  known() {
    return timeWindow.at === null ? {} : { at: timeWindow.at };
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
    const asked = { ...bounds, ...this.known() };
    this.quarters.want({ ship: this.ship, ...asked });
    this.anomalies.want({ ship: this.ship, ...asked });
    if (this.other) this.compared.want({ ship: this.other, ...asked });
  }

  /** Keep what is shown in the address, and load it. */
  keep() {
    const query = new URLSearchParams({ period: this.period });
    if (this.end !== null) query.set("until", new Date(this.end * 1000).toISOString());
    if (this.other) query.set("compare", this.other);
    history.replaceState(null, "", `${location.pathname}?${query}`);
    this.load();
    this.update();
  }

  /** @param {string} period */
  choose(period) {
    this.period = period;
    this.keep();
  }

  /** @param {number} periods */
  move(periods) {
    const bounds = this.bounds();
    if (!bounds) return;
    this.end = bounds.until + periods * (bounds.until - bounds.from);
    this.keep();
  }

  template() {
    return this.ship ? this.one(this.ship) : this.all();
  }

  all() {
    const { rows, error } = this.ships, most = Math.max(1e-9, ...(rows ?? []).map(power));
    return html`<div class="stack">${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      <section class="card"><div class="table"><table aria-label="Ships">
        <thead><tr><th>Ship</th><th class="wide">First quarter</th><th>Last quarter</th><th class="number wide">Quarters</th><th class="number wide">Energy</th><th class="number">Mean power</th><th class="number wide">Covered</th></tr></thead>
        <tbody>${(rows ?? []).map((each) => html`<tr><td><a href=${`/energy/${encodeURIComponent(each.ship)}`}>${each.ship}</a></td><td class="nowrap wide">${minute(each.first_at)}</td>
          <td class="nowrap">${minute(each.last_at)}</td><td class="number wide">${number(each.quarters)}</td><td class="number wide">${number(each.kwh, 1)} kWh</td>
          <td class="number"><span class="meter" .style=${`--share:${(100 * power(each)) / most}%`}></span><span class="beside long">${number(power(each), 1)} kW</span><span class="narrow small soft">${number(each.kwh, 1)} kWh</span></td><td class="number wide">${number(100 * each.coverage, 1)} %</td></tr>`)}</tbody></table>
        ${rows?.length ? nothing : html`<p class="empty">${rows ? "No ship has posted consumption yet." : "Loading…"}</p>`}</div></section>
      ${this.anomalyTable(this.newest.rows ?? [], true)}
      ${this.drop()}</div>`;
  }

  /** @param {any[]} rows the newest first @param {boolean} named with the ship */
  anomalyTable(rows, named) {
    return html`<section class="card"><header><h2>Anomalies</h2></header><div class="table tall"><table aria-label="Anomalies"><thead><tr>${named ? html`<th>Ship</th>` : nothing}<th>Quarter</th><th>Kind</th><th class="number">Energy</th><th class="number wide">Usual</th><th class=${named ? "wide" : ""}>What</th></tr></thead>
      <tbody>${rows.map((each) => html`<tr>${named ? html`<td><a href=${dayOf(each)}>${each.ship}</a></td>` : nothing}<td class="nowrap">${minute(each.start_at)}</td><td><span class="state warn">${each.kind}</span></td>
        <td class="number">${kwh(each.last?.kwh)}</td><td class="number wide">${kwh(each.last?.expected_kwh)}</td><td class=${named ? "wide" : ""}>${each.last?.text}</td></tr>`)}</tbody></table>
      ${rows.length ? nothing : html`<p class="empty">${named ? "Nothing unusual is known of any ship." : "Nothing is unusual in this period."}</p>`}</div></section>`;
  }

  /** @param {string} ship */
  one(ship) {
    const bounds = this.bounds(), quarters = this.quarters.rows ?? [], anomalies = this.anomalies.rows ?? [];
    const sum = quarters.reduce((total, each) => total + (each.kwh ?? 0), 0);
    const error = this.ships.error ?? this.quarters.error ?? this.anomalies.error;
    const marks = new Map(anomalies.map((each) => [each.start_at, each.kind]));
    return html`<div class="stack">
      <div class="bar"><a href="/energy">All ships</a><h2 class="grow">Ship ${ship}</h2>
        <label class="bar small compare">Compare <select class="field" @change=${(event) => { this.other = event.target.value || null; this.keep(); }}>
          <option value="">none</option>${(this.ships.rows ?? []).filter((each) => each.ship !== ship).map((each) => html`<option ?selected=${each.ship === this.other}>${each.ship}</option>`)}</select></label></div>
      ${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      ${bounds ? html`
        <div class="bar"><div class="group" role="group" aria-label="Period">${Object.keys(PERIODS).map((each) => html`<button class="button" aria-pressed=${each === this.period} @click=${() => this.choose(each)}>${each}</button>`)}</div>
          <div class="group" role="group" aria-label="Move"><button class="button" @click=${() => this.move(-1)} aria-label="Earlier">‹</button><button class="button" @click=${() => this.move(1)} aria-label="Later">›</button>
            <button class="button" @click=${() => { this.end = null; this.keep(); }}>Newest</button></div>
          <span class="small soft">${minute(bounds.from)} to ${minute(bounds.until)} · ${zone}</span></div>
        <dl class="figures"><div><dt>Energy</dt><dd>${number(sum, 1)}<span class="unit">kWh</span></dd></div>
          <div><dt>Quarters</dt><dd>${number(quarters.length)} <small>of ${number((bounds.until - bounds.from) / 900)}</small></dd></div>
          <div><dt>Not measured whole</dt><dd>${number(quarters.filter((each) => each.quality !== "measured").length)}</dd></div>
          <div><dt>Anomalies</dt><dd>${number(anomalies.length)}</dd></div></dl>
        <section class="card"><header><h2>Energy per quarter of an hour</h2><span class="small soft legend-line"><span class="bar-key measured"></span>measured <span class="bar-key partial"></span>partial <span class="bar-key estimated"></span>estimated <span class="bar-key unusual"></span>▲ unusual or missing</span></header>
          <div class="body"><quarter-bars .content=${{ quarters, marks, ...bounds, compared: this.other ? this.compared.rows ?? [] : [], name: ship, other: this.other }}></quarter-bars></div></section>
` : html`<p class="empty card">${this.ships.rows ? `Nothing is recorded of ship ${ship}.` : "Loading…"}</p>`}
          ${this.anomalyTable([...anomalies].reverse(), false)}
          <section class="card"><header><h2>Quarters</h2><button class="button plain" ?disabled=${!quarters.length} @click=${() => download(`energy-${ship}.csv`, quarters)}>CSV</button></header>
            <div class="table tall"><table aria-label="Quarters"><thead><tr><th>Start</th><th class="number">Energy</th><th>Quality</th><th class="number wide">Covered</th><th class="wide">Revised</th></tr></thead>
            <tbody>${[...quarters].reverse().slice(0, MOST_ROWS).map((each) => html`<tr><td class="nowrap">${minute(each.start_at)}</td><td class="number">${number(each.kwh, 3)} kWh</td><td>${each.quality}${each.negative ? ", negative" : ""}</td><td class="number wide">${number(100 * each.coverage)} %</td><td class="nowrap soft wide">${minute(each.revised_at)}</td></tr>`)}</tbody></table>
            ${quarters.length ? nothing : html`<p class="empty">There is no energy in this period.</p>`}</div></section>
      ${this.drop()}
    </div>`;
  }

  drop() {
    const form = this.form;
    const choice = (name, label, options) => html`<label>${label}<select class="field" @change=${(event) => { form[name] = event.target.value; }}>
      <option value="">as in the file</option>${options.map((each) => html`<option ?selected=${each === form[name]}>${each}</option>`)}</select></label>`;
    return html`<section class=${`card drop ${this.over ? "over" : ""}`} aria-label="Post a file"
      @dragover=${(event) => { event.preventDefault(); this.hover(true); }} @dragleave=${() => this.hover(false)}
      @drop=${(event) => { event.preventDefault(); this.hover(false); this.post([...event.dataTransfer.files]); }}>
      <header><h2>Post a file</h2></header>
      <div class="body stack">
        <div class="bar"><label class="button">Choose a file<input class="hidden-label" type="file" multiple accept=".json,.csv,.tsv,.parquet" @change=${(event) => { this.post([...event.target.files]); event.target.value = ""; }}></label>
          <span class="soft">or drop it here: JSON, CSV or Parquet, as for <code>scaup energy import</code></span></div>
        <details ?open=${this.wanted}><summary>What the file does not say</summary><div class="form inline">
          <label>Ship<input class="field" .value=${form.ship || this.ship} placeholder="as in the file" @change=${(event) => { form.ship = event.target.value.trim(); }}></label>
          ${choice("units", "Units", ["kW", "kWh"])}
          <label>Interval, minutes<input class="field" inputmode="decimal" .value=${form.interval_minutes} placeholder="from the spacing" @change=${(event) => { form.interval_minutes = event.target.value.trim(); }}></label>
          ${choice("separator", "Separator", ["comma", "semicolon", "tab"])}${choice("decimal", "Decimal mark", ["comma", "point"])}${choice("dates", "Dates", ["day-first", "month-first"])}
          ${this.files.length ? html`<button class="button" @click=${() => this.post(this.files)}>Post again</button>` : nothing}</div></details>
        ${this.posting ? html`<p role="status" class="soft">Posting ${this.posting}…</p>` : nothing}
        ${this.posted.map((each) => this.outcome(each))}
      </div></section>`;
  }

  /** @param {any} posted the answer to a file */
  outcome(posted) {
    if (posted.error) return html`<p class="alert" role="alert">${posted.error}</p>`;
    const lines = [...posted.refused.map((text) => ["refused", text]), ...posted.skipped.map((text) => ["skipped", text])];
    return html`<div class="stack tight"><p role="status"><b>${posted.name}</b>: ${number(posted.stored)} values of ${posted.ships.length === 1 ? `ship ${posted.ships[0]}` : `${number(posted.ships.length)} ships`} stored,
        ${number(posted.skipped_count)} skipped${posted.refused.length ? html`, <span class="state bad">${number(posted.refused.length)} posts refused</span>` : nothing}</p>
      ${posted.notes.map((each) => html`<p class="small soft">${each}</p>`)}
      ${lines.length ? html`<div class="table tall"><table aria-label="Skipped"><thead><tr><th>What</th><th>Where and why</th></tr></thead>
        <tbody>${lines.map(([what, text]) => html`<tr><td><span class="state ${what === "refused" ? "bad" : "warn"}">${what}</span></td><td class="wrap">${text}</td></tr>`)}</tbody></table></div>` : nothing}</div>`;
  }

  /** @param {boolean} over */
  hover(over) {
    if (over === this.over) return;
    this.over = over;
    this.update();
  }

  /** Post files one after the other, and show what was stored and what not. @param {File[]} files */
  async post(files) {
    if (!files.length || this.posting) return;
    this.files = files;
    this.posted = [];
    this.wanted = false;
    for (const file of files) {
      this.posting = file.name;
      this.update();
      const form = { ...this.form, ship: this.form.ship || this.ship };
      const query = new URLSearchParams({ name: file.name, ...Object.fromEntries(Object.entries(form).filter(([, value]) => value)) });
      try {
        this.posted.push({ name: file.name, ...(await session.send(`/energy-file?${query}`, file, "application/octet-stream")) });
      } catch (error) {
        this.posted.push({ error: `${file.name}: ${/** @type {Error} */ (error).message.replace(`${file.name}: `, "")}` });
        this.wanted = true;
      }
    }
    this.posting = "";
    this.update();
  }
}

/** Energy, where it is known. @param {number | null | undefined} value */
function kwh(value) {
  return value === null || value === undefined ? "–" : `${number(value, 2)} kWh`;
}

/** The address of the day around an anomaly. @param {{ship: string, start_at: string}} anomaly */
function dayOf({ ship, start_at }) {
  return `/energy/${encodeURIComponent(ship)}?${new URLSearchParams({ period: "day", until: new Date(Date.parse(start_at) + 12 * 3_600_000).toISOString() })}`;
}

/** Mean power over the quarters that are known, kW. @param {{kwh: number, quarters: number}} ship */
function power({ kwh, quarters }) {
  return quarters ? (4 * kwh) / quarters : 0;
}

customElements.define("energy-view", EnergyView);
