/** A series of one field of one topic: its history from the recorder, continued by what the recorder commits. */
import { connection } from "./connection.js";

/** Points of a series, as many as a wide screen has pixels, and of its marks. */
const POINTS = 1200, MARKS = 150;

/**
 * Values that did not arrive when they were measured: `late`, `replayed` or `history` (made up by a simulator).
 * @typedef {{mark: string, at: number, value: number, count: number}} Mark
 */

export class FieldSeries {
  /**
   * @param {string} topic
   * @param {string} field path such as `value` or `a.b`, with a backslash before a dot of a name; empty: the payload itself
   * @param {string} [label] @param {string} [unit]
   */
  constructor(topic, field, label, unit) {
    this.topic = topic;
    this.field = field;
    this.label = label ?? (field ? `${topic} · ${field}` : topic);
    this.unit = unit;
    /** @type {number[]} */
    this.at = [];
    /** @type {(number | null)[]} */
    this.value = [];
    /** @type {Mark[]} */
    this.marks = [];
    this.steps = false;
    this.number = 0;
    /** What was recorded before is not continued: without a value in the window it is its beginning, an hour back at most. */
    this.since = 0;
    this.spacing = 0;
    this.count = 0;
    /** @type {string | null} */
    this.error = null;
  }

  /** Load the part between two instants, in seconds. @param {number} from @param {number} until @param {AbortSignal} signal */
  async load(from, until, signal) {
    const { topic, field } = this;
    const found = await connection.ask("series", { topic, field, from, until, points: POINTS }, signal);
    this.since = Math.max(from, until - 3600);
    Object.assign(this, { marks: [], at: found.at, value: found.value, steps: found.steps, number: found.number, spacing: found.spacing, count: found.count });
  }

  /** Load the marks of what was loaded. @param {number} from @param {number} until @param {AbortSignal} signal */
  async loadMarks(from, until, signal) {
    const { topic, field, number } = this;
    if (!number) return;
    const { rows } = await connection.ask("marks", { topic, field, from, until, points: MARKS, number }, signal);
    // What was added meanwhile has a higher number.
    this.marks = [...rows.map(({ mark, at_s, value, count }) => ({ mark, at: at_s, value, count })), ...this.marks];
  }

  /** Add what was recorded since. @param {AbortSignal} signal @returns {Promise<[number, number, number | null, string | null, number | null][]>} number, instant, value, mark and plant time */
  async follow(signal) {
    const { topic, field, number, since } = this;
    const found = await connection.ask("after", { topic, field, number, from: since }, signal);
    for (const [recorded, at, value, mark] of found.rows) {
      this.number = Math.max(this.number, recorded);
      if (value === null) continue;
      const last = this.at.length ? this.at[this.at.length - 1] : null;
      if (last !== null && at - last > Math.max(5 * this.spacing, 5)) {
        this.at.push((at + last) / 2);
        this.value.push(null);
      }
      this.at.push(at);
      this.value.push(value);
      if (mark) this.marks.push({ mark, at, value, count: 1 });
    }
    return found.rows;
  }

  /** Drop what is before an instant. @param {number} from */
  trim(from) {
    let first = 0;
    while (first < this.at.length - 1 && this.at[first + 1] < from) first += 1;
    if (first > POINTS) {
      this.at.splice(0, first);
      this.value.splice(0, first);
    }
    if (this.marks.length && this.marks[0].at < from) this.marks = this.marks.filter((each) => each.at >= from);
  }
}

/** A name as a part of a path, where a dot separates names: `a.b` is `a\.b`. @param {string} name */
function escaped(name) {
  return name.replace(/[\\.]/g, "\\$&");
}

/** The paths of all numbers in a payload. @param {string} payload @returns {string[]} */
export function numericFields(payload) {
  /** @type {string[]} */
  const found = [];
  /** @param {any} value @param {string} path */
  const walk = (value, path) => {
    if (typeof value === "number" || typeof value === "boolean") found.push(path);
    else if (value && typeof value === "object" && found.length < 100) {
      for (const [key, each] of Object.entries(value)) if (key) walk(each, path ? `${path}.${escaped(key)}` : escaped(key));
    }
  };
  try {
    walk(JSON.parse(payload), "");
  } catch {
    // not JSON: there are no fields
  }
  return found;
}
