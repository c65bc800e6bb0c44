/** Bars of energy, a quarter of an hour each, drawn as SVG: shape and shade tell the quality, a mark what is unusual. */
import { Element, nothing } from "./element.js";
import { html, svg } from "/vendor/lit-html.js";
import { minute, number } from "./format.js";
import { ticks } from "./ticks.js";

const HEIGHT = 240, LEFT = 44, BOTTOM = 22, TOP = 14;

class QuarterBars extends Element {
  /** @type {any} */
  _content = null;
  /** @type {any} */
  pointed = null;

  set content(content) {
    this._content = content;
    this.update();
  }

  begin() {
    const observer = new ResizeObserver(() => this.update());
    observer.observe(this);
    this.cleanups.push(() => observer.disconnect());
  }

  template() {
    if (!this._content || !this.clientWidth) return nothing;
    const { quarters, compared, marks, from, until, name, other } = this._content;
    const width = this.clientWidth, inner = width - LEFT, high = HEIGHT - BOTTOM - TOP;
    const most = Math.max(1e-9, ...[...quarters, ...compared].map((each) => each.kwh ?? 0));
    const least = Math.min(0, ...quarters.map((each) => each.kwh ?? 0));
    const x = (at) => LEFT + ((Date.parse(at) / 1000 - from) / (until - from)) * inner;
    const y = (kwh) => TOP + ((most - kwh) / (most - least)) * high;
    const each = (900 / (until - from)) * inner, wide = each > 4 ? each - 1 : Math.max(0.6, each);
    const pointed = this.pointed, known = new Map(quarters.map((each) => [each.start_at, each.kwh]));
    return html`<figure class="chart" role="img" aria-label=${`Energy of ship ${name}: ${number(quarters.length)} quarters, at most ${number(most, 2)} kWh`}
        @pointermove=${(event) => this.point(event)} @pointerleave=${() => { this.pointed = null; this.update(); }}>
      <figcaption class="legend small">${pointed ? html`<b>${minute(pointed.start_at)}</b> ${number(pointed.kwh, 3)} kWh, ${pointed.quality}, ${number(100 * pointed.coverage)} % covered${marks.has(pointed.start_at) ? html`, <b>${marks.get(pointed.start_at)}</b>` : nothing}` : other ? html`<span><span class="key" .style=${"--colour:var(--series-5)"}></span>ship ${other}</span><span class="soft">kWh</span>` : html`<span class="soft">kWh</span>`}</figcaption>
      <svg width=${width} height=${HEIGHT} class="bars" aria-hidden="true">
        ${ticks(least, most).map((each) => svg`<line x1=${LEFT} x2=${width} y1=${y(each)} y2=${y(each)} class="grid"></line><text x=${LEFT - 6} y=${y(each) + 4} class="tick end">${number(each, most < 10 ? 1 : 0)}</text>`)}
        ${days(from, until).map(([at, text]) => svg`<text x=${LEFT + ((at - from) / (until - from)) * inner} y=${HEIGHT - 6} class="tick">${text}</text>`)}
        ${quarters.map((each) => svg`<rect x=${x(each.start_at)} width=${wide} y=${Math.min(y(each.kwh), y(0))} height=${Math.max(0.5, Math.abs(y(each.kwh) - y(0)))} class=${`quarter ${each.quality} ${marks.has(each.start_at) ? "unusual" : ""}`}></rect>`)}
        ${[...marks.keys()].map((start) => { const x0 = x(start) + wide / 2, y0 = Math.max(2, y(Math.max(0, known.get(start) ?? 0)) - 10); return svg`<path d=${`M${x0} ${y0}l4 7h-8z`} class="mark"></path>`; })}
        ${compared.length ? svg`<path class="compared" d=${path(compared, x, y)}></path>` : nothing}
      </svg></figure>`;
  }

  /** @param {PointerEvent} event */
  point(event) {
    const { quarters, from, until } = this._content;
    const box = /** @type {SVGElement} */ (this.querySelector("svg")).getBoundingClientRect();
    const at = from + ((event.clientX - box.left - LEFT) / (box.width - LEFT)) * (until - from);
    const found = quarters.find((each) => { const start = Date.parse(each.start_at) / 1000; return start <= at && at < start + 900; }) ?? null;
    if (found === this.pointed) return;
    this.pointed = found;
    this.update();
  }
}

/** A line through the quarters that does not cross a hole. @param {any[]} quarters @param {(at: string) => number} x @param {(kwh: number) => number} y */
function path(quarters, x, y) {
  let before = 0;
  return quarters.map((each) => {
    const at = Date.parse(each.start_at), command = at - before > 900_000 ? "M" : "L";
    before = at;
    return `${command}${x(each.start_at).toFixed(1)} ${y(each.kwh ?? 0).toFixed(1)}`;
  }).join("");
}

/** Midnights, or every few hours of a day. @param {number} from @param {number} until @returns {[number, string][]} */
function days(from, until) {
  const hours = until - from <= 90_000 ? 4 : until - from <= 700_000 ? 24 : 96;
  const clock = new Intl.DateTimeFormat(undefined, hours < 24 ? { hour: "2-digit", minute: "2-digit" } : { month: "short", day: "numeric" });
  const first = new Date(from * 1000);
  first.setHours(hours < 24 ? Math.ceil(first.getHours() / hours + 1e-9) * hours : 24, 0, 0, 0);
  /** @type {[number, string][]} */
  const found = [];
  for (const at = first; at.getTime() / 1000 < until; at.setHours(at.getHours() + hours)) found.push([at.getTime() / 1000, clock.format(at)]);
  return found;
}

customElements.define("quarter-bars", QuarterBars);
