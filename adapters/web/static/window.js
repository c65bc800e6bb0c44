/** The window of time that all views share, kept in the address: `since` and `until` as RFC 3339 or `1h`; no `until` is live. */

const UNITS = { s: 1, m: 60, h: 3600, d: 86400, w: 604800 };
export const SPANS = ["15m", "1h", "6h", "1d", "7d", "30d", "365d"];

/** @param {string} text @returns {number | null} seconds */
export function span(text) {
  const match = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text);
  return match ? Number(match[1]) * UNITS[/** @type {keyof typeof UNITS} */ (match[2])] : null;
}

export class TimeWindow extends EventTarget {
  constructor() {
    super();
    this.since = "1h";
    this.until = "";
    /** The instant as of which every view shows the plant, seconds since 1970; null: now. @type {number | null} */
    this.at = null;
  }

  /** Show the plant as of an instant. @param {number | null} at seconds since 1970, null for now */
  scrub(at) {
    if (at === this.at) return;
    this.at = at;
    this.dispatchEvent(new Event("scrub"));
  }

  /** @param {URLSearchParams} query */
  read(query) {
    this.since = valid(query.get("since")) ?? this.since;
    this.until = valid(query.get("until")) ?? "";
  }

  /** @param {URLSearchParams} query */
  write(query) {
    query.set("since", this.since);
    if (this.until) query.set("until", this.until);
    else query.delete("until");
  }

  get live() {
    return !this.until;
  }

  /** @returns {{from: number, until: number}} in seconds since 1970 */
  bounds(now = Date.now() / 1000) {
    const until = this.until ? instant(this.until, now) : now;
    return { from: Math.min(instant(this.since, until), until - 1), until };
  }

  /** Show the time between two instants, in seconds; live if that reaches the present. @param {number} from @param {number} until */
  show(from, until) {
    const now = Date.now() / 1000;
    const iso = (at) => new Date(at * 1000).toISOString();
    if (until >= now - (until - from) * 0.02) this.set(`${Math.max(1, Math.round(now - from))}s`);
    else this.set(iso(from), iso(until));
  }

  /** @param {string} since @param {string} [until] */
  set(since, until = "") {
    this.since = since;
    this.until = until;
    this.dispatchEvent(new Event("change"));
  }
}

/** @param {string | null} text */
function valid(text) {
  return text && (span(text) !== null || !Number.isNaN(Date.parse(text))) ? text : null;
}

/** @param {string} text @param {number} before */
function instant(text, before) {
  const back = span(text);
  return back === null ? Date.parse(text) / 1000 : before - back;
}

export const timeWindow = new TimeWindow();
