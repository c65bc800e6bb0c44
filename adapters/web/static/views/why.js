/** What a message follows from, or what it led to: a tree of messages, down to devices, people and ticks. */
import { Element, html, nothing } from "../element.js";
import { Asked } from "../asked.js";
import { instant, number, span } from "../format.js";

/** @type {Record<string, string>} */
const ENDS = { device: "device", person: "person", tick: "time", expired: "no longer recorded", component: "" };

/** @param {string} text @param {number} most */
const short = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

class WhyView extends Element {
  tree = new Asked("why", () => this.update());
  effects = false;
  /** @type {{number?: number, topic?: string, at?: number}} */
  of = {};

  begin() {
    this.cleanups.push(() => this.tree.stop());
    this.listen(window, "popstate", () => this.read());
    this.read();
  }

  /** Take what the address asks for. */
  read() {
    const query = new URLSearchParams(location.search);
    const [asked, at] = [query.get("number"), query.get("at")];
    this.of = asked ? { number: Number(asked) } : { topic: query.get("topic") ?? "", ...(at ? { at: Number(at) } : {}) };
    this.effects = query.has("effects");
    this.tree.want({ ...this.of, effects: this.effects });
    this.update();
  }

  /** @param {boolean} effects */
  turn(effects) {
    const query = new URLSearchParams(location.search);
    effects ? query.set("effects", "") : query.delete("effects");
    history.replaceState(null, "", `/why?${query}`);
    this.read();
  }

  template() {
    const { rows, error } = this.tree;
    return html`<section class="card" aria-label="Why">
      <header class="bar"><h2 class="grow">${this.effects ? "What it led to" : "What it follows from"}</h2>
        <div class="bar" role="group" aria-label="Direction">
          <button class="button plain" type="button" aria-pressed=${!this.effects} @click=${() => this.turn(false)}>Causes</button>
          <button class="button plain" type="button" aria-pressed=${this.effects} @click=${() => this.turn(true)}>Effects</button></div></header>
      <div class="body">
        ${error ? html`<p class="alert" role="alert">${error}</p>` : nothing}
        ${rows === null && !error ? html`<p class="soft" role="status">Asking the recorder…</p>` : nothing}
        ${rows && !rows.length ? html`<p class="empty">There is no such message. It was never recorded, or its day is over.</p>` : nothing}
        ${rows?.length ? this.branch(rows, 0) : nothing}
      </div></section>`;
  }

  /** The row at a place, and the list of what is below it. @param {any[]} rows @param {number} place */
  branch(rows, place) {
    const row = rows[place];
    const below = [];
    for (let next = place + 1; next < rows.length && rows[next].level > row.level; next++)
      if (rows[next].level === row.level + 1) below.push(next);
    const list = below.length || row.cut ? html`<ol class="causes">${below.map((each) => html`<li>${this.branch(rows, each)}</li>`)}
      ${row.cut ? html`<li><a href=${`/why?number=${row.number}${this.effects ? "&effects" : ""}`}>and more</a></li>` : nothing}</ol>` : nothing;
    return html`${this.message(row, rows[0])}${list}`;
  }

  /** @param {any} row @param {any} root */
  message(row, root) {
    if (row.kind === "tick") return html`<span class="soft">Time has passed: the component decides at intervals.</span>`;
    if (row.kind === "expired") return html`<span class="mono anywhere">${row.cause}</span> <span class="soft">no longer recorded</span>`;
    const apart = row.at - root.at;
    const when = row === root ? instant(row.at) : `${span(Math.abs(apart))} ${apart < 0 ? "before" : "after"}`;
    return html`<div class="cause"><a class="mono anywhere" href=${`/topics?${new URLSearchParams({ topic: row.topic })}`}>${row.topic}</a>
      <span class="mono anywhere">${short(row.payload ?? "", row === root ? 400 : 120)}</span>
      <span class="small soft">${when} · ${row.source ?? "no stamp"}${ENDS[row.kind] ? ` (${ENDS[row.kind]})` : ""} · <a href=${`/why?number=${row.number}${this.effects ? "&effects" : ""}`} title="Begin with this message">${number(row.number)}</a></span></div>`;
  }
}

customElements.define("why-view", WhyView);
