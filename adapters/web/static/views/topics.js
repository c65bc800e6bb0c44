/** The tree of all topics, and one of them in detail. */
import { Element, html, nothing } from "../element.js";
import { connection } from "../connection.js";
import { Asked } from "../asked.js";
import { save } from "../download.js";
import { age, instant, moment, number, rate, size } from "../format.js";
import "../topic-tree.js";
import { session } from "../session.js";
import { numericFields } from "../series.js";
import { differences, pretty } from "../json.js";

/** Messages in the list of a topic, and lines in the list of differences. */
const LISTED = 50, DIFFERENCES = 12;

/** Properties that are shown as what they mean. */
const STAMP = ["source", "boot", "seq", "plant-time", "cause"];

class TopicsView extends Element {
  filter = "";
  /** @type {string | null} */
  topic = null;
  /** @type {any} */
  message = null;
  /** The message before it, while the page showed it. @type {any} */
  earlier = null;
  messages = new Asked("messages", () => this.update());
  count = 0;
  /** @type {string | null} */
  outcome = null;
  /** @type {string | null} */
  error = null;
  /** What the export says. @type {{text: string, wrong: boolean} | null} */
  exported = null;
  rate = 0;
  summary = { total: 0, topics: 0, found: null, skipped: 0 };
  /** @type {{change: (request: object) => void, hide: () => void} | null} */
  live = null;

  begin() {
    const query = new URLSearchParams(location.search);
    this.filter = query.get("filter") ?? "";
    this.topic = query.get("topic");
    this.cleanups.push(() => this.live?.hide(), () => this.messages.stop(), () => clearTimeout(this.soon));
    this.choose(this.topic);
    this.every(1000, () => this.update());
  }

