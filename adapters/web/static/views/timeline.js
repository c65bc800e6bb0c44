/** Any fields of any topics over one another. */
import { Element, html, nothing } from "../element.js";
import { timeWindow } from "../window.js";
import "../field-chart.js";
import "../time-range.js";

class TimelineView extends Element {
  /** @type {{topic: string, field: string}[]} */
  lines = [];

  begin() {
    const query = new URLSearchParams(location.search);
    timeWindow.read(query);
    const fields = query.getAll("field");
    this.lines = query.getAll("topic").map((topic, index) => ({ topic, field: fields[index] ?? "" }));
    this.listen(timeWindow, "change", () => this.keep());
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
  }

  template() {
    return html`<section class="stack" aria-label="Timeline">
      <time-range></time-range>
      ${this.lines.length ? html`<field-chart .lines=${this.lines}></field-chart>` : html`<p class="card empty">Add a topic and a field, or choose a number on the Topics page.</p>`}
      ${this.lines.length ? html`<ul class="bar" aria-label="Lines">${this.lines.map((each) => html`<li class="chip">${each.topic} ${each.field ? html`<b>${each.field}</b>` : nothing}
        <button class="button plain small" aria-label=${`Remove ${each.topic} ${each.field}`} @click=${() => this.change(this.lines.filter((other) => other !== each))}>×</button></li>`)}</ul>` : nothing}
      <form class="bar" @submit=${(event) => this.add(event)}>
        <input class="field grow" name="topic" placeholder="Topic" aria-label="Topic" autocomplete="off" spellcheck="false">
        <input class="field" name="field" placeholder="Field, such as temperature" aria-label="Field" autocomplete="off" spellcheck="false">
        <button class="button">Add</button>
      </form>
    </section>`;
  }
}

customElements.define("timeline-view", TimelineView);
