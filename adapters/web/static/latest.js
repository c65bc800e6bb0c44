/** The latest messages of all topics that match some filters, decoded, as a map that an element can render from. */
import { connection } from "./connection.js";
import { timeWindow } from "./window.js";

/** Pause after the last movement of the instant before the past is asked for. */
const SETTLED_MS = 120;

/**
 * @typedef {{topic: string, levels: string[], at: number, plantAt: string | null, value: any}} Latest
 */

export class LatestMessages {
  /** @param {string[]} filters @param {() => void} onChange */
  constructor(filters, onChange) {
    /** @type {Map<string, Latest>} */
    this.all = new Map();
    this.filters = filters;
    this.onChange = onChange;
    /** @type {{hide: () => void} | null} */
    this.live = null;
    this.abort = new AbortController();
    this.follow = () => this.show();
    timeWindow.addEventListener("scrub", this.follow);
    this.show();
  }

  /** Show what is now, or was at the instant of the time window. */
  show() {
    const at = timeWindow.at;
    clearTimeout(this.settling);
    if (at === null) {
      this.abort.abort();
      this.live ??= connection.show({ show: "latest", filters: this.filters }, (content) => content.error || this.take(content.latest, content.whole));
      return;
    }
    this.live?.hide();
    this.live = null;
    this.settling = setTimeout(async () => {
      this.abort.abort();
      const { signal } = (this.abort = new AbortController());
      try {
        const { latest } = await connection.ask("as_of", { filters: this.filters, at }, signal);
        this.take(latest, true);
      } catch {
        // the page shows what is unreachable
      }
    }, SETTLED_MS);
  }

  /** @param {any[]} latest @param {boolean} whole */
  take(latest, whole) {
    if (whole) this.all.clear();
    for (const { topic, payload, at, plant_at } of latest) {
      if (payload === "") this.all.delete(topic);
      else this.all.set(topic, { topic, levels: topic.split("/"), at, plantAt: plant_at, value: parsed(payload) ?? {} });
    }
    this.onChange();
  }

  /** Those whose topic begins with one text and ends with another. @param {string} prefix @param {string} [suffix] @returns {Latest[]} */
  under(prefix, suffix = "") {
    return [...this.all.values()].filter((each) => each.topic.startsWith(prefix) && each.topic.endsWith(suffix));
  }

  hide() {
    timeWindow.removeEventListener("scrub", this.follow);
    clearTimeout(this.settling);
    this.abort.abort();
    this.live?.hide();
  }
}

/** @param {string} payload */
function parsed(payload) {
  try {
    return JSON.parse(payload);
  } catch {
    return payload;
  }
}
