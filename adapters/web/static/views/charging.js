/** All chargers now, and the charging sessions of a period. */
import { Element, html, nothing } from "../element.js";
import { Asked } from "../asked.js";
import { LatestMessages } from "../latest.js";
import { moment, number } from "../format.js";
import { natural } from "../sorted.js";
import { timeWindow } from "../window.js";
import { download } from "../download.js";
import "../time-range.js";

/** Colour and word of a widget's display. */
const DISPLAYS = { charging: ["red", "charging"], charging80: ["yellow", "from 80 %"], charged: ["green", "charged"], unavailable: ["off", "unavailable"] };
const MOST_ROWS = 200;

class ChargingView extends Element {
  /** @type {LatestMessages} */
  latest;
  filter = "";
  /** Topics of chargers, by name. @type {string[]} */
  order = [];
  known = -1;
  sessions = new Asked("charging.sessions", () => this.update());

  begin() {
    const query = new URLSearchParams(location.search);
    this.filter = query.get("filter") ?? "";
    if (!query.has("since") && timeWindow.live) timeWindow.since = "1d";
    timeWindow.read(query);
    this.latest = new LatestMessages(["chargers/+/state", "widgets/+/link"], () => this.update());
    this.cleanups.push(() => this.latest.hide(), () => this.sessions.stop());
    this.listen(timeWindow, "change", () => this.load());
    this.listen(timeWindow, "scrub", () => {
      clearTimeout(this.settling);
      this.settling = setTimeout(() => this.load(), 150);
    });
    this.every(5000, () => this.sessions.ask());
    this.load();
  }

  load() {
    const query = new URLSearchParams();
    if (this.filter) query.set("filter", this.filter);
    timeWindow.write(query);
    history.replaceState(null, "", `/charging?${query}`);
    const { from, until } = timeWindow.bounds();
    this.sessions.want({ from, until: timeWindow.at ?? (timeWindow.live ? null : until) });
    this.update();
  }

  /** @param {string[]} texts */
  wanted(texts) {
    const wanted = this.filter.toLowerCase();
    return !wanted || texts.some((each) => each.toLowerCase().includes(wanted));
  }

  /** All chargers by name, sorted again only when one is new: there may be 10,000. */
  ordered() {
    if (this.known !== this.latest.all.size) {
      this.known = this.latest.all.size;
      this.order = this.latest.under("chargers/", "/state").map((each) => each.topic).sort(natural);
    }
    return this.order.flatMap((topic) => this.latest.all.get(topic) ?? []);
  }

  template() {
    const chargers = this.ordered().filter(({ levels, value }) => this.wanted([levels[1], value.widget ?? "", value.status ?? "", value.state]));
    const online = chargers.filter((each) => each.value.state === "online").length;
    return html`<div class="stack">
      <section class="card"><header class="bar">
          <label class="hidden-label" for="filter">Filter</label>
          <input class="field grow" type="search" id="filter" placeholder="Charger, widget or state" .value=${this.filter} autocomplete="off" spellcheck="false"
            @input=${(event) => { this.filter = event.target.value; this.load(); }}>
          <span class="small soft" role="status">${number(chargers.length)} chargers, ${number(online)} online</span></header>
        <div class="table tall"><table aria-label="Chargers">
          <thead><tr><th>Charger</th><th>State</th><th class="number">Charge</th><th>Display</th><th class="wide">Widget</th><th class="wide">Charging since</th></tr></thead>
          <tbody>${chargers.slice(0, MOST_ROWS).map(({ levels, value }) => this.charger(levels[1], value))}</tbody></table>
        ${chargers.length > MOST_ROWS ? html`<p class="empty">The first ${number(MOST_ROWS)} are shown: narrow the filter.</p>` : nothing}
        ${chargers.length ? nothing : html`<p class="empty">${this.filter ? "No charger matches." : "No charger was ever connected."}</p>`}</div></section>
      <time-range></time-range>
      ${this.sessionTable()}
    </div>`;
  }