  /** @param {string | null} topic */
  choose(topic) {
    this.live?.hide();
    this.live = null;
    this.topic = topic;
    this.message = this.earlier = this.exported = null;
    if (topic !== null) this.messages.want({ topic, rows: LISTED });
    if (topic !== null) this.live = connection.show({ show: "topic", topic }, (content) => {
      this.earlier = this.message;
      this.message = content.message;
      this.count = content.count;
      this.rate = content.rate;
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.messages.ask(), 1000);
      this.update();
    });
    this.keep();
    this.update();
  }

  /** Show the topic that was chosen, where it is below the tree. */
  reveal() {
    requestAnimationFrame(() => requestAnimationFrame(() => {
      const detail = this.querySelector("section[aria-label=Topic]");
      if (detail && detail.getBoundingClientRect().top > innerHeight * 0.6) detail.scrollIntoView({ block: "center" });
    }));
  }

  /** Keep filter and topic in the address. */
  keep() {
    const query = new URLSearchParams();
    if (this.filter) query.set("filter", this.filter);
    if (this.topic !== null && this.topic !== undefined) query.set("topic", this.topic);
    const text = query.toString();
    history.replaceState(null, "", text ? `/topics?${text}` : "/topics");
  }

  /** @param {string} text */
  search(text) {
    this.filter = text;
    const tree = /** @type {any} */ (this.querySelector("topic-tree"));
    if (tree) tree.filter = text;
    this.keep();
    this.update();
  }

  template() {
    const { topics, found, skipped } = this.summary;
    return html`<div class="topics">
      <section class="card" aria-label="All topics">
        <header class="bar">
          <label class="hidden-label" for="filter">Filter</label>
          <input class="field grow" type="search" id="filter" placeholder="Text, or an MQTT filter: heating/+/state" .value=${this.filter}
            autocomplete="off" spellcheck="false" @input=${(event) => this.search(event.target.value)}>
          <span class="small soft number" role="status">${found === null || found === undefined ? `${number(topics)} topics` : `${number(found)} of ${number(topics)}`}${skipped ? html` · <span title="Values that were replaced before this page took them. All are recorded.">${number(skipped)} skipped</span>` : nothing}</span>
        </header>
        <topic-tree .filter=${this.filter} .chosen=${this.topic}
          @summary=${(event) => { this.summary = event.detail; this.update(); }}
          @choose=${(event) => { this.choose(event.detail); this.reveal(); }}></topic-tree>
      </section>
      ${this.topic === null || this.topic === undefined ? nothing : this.detail()}
    </div>`;
  }

  detail() {
    const message = this.message, before = this.before();
    // The page takes all messages at QoS 0: that of the publisher is in the recording.
    const recorded = message && (this.messages.rows ?? []).find((each) => each.seq === message.seq && each.boot === message.boot && each.payload === message.payload);
    return html`<section class="card" aria-label="Topic">
      <header><h2 class="mono cut" title=${this.topic}>${this.topic}</h2>
        <button class="button plain" @click=${() => this.choose(null)}>Close</button></header>
      <div class="body stack">
        ${message ? html`
          <pre class="payload" tabindex="0">${pretty(message.payload, before)}</pre>
          ${this.changes(message.payload, before)}
          <dl class="facts">
            <dt>Received</dt><dd>${instant(message.at)} <span class="soft">· ${age(message.at)}${this.rate ? ` · ${rate(this.rate)}` : ""}</span></dd>
            ${message.plant_at ? html`<dt>Plant time</dt><dd>${instant(message.plant_at)}</dd>` : nothing}
            <dt>From</dt><dd>${message.source ?? html`<span class="soft">no stamp</span>`} <a href=${recorded ? `/why?number=${recorded.number}` : `/why?${new URLSearchParams({ topic: this.topic ?? "" })}`}>Why?</a> ${message.seq ? html`<span class="soft">· ${number(message.seq)} of start ${message.boot}</span>` : nothing}</dd>
            <dt>MQTT</dt><dd>${recorded ? `QoS ${recorded.qos} · ` : ""}${message.retain ? "retained · " : ""}${size(message.bytes)}${message.content_type ? ` · ${message.content_type}` : ""}</dd>
            ${(message.properties ?? []).filter(([name]) => !STAMP.includes(name)).map(([name, value]) => html`<dt class="cut" title=${name}>${name}</dt><dd class="anywhere">${value}</dd>`)}
          </dl>
          ${this.fields(message.payload)}` : html`<p class="soft">Nothing has arrived on this topic since the page was opened.</p>`}
        ${this.publishForm(message)}
        ${this.history()}
      </div>
    </section>`;
  }

  /** The payload before this one: as the page saw it, else as it is recorded. @returns {string | undefined} */
  before() {
    if (this.earlier) return this.earlier.payload;
    const rows = this.messages.rows ?? [];
    return (rows[0]?.payload === this.message?.payload ? rows[1] : rows[0])?.payload;
  }

  /** What is different from the payload before. @param {string} payload @param {string | undefined} before */
  changes(payload, before) {
    if (before === undefined) return nothing;
    const found = differences(payload, before);
    return html`<dl class="facts" aria-label="Difference to the message before"><dt>Difference</dt><dd>${found.length ? nothing : html`<span class="soft">none to the message before</span>`}
      ${found.slice(0, DIFFERENCES).map((each) => html`<div class="change">${each.path ? html`<span class="soft">${each.path}</span> ` : nothing}<del class="mono">${each.before ?? "nothing"}</del> → <ins class="mono">${each.now ?? "nothing"}</ins></div>`)}
      ${found.length > DIFFERENCES ? html`<span class="soft">and ${number(found.length - DIFFERENCES)} more</span>` : nothing}</dd></dl>`;
  }

  /** Links to charts of the numbers in a payload. @param {string} payload */
  fields(payload) {
    const fields = numericFields(payload);
    return fields.length ? html`<ul class="bar" aria-label="Charts">${fields.map((field) => html`<li><a class="chip" href=${`/timeline?${new URLSearchParams({ topic: this.topic ?? "", field })}`}>${field || "value"}</a></li>`)}</ul>` : nothing;
  }

  /** The last messages of the topic, from the recording. */
  history() {
    const { rows, error } = this.messages;
    return html`<section><header class="bar"><h3 class="rest">Last messages</h3>
        ${["csv", "parquet"].map((form) => html`<button class="button plain" type="button" title="All recorded messages of the topic" ?disabled=${!rows?.length} @click=${() => this.export(form)}>${form === "csv" ? "CSV" : "Parquet"}</button>`)}</header>
      ${this.exported ? html`<p class=${this.exported.wrong ? "alert" : "small soft"} role=${this.exported.wrong ? "alert" : "status"}>${this.exported.text}</p>` : nothing}
      ${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
      <div class="table tall"><table aria-label="Last messages"><thead><tr><th>Received</th><th>Payload</th><th class="wide">From</th></tr></thead>
      <tbody>${(rows ?? []).map((each) => html`<tr><td class="nowrap"><a href=${`/why?number=${each.number}`} title="What it follows from">${moment(each.at_s)}</a></td><td class="mono wrap">${each.payload.slice(0, 400)}</td><td class="nowrap soft wide">${each.source ?? ""}</td></tr>`)}</tbody></table>
      ${rows && !rows.length ? html`<p class="empty">Nothing is recorded on this topic.</p>` : nothing}</div></section>`;
  }

  /** Save all messages of the topic. @param {string} form `csv` or `parquet` */
  async export(form) {
    this.exported = { text: "Counting…", wrong: false };
    this.update();
    try {
      const rows = await save(`/export?${new URLSearchParams({ topic: this.topic ?? "", format: form })}`);
      this.exported = { text: `${number(rows)} messages are being saved: the browser shows how far it is.`, wrong: false };
    } catch (error) {
      this.exported = { text: /** @type {Error} */ (error).message, wrong: true };
    }
    this.update();
  }

  /** @param {any} message */
  publishForm(message) {
    return html`<form class="form" aria-label="Publish" @submit=${(event) => this.publish(event)}>
      <label>Payload to publish<textarea class="field" name="payload" rows="2" spellcheck="false" .defaultValue=${message?.payload ?? ""}></textarea></label>
      <div class="bar"><label class="bar"><input type="checkbox" name="retain" ?checked=${message?.retain}> Retain</label>
        <button class="button main">Publish</button><span class="small soft" role="status">${this.outcome ?? ""}</span></div>
      ${this.error ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
    </form>`;
  }

  /** @param {SubmitEvent} event */
  async publish(event) {
    event.preventDefault();
    const form = new FormData(/** @type {HTMLFormElement} */ (event.target));
    this.error = this.outcome = null;
    try {
      const { acknowledged_ms } = await session.publish(this.topic ?? "", String(form.get("payload")), form.has("retain"));
      this.outcome = `acknowledged after ${number(acknowledged_ms)} ms`;
    } catch (error) {
      this.error = /** @type {Error} */ (error).message;
    }
    this.update();
  }
}

customElements.define("topics-view", TopicsView);
