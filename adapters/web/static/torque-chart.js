/**
 * Torques of screws in their order, each with its range: a circle in range, a square out of range.
 * @typedef {{label: string, title: string, torque: number, min: number, max: number, target: number, inRange: boolean}} Screw
 */
import { Element, nothing } from "./element.js";
import { html, svg } from "/vendor/lit-html.js";
import { number } from "./format.js";
import { ticks } from "./ticks.js";

const HEIGHT = 200, LEFT = 44, RIGHT = 8, BOTTOM = 22, TOP = 8;
const WIDEST_SLOT = 72, MOST_LABELS = 12;

class TorqueChart extends Element {
  /** @type {Screw[]} */
  _screws = [];
  label = "";

  /** @param {Screw[]} screws */
  set screws(screws) {
    this._screws = screws;
    this.update();
  }

  begin() {
    const observer = new ResizeObserver(() => this.update());
    observer.observe(this);
    this.cleanups.push(() => observer.disconnect());
  }

  template() {
    const screws = this._screws, width = this.clientWidth;
    if (!width || !screws.length) return nothing;
    const outside = screws.filter((each) => !each.inRange).length;
    return html`<figure class="chart torques" role="img" aria-label=${`${this.label}: ${number(screws.length)} screws, ${number(outside)} out of range`}>
        <figcaption class="legend small"><span><svg width="10" height="10" aria-hidden="true"><circle cx="5" cy="5" r="3.5" class="in"></circle></svg> in range</span>
          <span><svg width="10" height="10" aria-hidden="true"><rect x="1.5" y="1.5" width="7" height="7" class="out"></rect></svg> out of range</span><span class="soft">N·m; bars: the range, with the target</span></figcaption>
        ${this.drawing(screws, width)}</figure>`;
  }

  /** @param {Screw[]} screws @param {number} width */
  drawing(screws, width) {
    const low = Math.min(...screws.map((each) => Math.min(each.min, each.torque))), high = Math.max(...screws.map((each) => Math.max(each.max, each.torque)));
    const room = (high - low || 1) * 0.1, least = low - room, most = high + room;
    const slot = Math.min(WIDEST_SLOT, (width - LEFT - RIGHT) / screws.length), inner = HEIGHT - TOP - BOTTOM;
    const x = (index) => LEFT + (index + 0.5) * slot, y = (torque) => TOP + ((most - torque) / (most - least)) * inner;
    const wide = screws.length > 30 ? slot + 0.5 : Math.min(slot * 0.6, 28), every = Math.ceil(screws.length / Math.min(MOST_LABELS, Math.max(1, width / 56)));
    const right = LEFT + slot * screws.length;
    return html`<svg width=${width} height=${HEIGHT} class="bars" aria-hidden="true">
      ${ticks(least, most).map((each) => svg`<line x1=${LEFT} x2=${Math.max(right, width - RIGHT)} y1=${y(each)} y2=${y(each)} class="grid"></line><text x=${LEFT - 6} y=${y(each) + 4} class="tick end">${number(each, most - least < 1 ? 2 : most - least < 10 ? 1 : 0)}</text>`)}
      ${screws.map((each, index) => svg`<rect x=${x(index) - wide / 2} width=${wide} y=${y(each.max)} height=${Math.max(1, y(each.min) - y(each.max))} class="range"></rect><line x1=${x(index) - wide / 2} x2=${x(index) + wide / 2} y1=${y(each.target)} y2=${y(each.target)} class="target"></line>`)}
      ${screws.map((each, index) => svg`${each.inRange ? svg`<circle cx=${x(index)} cy=${y(each.torque)} r="3.5" class="in"><title>${each.title}</title></circle>` : svg`<rect x=${x(index) - 4} y=${y(each.torque) - 4} width="8" height="8" class="out"><title>${each.title}</title></rect>`}
        ${index % every ? nothing : svg`<text x=${x(index)} y=${HEIGHT - 6} class="tick middle">${each.label}</text>`}`)}
    </svg>`;
  }
}

customElements.define("torque-chart", TorqueChart);
