/**
 * A chart of values over time, drawn by uPlot. A line never crosses a hole, and values that hold until the next one are steps.
 * Zoom with the wheel, by dragging, with two fingers, or with + and -; move with Shift and dragging, or with the arrows.
 * A value that did not arrive when it was measured has a mark, whose shape says why.
 * @typedef {import("./series.js").Mark} Mark
 * @typedef {{label: string, at: number[], value: (number | null)[], steps: boolean, unit?: string, marks?: Mark[]}} Series `at` in seconds
 */
import uPlot from "/vendor/uPlot.js";
import { Element, html } from "./element.js";
import { timeWindow } from "./window.js";
import { instant, number } from "./format.js";

export const COLOURS = 6;
/** Shortest window, in seconds. */
const SHORTEST_S = 1;
/** Signs of the marks in text, and half their size in the chart, in pixels. */
export const SIGNS = { late: "◇", replayed: "◁", history: "□" };
const MARK_PX = 5;

class TimeChart extends Element {
  constructor() {
    super();
    /** @type {Series[]} */
    this._series = [];
    this._from = this._until = 0;
    this.height = 280;
    /** @type {number | null} */
    this.cursorAt = null;
    /** Which series have the right axis: those that would flatten the others on the left one. @type {boolean[]} */
    this.right = [];
    /** @type {Map<number, {x: number}>} */
    this.fingers = new Map();
  }

  /** @param {{series: Series[], from: number, until: number}} content */
  set content({ series, from, until }) {
    const shape = JSON.stringify(series.map((each) => [each.label, each.steps]));
    const same = shape === this.shape;
    this.shape = shape;
    this._series = series;
    this._from = from;
    this._until = until;
    const right = rightAxis(series, same ? this.right : []);
    if (!same || right.join() !== this.right.join()) this.drop();
    this.right = right;
    this.update();
  }

  begin() {
    const observer = new ResizeObserver(() => this.fit());
    observer.observe(this);
    const dark = matchMedia("(prefers-color-scheme: dark)");
    this.listen(dark, "change", () => { this.drop(); this.update(); });
    this.listen(timeWindow, "scrub", () => this.plot?.redraw(false));
    this.cleanups.push(() => observer.disconnect(), () => this.drop());
  }

  drop() {
    this.plot?.destroy();
    this.plot = null;
  }

  fit() {
    if (this.plot && this.clientWidth) this.plot.setSize({ width: this.clientWidth, height: this.height });
  }

  template() {
    requestAnimationFrame(() => this.draw());
    const at = this.cursorAt;
    return html`<figure class="chart" role="img" aria-label=${this.summary()} tabindex="0"
        @keydown=${(event) => this.key(event)} @wheel=${(event) => this.wheel(event)}
        @pointerdown=${(event) => this.press(event)} @pointermove=${(event) => this.drag(event)}
        @pointerup=${(event) => this.release(event)} @pointercancel=${(event) => this.release(event)}>
      <figcaption class="legend">${this._series.map((each, index) => html`<span><span class="key" .style=${`--colour:var(--series-${(index % COLOURS) + 1})`}></span>${each.label}${this.right[index] ? html` <span class="soft">(right axis)</span>` : ""}
        ${at === null ? "" : html`<b>${this.valueAt(each, at)}</b>`}${marked(each).map(([mark, count]) => html` <span class="soft">${SIGNS[mark]} ${number(count)} ${mark}</span>`)}</span>`)}
        <span class="soft">${at === null ? "" : instant(at)}</span></figcaption>
      <div class="plot"></div>
    </figure>`;
  }

  summary() {
    return this._series.map((each) => {
      const known = each.value.filter((value) => value !== null);
      const marks = marked(each).map(([mark, count]) => `, ${count} ${mark}`).join("");
      return known.length ? `${each.label}: ${number(Math.min(...bounded(known)), 2)} to ${number(Math.max(...bounded(known)), 2)}${marks}` : `${each.label}: no values`;
    }).join("; ") || "no values";
  }

  /** @param {Series} series @param {number} at */
  valueAt(series, at) {
    const index = nearest(series.at, at, series.steps);
    const value = index === -1 ? null : series.value[index];
    return value === null || value === undefined ? "–" : `${number(value, Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : 2)}${series.unit ? ` ${series.unit}` : ""}`;
  }

