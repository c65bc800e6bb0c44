/** The state of the whole system: its components, the recorder, and what needs attention. */
import { Element, html, nothing } from "../element.js";
import { Asked } from "../asked.js";
import { LatestMessages } from "../latest.js";
import { age, instant, number, size, zone } from "../format.js";
import { timeWindow } from "../window.js";

const FILTERS = ["components/+/state", "components/+/warning", "storage/stats", "storage/drift", "heating/+/state", "torque/+/link", "devices/+/state"];
/** What the recorder lists as notices: a new one is a reason to ask. */
const NEWS = ["energy/+/anomaly", "rejected/+", "fastening/+/event"];
/** Changes of the form of messages are listed for this time. */
const DRIFT_S = 86400;
const MOST_ROWS = 200;
/** How to name what a notice is about, and where it is from. @type {Record<string, (name: string) => [string, string]>} */
const SYSTEMS = {
  energy: (name) => [`Ship ${name}`, `/energy/${encodeURIComponent(name)}`],
  fastening: (name) => [name, `/fastening/${encodeURIComponent(name)}`],
  machines: (name) => [`Machine ${name}`, `/machines?machine=${encodeURIComponent(name)}`],
  charging: (name) => [`Charger ${name}`, `/charging?filter=${encodeURIComponent(name)}`],
  rejected: (name) => [`Rejected by ${name}`, topicLink(`rejected/${name}`)],
};

/** @typedef {{at: number, kind: string, what: string, text: string, link: string}} Alarm */

class NowView extends Element {
  /** @type {LatestMessages} */
  latest;
  /** @type {{at: number, committed: number}[]} */
  history = [];
  notices = new Asked("notices", () => this.update());
  gaps = new Asked("gaps", () => this.update());
  broker = new Asked("broker", () => this.update());

  begin() {
    this.latest = new LatestMessages(FILTERS, () => this.update());
    this.news = new LatestMessages(NEWS, () => this.soon());
    this.cleanups.push(() => this.latest.hide(), () => this.news?.hide(), () => clearTimeout(this.timer), () => [this.notices, this.gaps, this.broker].forEach((each) => each.stop()));
    this.listen(timeWindow, "scrub", () => this.soon(true));
    this.every(1000, () => this.update());
    this.every(10_000, () => this.ask());
    this.every(60_000, () => this.gaps.refresh({ until: this.until }));
    this.ask(true);
  }

  get until() {
    return timeWindow.at ?? Date.now() / 1000;
  }

  /** Ask a moment later, at most every two seconds. @param {boolean} [all] */
  soon(all = false) {
    clearTimeout(this.timer);
    this.all = this.all || all;
    this.timer = setTimeout(() => { this.ask(this.all); this.all = false; }, Math.max(300, 2000 - (Date.now() - (this.asked ?? 0))));
  }

  /** @param {boolean} [all] also for gaps, which takes longer */
  ask(all = false) {
    this.asked = Date.now();
    this.notices.refresh({ until: this.until });
    this.broker.refresh({});
    if (all) this.gaps.refresh({ until: this.until });
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
    return html`<div class="stack">
      ${stats ? this.figures(stats) : nothing}
      ${this.alarms(this.until)}
      ${this.components(this.until)}
    </div>`;
  }

  /** @param {any} stats */
  figures(stats) {
    const rate = this.rate(stats), gaps = this.gaps.rows, missing = gaps?.reduce((sum, each) => sum + each.missing, 0);
    const rejected = this.notices.rows?.filter((each) => each.system === "rejected").reduce((sum, each) => sum + each.count, 0);
    return html`<dl class="figures">
      <div><dt>Recorded</dt><dd>${rate === null ? "–" : number(rate, rate < 10 ? 1 : 0)}<span class="unit">/s</span><small>${number(stats.queued)} waiting</small></dd></div>
      <div><dt>Lag until committed</dt><dd>${number(stats.commit_p50_s * 1000)}<span class="unit">ms</span><small>99 % within ${number(stats.commit_p99_s * 1000)} ms</small></dd></div>
      <div><dt>Gaps</dt><dd>${missing === undefined ? "–" : missing ? html`<a class="state bad" href=${sqlLink(gaps?.[0].sql ?? "")}>${number(missing)}</a>` : "0"}<small>missing in a day</small></dd></div>
      <div><dt>Rejected</dt><dd>${rejected === undefined ? "–" : html`<a class=${rejected ? "state warn" : ""} href="/topics?filter=rejected%2F%23">${number(rejected)}</a>`}<small>in a day</small></dd></div>
      <div><dt>Database</dt><dd>${measured(stats.database_bytes + stats.wal_bytes)}<small>${number(stats.committed)} since its start</small></dd></div>
      <div><dt>Disk free</dt><dd>${measured(stats.free_bytes)}<small>${stats.last_error ?? stats.warning ?? "recording"}</small></dd></div>
    </dl>`;
  }

