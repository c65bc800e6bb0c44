/** The state of the whole system: its components, the recorder, and what needs attention. */
import { Element, html, nothing } from "../element.js";
import { LatestMessages } from "../latest.js";
import { age, instant, number, size } from "../format.js";

const FILTERS = ["components/+/state", "components/+/warning", "storage/stats", "heating/+/state", "energy/+/anomaly", "rejected/+", "storage/drift"];
/** Alarms of the past hour are listed, and those that last. */
const LISTED_S = 3600;

class NowView extends Element {
  /** @type {LatestMessages} */
  latest;
  /** @type {{at: number, committed: number}[]} */
  history = [];

  begin() {
    this.latest = new LatestMessages(FILTERS, () => this.update());
    this.cleanups.push(() => this.latest.hide());
    this.every(1000, () => this.update());
  }

  /** @param {any} stats @returns {number | null} messages per second over the last ten seconds */
  rate(stats) {
    const at = Date.parse(stats.at) / 1000;
    const last = this.history[this.history.length - 1];
    if (last && at < last.at) this.history = [];
    if (!last || at > last.at) this.history.push({ at, committed: stats.committed });
    while (this.history.length > 2 && this.history[0].at < at - 10) this.history.shift();
    const first = this.history[0];
    return at > first.at ? Math.max(0, (stats.committed - first.committed) / (at - first.at)) : null;
  }

  template() {
    const stats = this.latest.all.get("storage/stats")?.value;
    const now = Date.now() / 1000;
    return html`<div class="stack">
      ${stats ? this.figures(stats) : nothing}
      ${this.alarms(now)}
      ${this.components(now)}
    </div>`;
  }

  /** @param {any} stats */
  figures(stats) {
    const rate = this.rate(stats);
    return html`<dl class="figures">
      <div><dt>Recorded</dt><dd>${rate === null ? "–" : number(rate, rate < 10 ? 1 : 0)} <small>messages/s</small></dd></div>
      <div><dt>Until committed</dt><dd>${number(stats.commit_p50_s * 1000)} <small>ms, 99 %: ${number(stats.commit_p99_s * 1000)} ms</small></dd></div>
      <div><dt>Waiting</dt><dd>${number(stats.queued)} <small>messages</small></dd></div>
      <div><dt>Rejected</dt><dd>${number(stats.rejected)} <small>since its start</small></dd></div>
      <div><dt>Database</dt><dd>${size(stats.database_bytes + stats.wal_bytes)}</dd></div>
      <div><dt>Disk free</dt><dd>${size(stats.free_bytes)}</dd></div>
    </dl>`;
  }

  /** @param {number} now */
  alarms(now) {
    const found = [
      ...this.latest.under("heating/", "/state").flatMap((each) => (each.value.alarms ?? []).map((text) => ({ at: each.at, kind: "bad", what: `Room ${each.levels[1]}`, text, link: `/heating/${encodeURIComponent(each.levels[1])}` }))),
      ...this.latest.under("components/", "/warning").map((each) => ({ at: each.at, kind: "warn", what: each.levels[1], text: each.value.text, link: topicLink(each.topic) })),
      ...this.latest.under("rejected/").filter((each) => now - each.at < LISTED_S).map((each) => ({ at: each.at, kind: "warn", what: `Rejected by ${each.levels[1]}`, text: `${each.value.topic}: ${each.value.reason}`, link: topicLink(each.topic) })),
      ...this.latest.under("energy/", "/anomaly").filter((each) => now - each.at < LISTED_S).map((each) => ({ at: each.at, kind: "warn", what: `Ship ${each.levels[1]}`, text: describe(each.value), link: `/energy/${encodeURIComponent(each.levels[1])}` })),
      ...this.latest.under("storage/drift").filter((each) => now - each.at < LISTED_S).map((each) => ({ at: each.at, kind: "warn", what: each.value.topic, text: `${each.value.change}: ${each.value.field}`, link: topicLink(each.value.topic) })),
      ...this.latest.under("components/", "/state").filter((each) => each.value.state !== "online").map((each) => ({ at: each.at, kind: "bad", what: each.levels[1], text: "offline", link: topicLink(each.topic) })),
    ].sort((a, b) => b.at - a.at);
    return html`<section class="card"><header><h2>Alarms</h2><span class="soft small">${found.length ? number(found.length) : "none"}</span></header>
      <div class="table"><table aria-label="Alarms"><thead ?hidden=${!found.length}><tr><th>Since</th><th>From</th><th>What</th></tr></thead>
      <tbody>${found.map((each) => html`<tr><td class="nowrap soft" title=${instant(each.at)}>${age(each.at, now)}</td>
        <td class="nowrap"><a class="state ${each.kind}" href=${each.link}>${each.what}</a></td><td>${each.text}</td></tr>`)}</tbody></table>
      ${found.length ? nothing : html`<p class="empty">Nothing needs attention.</p>`}</div></section>`;
  }

  /** @param {number} now */
  components(now) {
    const states = this.latest.under("components/", "/state").sort((a, b) => a.topic.localeCompare(b.topic));
    return html`<section class="card"><header><h2>Components</h2><span class="soft small">${number(states.filter((each) => each.value.state === "online").length)} of ${number(states.length)} online</span></header>
      <div class="table"><table aria-label="Components"><thead><tr><th>Name</th><th>State</th><th>Since</th><th class="wide">Release</th></tr></thead>
      <tbody>${states.map((each) => { const since = started(each.value.boot) ?? each.at; return html`<tr><td><a href=${topicLink(each.topic)}>${each.levels[1]}</a></td>
        <td><span class="state ${each.value.state === "online" ? "ok" : "bad"}">${each.value.state}</span></td>
        <td class="nowrap soft" title=${instant(since)}>${age(since, now)}</td><td class="soft wide">${each.value.version}</td></tr>`; })}</tbody></table></div></section>`;
  }
}

/** @param {string} topic */
function topicLink(topic) {
  return `/topics?topic=${encodeURIComponent(topic)}`;
}

/** When a start began: its identifier begins with milliseconds since 1970 in hexadecimal. @param {string} boot */
function started(boot) {
  const ms = parseInt(String(boot).slice(0, 12), 16);
  return ms > 1.5e12 && ms < 4e12 ? ms / 1000 : null;
}

/** @param {any} anomaly */
function describe(anomaly) {
  return anomaly.text ?? anomaly.kind ?? JSON.stringify(anomaly);
}

customElements.define("now-view", NowView);
