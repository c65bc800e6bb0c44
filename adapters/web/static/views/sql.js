/** SQL on the recording. */
import { Element, html, nothing } from "../element.js";
import { connection } from "../connection.js";
import { number } from "../format.js";
import { download } from "../download.js";
import "../time-chart.js";

const MOST_ROWS = 5000;
const KEPT = 30;

class SqlView extends Element {
  text = "";
  /** @type {any} */
  result = null;
  /** @type {string | null} */
  error = null;
  /** @type {string[]} */
  past = [];
  running = 0;
  chart = false;
  /** @type {string[]} */
  proposals = [];
  /** @type {{table: string, columns: string}[] | null} */
  columns = null;
  took = 0;

  begin() {
    this.text = new URLSearchParams(location.search).get("query") ?? "";
    this.cleanups.push(() => this.abort?.abort());
    this.past = JSON.parse(localStorage.getItem("sql") ?? "[]");
    if (this.text) this.run();
    this.tables();
  }

  async tables() {
    try {
      const found = await connection.ask("tables", {});
      this.columns = found.rows;
      this.update();
    } catch {
      // the list is a help only
    }
  }

  async run() {
    const text = this.text.trim();
    if (!text) return;
    this.abort?.abort();
    const abort = (this.abort = new AbortController());
    history.replaceState(null, "", `/sql?${new URLSearchParams({ query: text })}`);
    this.past = [text, ...this.past.filter((each) => each !== text)].slice(0, KEPT);
    localStorage.setItem("sql", JSON.stringify(this.past));
    this.error = null;
    this.running = performance.now();
    this.update();
    try {
      this.result = await connection.ask("sql", { sql: text, rows: MOST_ROWS }, abort.signal);
      this.took = performance.now() - this.running;
    } catch (error) {
      this.error = abort.signal.aborted ? "cancelled" : /** @type {Error} */ (error).message;
      this.result = null;
    }
    this.running = 0;
    this.update();
  }

  /** @returns {HTMLTextAreaElement | null} */
  get box() {
    return this.querySelector("textarea");
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run();
    else if (event.key === "Tab" && this.proposals.length) this.complete(this.proposals[0]);
    else return;
    event.preventDefault();
  }

  /** Propose tables and columns that begin with the word before the cursor. @param {HTMLTextAreaElement} box */
  propose(box) {
    const word = /[\w]+$/.exec(box.value.slice(0, box.selectionStart))?.[0].toLowerCase() ?? "";
    const names = (this.columns ?? []).flatMap((each) => [each.table, ...each.columns.split(", ").map((column) => column.split(" ")[0])]);
    this.proposals = word.length < 2 ? [] : [...new Set(names)].filter((each) => each.toLowerCase().startsWith(word) && each.length > word.length).slice(0, 12);
    this.update();
  }

  /** @param {string} name */
  complete(name) {
    const box = this.box;
    if (!box) return;
    const end = box.selectionStart, start = end - (/[\w]+$/.exec(box.value.slice(0, end))?.[0].length ?? 0);
    box.setRangeText(name, start, end, "end");
    this.text = box.value;
    this.proposals = [];
    box.focus();
    this.update();
  }

  /** Whether there is a column of instants and one of numbers. */
  drawable() {
    const first = this.result?.rows[0];
    return Boolean(first) && this.instants() !== undefined && this.result.columns.some((each) => typeof first[each] === "number");
  }

  /** @returns {string | undefined} */
  instants() {
    return this.result.columns.find((each) => { const value = this.result.rows[0][each]; return typeof value === "string" && /^\d{4}-\d\d-\d\d/.test(value) && !Number.isNaN(Date.parse(value)); });
  }

  drawing() {
    const column = this.instants() ?? "", rows = [...this.result.rows].sort((a, b) => Date.parse(a[column]) - Date.parse(b[column]));
    const at = rows.map((row) => Date.parse(row[column]) / 1000);
    const series = this.result.columns.filter((each) => typeof rows[0][each] === "number").slice(0, 6).map((each) => ({ label: each, at, value: rows.map((row) => row[each]), steps: false }));
    return { series, from: at[0], until: Math.max(at[at.length - 1], at[0] + 1) };
  }

  template() {
    const result = this.result;
    return html`<div class="stack">
      <section class="card"><div class="body stack" .style=${"padding-top:1rem"}>
        <textarea class="field" aria-label="SQL" rows="5" spellcheck="false" placeholder="SELECT topic, count(*) FROM messages GROUP BY topic"
          .value=${this.text} @input=${(event) => { this.text = event.target.value; this.propose(event.target); }} @keydown=${(event) => this.key(event)}></textarea>
        ${this.proposals.length ? html`<ul class="bar" aria-label="Names">${this.proposals.map((each) => html`<li><button class="chip" type="button" @click=${() => this.complete(each)}>${each}</button></li>`)}</ul>` : nothing}
        <div class="bar">
          <button class="button main" @click=${() => this.run()}>Run</button>
          <button class="button" ?disabled=${!this.running} @click=${() => this.abort?.abort()}>Cancel</button>
          <button class="button" ?disabled=${!result?.rows.length} @click=${() => download("result.csv", result.rows)}>CSV</button>
          <button class="button" aria-pressed=${this.chart} ?disabled=${!this.drawable()} @click=${() => { this.chart = !this.chart; this.update(); }}>Chart</button>
          ${this.past.length ? html`<select class="field" aria-label="Earlier queries" @change=${(event) => { this.text = event.target.value || this.text; event.target.value = ""; this.update(); }}><option value="">Earlier queries</option>${this.past.map((each) => html`<option value=${each}>${each.slice(0, 80)}</option>`)}</select>` : nothing}
          <span class="small soft" role="status">${this.running ? "Running…" : this.error === "cancelled" ? "cancelled" : result ? `${number(result.rows.length)} rows in ${number(this.took)} ms${result.truncated ? `: the first ${number(MOST_ROWS)}` : ""}` : `Ctrl and Enter runs it. Tab completes names. At most ${number(MOST_ROWS)} rows and 60 s.`}</span>
        </div>
        ${this.error && this.error !== "cancelled" ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
      </div></section>
      ${this.chart && this.drawable() ? html`<section class="card"><div class="body" .style=${"padding-top:0.75rem"}><time-chart .content=${this.drawing()}></time-chart></div></section>` : nothing}
      <section class="card"><div class="table"><table aria-label="Result"><thead><tr>${(result?.columns ?? []).map((each) => html`<th class=${typeof result.rows[0]?.[each] === "number" ? "number" : ""}>${each}</th>`)}</tr></thead>
        <tbody>${(result?.rows ?? []).map((row) => html`<tr>${result.columns.map((each) => { const value = row[each]; return html`<td class=${typeof value === "number" ? "number" : ""}>${value === null || value === undefined ? html`<span class="soft">null</span>` : typeof value === "object" ? JSON.stringify(value) : String(value)}</td>`; })}</tr>`)}</tbody></table></div></section>
      ${this.columns ? html`<details class="card"><summary .style=${"padding:0.75rem 1rem"}>Tables</summary><div class="body"><dl class="facts">${this.columns.map((each) => html`<dt class="mono">${each.table}</dt><dd class="soft">${each.columns}</dd>`)}</dl></div></details>` : nothing}
    </div>`;
  }
}

customElements.define("sql-view", SqlView);
