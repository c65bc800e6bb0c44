/** Any fields of any topics over one another. */
import { Element, html, nothing } from "../element.js";
import { connection } from "../connection.js";
import { numericFields } from "../series.js";
import { timeWindow } from "../window.js";
import "../field-chart.js";
import "../time-range.js";

/** Rows of the tree that are looked at for proposals. */
const MOST_PROPOSED = 60;

class TimelineView extends Element {
  /** @type {{topic: string, field: string}[]} */
  lines = [];
  /** Topics that contain what was typed, and the numeric fields of that topic. @type {string[]} */
  topics = [];
  /** @type {string[]} */
  fields = [];

  begin() {
    const query = new URLSearchParams(location.search);
    timeWindow.read(query);
    const fields = query.getAll("field");
    this.lines = query.getAll("topic").map((topic, index) => ({ topic, field: fields[index] ?? "" }));
    this.listen(timeWindow, "change", () => this.keep());
    this.cleanups.push(() => this.found?.hide(), () => this.latest?.hide());
  }

  /** Propose topics that contain a text, and the fields of the topic that it is. @param {string} text */
  propose(text) {
    this.found?.hide();
    this.latest?.hide();
    const topic = text.trim();
    if (!topic) return;
    this.found = connection.show({ show: "tree", open: [], filter: topic, start: 0, count: MOST_PROPOSED }, ({ rows }) => {
      if (!rows) return;
      this.topics = rows.filter((each) => each.at !== undefined).map((each) => each.path);
      this.update();
    });
    this.latest = connection.show({ show: "topic", topic }, ({ message }) => {
      this.fields = message ? numericFields(message.payload) : [];
      this.update();
    });
  }

  /** Keep everything in the address. */
  keep() {
    const query = new URLSearchParams();
    for (const { topic, field } of this.lines) {
      query.append("topic", topic);
      query.append("field", field);
    }
    timeWindow.write(query);
    history.replaceState(null, "", `/timeline?${query}`);
  }

  /** @param {{topic: string, field: string}[]} lines */
  change(lines) {
    this.lines = lines;
    this.keep();
    this.update();
  }

  /** @param {SubmitEvent} event */
  add(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target), data = new FormData(form);
    const topic = String(data.get("topic") ?? "").trim();
    if (!topic) return;
    this.change([...this.lines, { topic, field: String(data.get("field") ?? "").trim() }]);
    form.reset();
    this.found?.hide();
    this.latest?.hide();
  }

  template() {
    return html`<section class="stack" aria-label="Timeline">
      <time-range></time-range>
      ${this.lines.length ? html`<field-chart .lines=${this.lines}></field-chart>` : html`<p class="card empty">Add a topic and a field, or choose a number on the Topics page.</p>`}
      ${this.lines.length ? html`<ul class="bar" aria-label="Lines">${this.lines.map((each) => html`<li class="chip">${each.topic} ${each.field ? html`<b>${each.field}</b>` : nothing}
        <button class="button plain small" aria-label=${`Remove ${each.topic} ${each.field}`} @click=${() => this.change(this.lines.filter((other) => other !== each))}>×</button></li>`)}</ul>` : nothing}
      <form class="bar" @submit=${(event) => this.add(event)}>
        <input class="field grow" name="topic" placeholder="Topic" aria-label="Topic" autocomplete="off" spellcheck="false" list="topics" @input=${(event) => this.propose(event.target.value)}>
        <datalist id="topics">${this.topics.map((each) => html`<option value=${each}></option>`)}</datalist>
        <input class="field grow" name="field" placeholder="Field, such as temperature" aria-label="Field" autocomplete="off" spellcheck="false" list="fields">
        <datalist id="fields">${this.fields.map((each) => html`<option value=${each}></option>`)}</datalist>
        <button class="button">Add</button>
      </form>
    </section>`;
  }
}

customElements.define("timeline-view", TimelineView);