  draw() {
    const place = /** @type {HTMLElement | null} */ (this.querySelector(".plot"));
    if (!place || !this.clientWidth) return;
    const data = aligned(this._series);
    if (this.plot) {
      this.plot.setData(data, false);
      this.plot.setScale("x", { min: this._from, max: this._until });
      return;
    }
    const style = getComputedStyle(this);
    const colour = (name) => style.getPropertyValue(name).trim();
    const font = `11px ${colour("--font")}`;
    const axis = { stroke: colour("--ink-soft"), font, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    this.plot = new uPlot({
      width: this.clientWidth, height: this.height, legend: { show: false }, padding: [8, 8, 0, 0],
      scales: { x: { time: true, range: () => [this._from, this._until] }, y: { range: (_plot, low, high) => spread(low, high) }, right: { range: (_plot, low, high) => spread(low, high) } },
      axes: [{ ...axis, space: 80, values: (_plot, ticks, _axis, _space, step) => clockTicks(ticks, step) }, ...["y", ...(this.right.includes(true) ? ["right"] : [])].map((scale) => ({ ...axis, scale, size: 48, ...(scale === "right" ? { side: 1, grid: { show: false } } : {}), values: (_plot, ticks) => ticks.map((each) => (each === null ? "" : compact(each))) }))],
      series: [{}, ...this._series.map((each, index) => ({
        label: each.label, scale: this.right[index] ? "right" : "y", stroke: colour(`--series-${(index % COLOURS) + 1}`), width: 1.5, spanGaps: false,
        points: { show: (_plot, _index, first, last) => last - first < 60, size: 4 },
        paths: each.steps ? uPlot.paths.stepped?.({ align: 1 }) : undefined,
      }))],
      cursor: { sync: { key: "scaup" }, drag: { x: false, y: false }, points: { size: 6 }, y: false },
      hooks: { draw: [(plot) => this.mark(plot)], setCursor: [(plot) => this.point(plot)] },
    }, data, place);
    this.plot.setScale("x", { min: this._from, max: this._until });
  }

  /** Mark late and replayed values, and the instant that the page shows. @param {any} plot */
  mark(plot) {
    this._series.forEach((each, index) => drawMarks(plot, each.marks ?? [], getComputedStyle(this), `--series-${(index % COLOURS) + 1}`, this.right[index] ? "right" : "y"));
    const at = timeWindow.at;
    if (at === null || at < this._from || at > this._until) return;
    const x = Math.round(plot.valToPos(at, "x", true));
    plot.ctx.save();
    plot.ctx.strokeStyle = getComputedStyle(this).getPropertyValue("--warn");
    plot.ctx.lineWidth = 2 * devicePixelRatio;
    plot.ctx.beginPath();
    plot.ctx.moveTo(x, plot.bbox.top);
    plot.ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
    plot.ctx.stroke();
    plot.ctx.restore();
  }

  /** @param {any} plot */
  point(plot) {
    const left = plot.cursor.left;
    const at = left === null || left === undefined || left < 0 ? null : plot.posToVal(left, "x");
    if (at === this.cursorAt) return;
    this.cursorAt = at;
    this.update();
  }

  /** @param {number} from @param {number} until */
  move(from, until) {
    if (until - from < SHORTEST_S) return;
    this._from = from;
    this._until = until;
    this.plot?.setScale("x", { min: from, max: until });
    this.dispatchEvent(new CustomEvent("range", { detail: { from, until } }));
  }

  /** @param {number} at @param {number} factor above 1 shows more */
  zoom(at, factor) {
    this.move(at - (at - this._from) * factor, at + (this._until - at) * factor);
  }

  /** @param {number} x of a pointer, on the screen @returns {number} the instant there */
  at(x) {
    const box = this.plot?.over.getBoundingClientRect();
    return box ? this._from + ((x - box.left) / box.width) * (this._until - this._from) : this._from;
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const span = this._until - this._from;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) this.move(this._from + (span * event.deltaX) / 1000, this._until + (span * event.deltaX) / 1000);
    else this.zoom(this.at(event.clientX), Math.exp(event.deltaY / 400));
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button) return;
    this.fingers.set(event.pointerId, { x: event.clientX });
    if (event.shiftKey || event.pointerType === "touch") this.panning = true;
    else this.selectingFrom = event.clientX;
  }

  /** @param {PointerEvent} event */
  drag(event) {
    const finger = this.fingers.get(event.pointerId);
    if (!finger || !this.panning) return;
    const others = [...this.fingers].filter(([id]) => id !== event.pointerId).map(([, each]) => each.x);
    if (others.length === 1) {
      const before = Math.abs(finger.x - others[0]), now = Math.abs(event.clientX - others[0]);
      if (before > 8 && now > 8) this.zoom(this.at((event.clientX + others[0]) / 2), before / now);
    } else if (!others.length) {
      const moved = this.at(finger.x) - this.at(event.clientX);
      this.move(this._from + moved, this._until + moved);
    }
    finger.x = event.clientX;
  }

  /** @param {PointerEvent} event */
  release(event) {
    if (!this.fingers.delete(event.pointerId)) return;
    if (this.selectingFrom !== undefined && Math.abs(event.clientX - this.selectingFrom) > 8) {
      const [from, until] = [this.at(this.selectingFrom), this.at(event.clientX)].sort((a, b) => a - b);
      this.move(from, until);
    }
    this.selectingFrom = undefined;
    if (!this.fingers.size) this.panning = false;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const span = this._until - this._from, middle = (this._from + this._until) / 2;
    if (event.key === "ArrowLeft") this.move(this._from - span / 5, this._until - span / 5);
    else if (event.key === "ArrowRight") this.move(this._from + span / 5, this._until + span / 5);
    else if (event.key === "+" || event.key === "ArrowUp") this.zoom(middle, 1 / 1.5);
    else if (event.key === "-" || event.key === "ArrowDown") this.zoom(middle, 1.5);
    else return;
    event.preventDefault();
  }
}

