/**
 * The tree of topics. Only the rows in sight exist as elements: the server computes them, so 100,000 topics cost no more here
 * than 50. Keys as in the tree pattern of the ARIA guide: arrows, Home, End, Enter, and letters in the filter.
 */
import { Element, html, nothing } from "./element.js";
import { connection } from "./connection.js";
import { timeWindow } from "./window.js";
import { age, rate } from "./format.js";

/** Rows before and after those in sight. */
const MARGIN = 15;

class TopicTree extends Element {
  /** Height of a row, in pixels. */
  rowHeight = 30;

  constructor() {
    super();
    /** @type {Set<string>} */
    this.opened = new Set();
    /** @type {any[]} */
    this.rows = [];
    this.start = this.total = 0;
    this.cursor = 0;
    this._filter = "";
    /** Whether a search goes on. */
    this.more = false;
    /** Why the filter cannot be used. */
    this.error = "";
    /** @type {string | null} */
    this._chosen = null;
  }

  set filter(text) {
    if (text === this._filter) return;
    this._filter = text;
    this.cursor = 0;
    const box = this.querySelector(".tree");
    if (box) box.scrollTop = 0;
    this.ask();
  }

  set chosen(topic) {
    this._chosen = topic;
    this.update();
  }

  begin() {
    this.rowHeight = parseFloat(getComputedStyle(this).getPropertyValue("--row")) * 16;
    this.live = connection.show(this.request(0, 60), (content) => this.take(content));
    this.cleanups.push(() => this.live?.hide());
    this.every(1000, () => this.update());
    this.listen(window, "resize", () => this.ask());
    this.listen(timeWindow, "scrub", () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.ask(), 120);
    });
    requestAnimationFrame(() => requestAnimationFrame(() => this.ask()));
  }

  /** @param {number} start @param {number} count */
  request(start, count) {
    const at = timeWindow.at === null ? {} : { at: timeWindow.at };
    return { show: "tree", open: [...this.opened], filter: this._filter, start, count, ...at };
  }

  /** Ask for the rows in sight. */
  ask() {
    const box = this.querySelector(".tree");
    if (!box || !this.live) return;
    const first = Math.floor(box.scrollTop / this.rowHeight);
    const fit = Math.ceil(box.clientHeight / this.rowHeight);
    const wanted = JSON.stringify(this.request(Math.max(0, first - MARGIN), fit + 2 * MARGIN));
    if (wanted === this.wanted) return;
    this.wanted = wanted;
    this.live.change(JSON.parse(wanted));
  }

  /** @param {any} content */
  take(content) {
    if (content.error) Object.assign(this, { rows: [], total: 0 });
    if (content.error || content.total !== undefined) this.error = content.error ?? "";
    if (content.rows) {
      this.rows = content.rows;
      this.start = content.start;
    }
    for (const [index, value] of Object.entries(content.values ?? {})) Object.assign(this.rows[Number(index)] ?? {}, value);
    if (content.more !== undefined) this.more = content.more;
    if (content.total !== undefined) {
      this.total = content.total;
      this.detail = { ...this.detail, total: content.total, topics: content.topics, found: content.found };
    }
    if (content.skipped !== undefined || content.total !== undefined) {
      this.detail = { ...this.detail, skipped: content.skipped ?? 0 };
      this.dispatchEvent(new CustomEvent("summary", { detail: this.detail }));
    }
    this.update();
  }

  /** @param {any} row */
  toggle(row) {
    if (row.open === null || row.open === undefined) return;
    if (row.open) this.opened.delete(row.path);
    else this.opened.add(row.path);
    row.open = !row.open;
    this.wanted = "";
    this.ask();
    this.update();
  }

  /** @param {any} row @param {number} index */
  choose(row, index) {
    this.cursor = index;
    if (row.at !== undefined) this.dispatchEvent(new CustomEvent("choose", { detail: row.path }));
    else this.toggle(row);
    this.update();
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const row = this.rows[this.cursor - this.start];
    const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 15, PageUp: -15, Home: -this.total, End: this.total }[event.key];
    if (step !== undefined) this.move(this.cursor + step);
    else if (event.key === "ArrowRight" && row) row.open === false ? this.toggle(row) : row.open && this.move(this.cursor + 1);
    else if (event.key === "ArrowLeft" && row) row.open && !this._filter ? this.toggle(row) : this.moveToParent(row);
    else if ((event.key === "Enter" || event.key === " ") && row) this.choose(row, this.cursor);
    else return;
    event.preventDefault();
  }

  /** @param {any} row */
  moveToParent(row) {
    for (let index = this.cursor - this.start; index >= 0; index--) {
      if (this.rows[index].depth < row.depth) return this.move(index + this.start);
    }
  }

  /** @param {number} index */
  move(index) {
    this.cursor = Math.max(0, Math.min(this.total - 1, index));
    const box = this.querySelector(".tree");
    if (!box) return;
    const top = this.cursor * this.rowHeight;
    if (top < box.scrollTop) box.scrollTop = top;
    else if (top + this.rowHeight > box.scrollTop + box.clientHeight) box.scrollTop = top + this.rowHeight - box.clientHeight;
    this.update();
  }

  template() {
    const now = timeWindow.at ?? Date.now() / 1000;
    return html`<div class="tree" role="tree" aria-label="Topics" tabindex="0" aria-activedescendant=${`row-${this.cursor}`}
        @scroll=${() => this.ask()} @keydown=${(event) => this.key(event)}>
      <div class="space" role="presentation" .style=${`height:${this.total * this.rowHeight}px`}>
        ${this.rows.map((row, offset) => this.row(row, this.start + offset, now))}
      </div>
      ${this.error ? html`<p class="alert flat" role="alert">${this.error}</p>` : this.total ? nothing : html`<p class="empty">${this._filter ? (this.more ? "Searching …" : "No topic matches.") : "Nothing has arrived yet."}</p>`}
    </div>`;
  }

  /** @param {any} row @param {number} index @param {number} now */
  row(row, index, now) {
    const level = row.level === "" ? "/" : row.level;
    return html`<div class="treerow ${row.at && now - row.at < 1.5 ? "fresh" : ""}" role="treeitem" id="row-${index}"
        aria-level=${row.depth + 1} aria-posinset=${row.position} aria-setsize=${row.siblings}
        aria-expanded=${row.open === null || row.open === undefined ? nothing : row.open} aria-selected=${row.path === this._chosen}
        .style=${`top:${index * this.rowHeight}px;--depth:${row.depth}${index === this.cursor ? ";box-shadow:inset 2px 0 var(--accent)" : ""}`} @click=${() => this.choose(row, index)}>
      <span class="twist ${row.open === null || row.open === undefined ? "leaf" : ""}" @click=${(event) => { event.stopPropagation(); this.toggle(row); }}></span>
      <span class="level cut">${level}</span>
      ${row.at === undefined ? html`<span class="chip">${row.topics}</span><span class="value"></span>` : html`<span class="value cut">${row.value}</span>
        <span class="rate">${rate(row.rate)}</span><span class="age">${age(row.at, now)}</span>`}
    </div>`;
  }
}

customElements.define("topic-tree", TopicTree);
