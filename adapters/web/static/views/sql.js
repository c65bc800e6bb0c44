/** SQL on the recording. */
import { Element, html, nothing } from "../element.js";
import { connection } from "../connection.js";
import { number } from "../format.js";

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

  template() {
    const result = this.result;
    return html`<div class="stack">
      <section class="card"><div class="body stack" .style=${"padding-top:1rem"}>
        <textarea class="field" aria-label="SQL" rows="5" spellcheck="false" placeholder="SELECT topic, count(*) FROM messages GROUP BY topic"
          .value=${this.text} @input=${(event) => { this.text = event.target.value; }} @keydown=${(event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.run(); }}></textarea>
        <div class="bar">
          <button class="button main" @click=${() => this.run()}>Run</button>
          <button class="button" ?disabled=${!this.running} @click=${() => this.abort?.abort()}>Cancel</button>
          <span class="small soft" role="status">${this.running ? "Running…" : this.error === "cancelled" ? "cancelled" : result ? `${number(result.rows.length)} rows in ${number(this.took)} ms${result.truncated ? `: the first ${number(MOST_ROWS)}` : ""}` : "Ctrl and Enter runs it"}</span>
        </div>
        ${this.error && this.error !== "cancelled" ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
      </div></section>
      <section class="card"><div class="table"><table aria-label="Result"><thead><tr>${(result?.columns ?? []).map((each) => html`<th>${each}</th>`)}</tr></thead>
        <tbody>${(result?.rows ?? []).map((row) => html`<tr>${result.columns.map((each) => { const value = row[each]; return html`<td class=${typeof value === "number" ? "number" : ""}>${value === null || value === undefined ? html`<span class="soft">null</span>` : typeof value === "object" ? JSON.stringify(value) : String(value)}</td>`; })}</tr>`)}</tbody></table></div></section>
      ${this.columns ? html`<details class="card"><summary .style=${"padding:0.75rem 1rem"}>Tables</summary><div class="body"><dl class="facts">${this.columns.map((each) => html`<dt class="mono">${each.table}</dt><dd class="soft">${each.columns}</dd>`)}</dl></div></details>` : nothing}
    </div>`;
  }
}

customElements.define("sql-view", SqlView);