/**
 * Which series have the right axis. Values on one axis fill at least a quarter of it, unless they are constant; the same unit
 * means the same axis.
 * @param {Series[]} series @param {boolean[]} before stays as it is, so that an axis does not come and go @returns {boolean[]}
 */
export function rightAxis(series, before) {
  /** @type {{low: number, high: number} | null} */
  let left = null;
  return series.map(({ value, unit }, index) => {
    let low = Infinity, high = -Infinity;
    for (const each of value) if (each !== null) [low, high] = [Math.min(low, each), Math.max(high, each)];
    if (before[index]) return true;
    if (low > high) return false;
    const joined = left ? { low: Math.min(left.low, low), high: Math.max(left.high, high) } : { low, high };
    const fits = (range) => range === 0 || range >= (joined.high - joined.low) / 4;
    const same = unit !== undefined && unit === series[0].unit;
    if (left && !same && !(fits(left.high - left.low) && fits(high - low))) return true;
    left = joined;
    return false;
  });
}

/** How many values have each mark. @param {Series} series @returns {[string, number][]} */
function marked(series) {
  return Object.keys(SIGNS).map((mark) => /** @type {[string, number]} */ ([mark, (series.marks ?? []).reduce((sum, each) => sum + (each.mark === mark ? each.count : 0), 0)])).filter(([, count]) => count);
}

/** Draw marks, not over one another. @param {any} plot @param {Mark[]} marks @param {CSSStyleDeclaration} style @param {string} colour @param {string} scale */
function drawMarks(plot, marks, style, colour, scale) {
  const { ctx, bbox } = plot, r = MARK_PX * devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left - r, bbox.top - r, bbox.width + 2 * r, bbox.height + 2 * r);
  ctx.clip();
  ctx.strokeStyle = style.getPropertyValue(colour);
  ctx.fillStyle = style.getPropertyValue("--surface");
  ctx.lineWidth = 1.5 * devicePixelRatio;
  let before = -Infinity;
  for (const { mark, at, value } of marks) {
    const x = plot.valToPos(at, "x", true), y = plot.valToPos(value, scale, true);
    if (x - before < 2.5 * r) continue;
    before = x;
    const corners = mark === "late" ? [[0, -1.2], [1.2, 0], [0, 1.2], [-1.2, 0]] : mark === "replayed" ? [[-1.2, 0], [0.8, -1.1], [0.8, 1.1]] : [[-1, -1], [1, -1], [1, 1], [-1, 1]];
    ctx.beginPath();
    for (const [right, down] of corners) ctx.lineTo(x + right * r, y + down * r);
    ctx.closePath();
    ctx.fill();
    ctx.stroke();
  }
  ctx.restore();
}

/** Put all series on one time axis. @param {Series[]} series @returns {any} */
function aligned(series) {
  if (!series.length) return [[]];
  return uPlot.join(series.map((each) => [each.at, each.value]));
}

/** @param {number | null} low @param {number | null} high @returns {[number, number]} */
function spread(low, high) {
  if (low === null || high === null) return [0, 1];
  const room = high === low ? Math.max(1, Math.abs(high) * 0.05) : (high - low) * 0.08;
  return [low - room, high + room];
}

/** Times as the browser's language writes them; the day where it begins. @param {number[]} ticks in s @param {number} step in s */
function clockTicks(ticks, step) {
  const short = new Intl.DateTimeFormat(undefined, step >= 86400 ? { month: "short", day: "numeric" } : { hour: "2-digit", minute: "2-digit", ...(step < 60 ? { second: "2-digit" } : {}) });
  const day = new Intl.DateTimeFormat(undefined, step >= 86400 ? { year: "numeric" } : { month: "short", day: "numeric" });
  let before = "";
  return ticks.map((each) => {
    const at = new Date(each * 1000), second = day.format(at), text = short.format(at);
    const line = second === before ? text : `${text}\n${second}`;
    before = second;
    return line;
  });
}

/** @param {number} value */
function compact(value) {
  return Intl.NumberFormat(undefined, { notation: Math.abs(value) >= 1e5 ? "compact" : "standard", maximumFractionDigits: 3 }).format(value);
}

/** At most 20,000 of the values, since a call takes no more arguments. @param {any[]} values */
function bounded(values) {
  const step = Math.ceil(values.length / 20000);
  return step > 1 ? values.filter((_, index) => index % step === 0) : values;
}

/** The last value at an instant or before, or with lines the nearest. @param {number[]} all @param {number} at @param {boolean} steps */
function nearest(all, at, steps) {
  let low = 0, high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (all[middle] <= at) low = middle + 1;
    else high = middle;
  }
  if (steps || low === 0) return low - 1;
  return low < all.length && all[low] - at < at - all[low - 1] ? low : low - 1;
}

customElements.define("time-chart", TimeChart);