  /** @param {string} id @param {any} state */
  charger(id, state) {
    const [colour, word] = DISPLAYS[state.status] ?? DISPLAYS.unavailable;
    const linked = this.latest.all.get(`widgets/${state.widget}/link`)?.value?.connected;
    return html`<tr><td><a href=${`/topics?${new URLSearchParams({ topic: `chargers/${id}/state` })}`}>${id}</a></td>
      <td><span class="state ${state.state === "online" ? "ok" : "off"}">${state.state}</span></td>
      <td class="number">${state.soc === null || state.soc === undefined ? "–" : html`<span class="meter" .style=${`--share:${state.soc}%`}></span><span class="beside">${number(state.soc)} %</span>`}</td>
      <td class="nowrap"><span class="led ${colour}"></span> ${word}</td>
      <td class="wide">${state.widget ?? html`<span class="soft">–</span>`}${linked || !state.widget ? nothing : html` <span class="soft">not connected</span>`}</td>
      <td class="nowrap wide">${state.session ? moment(state.session.started_at) : html`<span class="soft">–</span>`}</td></tr>`;
  }

  sessionTable() {
    const { rows, error } = this.sessions;
    const shown = (rows ?? []).filter((each) => this.wanted([each.charger, each.widget ?? "", each.ended_by ?? "running"])).reverse();
    const ended = shown.filter((each) => each.duration_s !== null);
    const metered = shown.filter((each) => typeof each.kwh === "number");
    const hours = ended.reduce((sum, each) => sum + each.duration_s, 0) / 3600;
    return html`<section class="card"><header><h2>Sessions</h2>
        <span class="soft small">${rows === null ? "Loading…" : `${number(shown.length)} sessions; times are plant time`}</span>
        <button class="button plain" ?disabled=${!shown.length} @click=${() => download("sessions.csv", shown)}>CSV</button></header>
      ${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      <dl class="figures flat"><div><dt>Ended</dt><dd>${number(ended.length)}</dd></div><div><dt>Running</dt><dd>${number(shown.filter((each) => each.ended_by === null).length)}</dd></div>
        <div><dt>Charging time</dt><dd>${number(hours, 1)}<span class="unit">h</span></dd></div><div><dt>Mean duration</dt><dd>${ended.length ? number((60 * hours) / ended.length) : "–"}<span class="unit">min</span></dd></div>
        ${metered.length ? html`<div><dt>Energy</dt><dd>${number(metered.reduce((sum, each) => sum + each.kwh, 0), 1)}<span class="unit">kWh</span></dd></div>` : nothing}
        <div><dt>Charge added</dt><dd>${number(ended.reduce((sum, each) => sum + Math.max(0, (each.soc_end ?? each.soc_start) - each.soc_start), 0) / 100, 1)}<span class="unit">full batteries</span></dd></div></dl>
      <div class="table tall"><table aria-label="Sessions">
        <thead><tr><th>Charger</th><th class="wide">Widget</th><th>Started</th><th class="wide">Ended</th><th class="number wide">From</th><th class="number">To</th><th class="number wide">kWh</th><th class="number">Duration</th><th class="wide">Ended by</th></tr></thead>
        <tbody>${shown.slice(0, MOST_ROWS).map((each) => html`<tr><td>${each.charger}</td><td class="wide">${each.widget ?? "–"}</td><td class="nowrap">${moment(each.started_at)}</td>
          <td class="nowrap wide">${each.ended_at ? moment(each.ended_at) : html`<span class="state ok">running</span>`}</td><td class="number wide">${each.soc_start === null ? "–" : `${number(each.soc_start)} %`}</td>
          <td class="number">${each.soc_end === null ? "–" : `${number(each.soc_end)} %`}</td><td class="number wide">${number(each.kwh, 2)}</td><td class="number">${each.duration_s === null ? html`<span class="narrow state ok">running</span><span class="wide">–</span>` : `${number(each.duration_s / 60)} min`}</td><td class="wide">${each.ended_by ?? ""}</td></tr>`)}</tbody></table>
        ${rows !== null && !shown.length ? html`<p class="empty">No session began or ended in this time.</p>` : nothing}
        ${shown.length > MOST_ROWS ? html`<p class="empty">The newest ${number(MOST_ROWS)} are shown; the CSV has all.</p>` : nothing}</div></section>`;
  }
}

customElements.define("charging-view", ChargingView);