  /** @returns {Alarm[]} */
  found() {
    const now = this.until;
    return [
      ...this.latest.under("heating/", "/state").flatMap((each) => (each.value.alarms ?? []).map((text) => ({ at: each.at, kind: "bad", what: `Room ${each.levels[1]}`, text, link: `/heating/${encodeURIComponent(each.levels[1])}` }))),
      ...this.latest.under("components/", "/warning").map((each) => ({ at: each.at, kind: "warn", what: each.levels[1], text: each.value.text, link: topicLink(each.topic) })),
      ...this.latest.under("components/", "/state").filter((each) => each.value.state !== "online").map((each) => ({ at: each.at, kind: "bad", what: each.levels[1], text: "offline", link: topicLink(each.topic) })),
      ...this.latest.under("torque/", "/link").filter((each) => !each.value.connected).map((each) => ({ at: each.at, kind: "bad", what: each.levels[1], text: `the driver is not connected${each.value.error ? `: ${each.value.error}` : ""}`, link: `/fastening/${encodeURIComponent(each.levels[1])}` })),
      ...this.latest.under("devices/", "/state").filter((each) => each.value.error).map((each) => ({ at: Date.parse(each.value.error_at) / 1000 || each.at, kind: "warn", what: each.levels[1], text: each.value.error, link: topicLink(each.topic) })),
      ...this.latest.under("storage/drift").filter((each) => now - each.at < DRIFT_S).map((each) => ({ at: each.at, kind: "warn", what: each.value.topic, text: `${each.value.change}: ${each.value.field}`, link: topicLink(each.value.topic) })),
      ...(this.gaps.rows ?? []).map((each) => ({ at: each.at_s, kind: "bad", what: `Gap of ${each.source}`, text: `${number(each.missing)} of its messages are not recorded`, link: sqlLink(each.sql) })),
      ...(this.notices.rows ?? []).map((each) => {
        const [what, link] = (SYSTEMS[each.system] ?? ((name) => [name, "/"]))(each.name);
        return { at: each.at_s, kind: each.system === "machines" ? "bad" : "warn", what, text: `${each.text ?? ""}${each.count > 1 ? ` (${number(each.count)} times)` : ""}`, link };
      }),
    ].sort((a, b) => b.at - a.at);
  }

  /** @param {number} now */
  alarms(now) {
    const found = this.found(), error = this.notices.error ?? this.gaps.error;
    return html`<section class="card"><header><h2>Alarms</h2><span class="soft small">${found.length ? `${number(found.length)}, of now and of the past day` : this.notices.rows ? "none" : ""}</span></header>
      ${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      <div class="table tall"><table aria-label="Alarms" class="alarms"><thead ?hidden=${!found.length}><tr><th>Age</th><th>From</th><th>What</th></tr></thead>
      <tbody>${found.slice(0, MOST_ROWS).map((each) => html`<tr><td class="nowrap soft" title=${`${instant(each.at)} · ${zone}`}>${age(each.at, now)}</td>
        <td><a class="state ${each.kind}" href=${each.link}>${each.what}</a></td><td class="wrap">${each.text}</td></tr>`)}</tbody></table>
      ${found.length ? nothing : html`<p class="empty">${this.notices.rows === null && !error ? "Loading…" : "Nothing needs attention."}</p>`}</div></section>`;
  }

  /** @param {number} now */
  components(now) {
    const states = this.latest.under("components/", "/state").sort((a, b) => a.topic.localeCompare(b.topic));
    const rejected = new Map((this.notices.rows ?? []).filter((each) => each.system === "rejected").map((each) => [each.name, each.count]));
    const broker = this.broker.rows?.[0];
    return html`<section class="card"><header><h2>Components</h2><span class="soft small">${number(states.filter((each) => each.value.state === "online").length)} of ${number(states.length)} online</span></header>
      <div class="table"><table aria-label="Components"><thead><tr><th>Name</th><th>State</th><th>Since</th><th class="number">Rejected</th><th class="wide">Release</th></tr></thead>
      <tbody>${broker && timeWindow.at === null ? html`<tr><td>broker</td><td><span class="state ok">online</span></td><td class="nowrap soft">${broker.uptime_s === null ? "–" : age(now - broker.uptime_s, now)}</td><td class="number soft">–</td>
          <td class="soft wide">${broker.version ?? ""}${broker.clients === null ? "" : `, ${number(broker.clients)} clients`}</td></tr>` : nothing}
        ${states.map((each) => { const since = started(each.value.boot) ?? each.at, count = rejected.get(each.levels[1]); return html`<tr><td><a href=${topicLink(each.topic)}>${each.levels[1]}</a></td>
        <td><span class="state ${each.value.state === "online" ? "ok" : "bad"}">${each.value.state}</span></td>
        <td class="nowrap soft" title=${`${instant(since)} · ${zone}`}>${age(since, now)}</td><td class="number">${count ? html`<a href=${topicLink(`rejected/${each.levels[1]}`)}>${number(count)}</a>` : html`<span class="soft">0</span>`}</td><td class="soft wide">${each.value.version}</td></tr>`; })}</tbody></table></div></section>`;
  }
}

/** A size as a figure: the number, and its unit smaller. @param {number} bytes */
function measured(bytes) {
  const [value, unit] = size(bytes).split(" ");
  return html`${value}<span class="unit">${unit}</span>`;
}

/** @param {string} topic */
function topicLink(topic) {
  return `/topics?topic=${encodeURIComponent(topic)}`;
}

/** @param {string} query */
function sqlLink(query) {
  return `/sql?query=${encodeURIComponent(query)}`;
}

/** When a start began: its identifier begins with milliseconds since 1970 in hexadecimal. @param {string} boot */
function started(boot) {
  const ms = parseInt(String(boot).slice(0, 12), 16);
  return ms > 1.5e12 && ms < 4e12 ? ms / 1000 : null;
}

customElements.define("now-view", NowView);
