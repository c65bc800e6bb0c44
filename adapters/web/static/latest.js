/** The latest messages of all topics that match some filters, decoded, as a map that an element can render from. */
import { connection } from "./connection.js";

/**
 * @typedef {{topic: string, levels: string[], at: number, plantAt: string | null, value: any}} Latest
 */

export class LatestMessages {
  /** @param {string[]} filters @param {() => void} onChange */
  constructor(filters, onChange) {
    /** @type {Map<string, Latest>} */
    this.all = new Map();
    this.live = connection.show({ show: "latest", filters }, (content) => {
      if (content.error) return;
      if (content.whole) this.all.clear();
      for (const { topic, payload, at, plant_at } of content.latest) {
        if (payload === "") this.all.delete(topic);
        else this.all.set(topic, { topic, levels: topic.split("/"), at, plantAt: plant_at, value: parsed(payload) });
      }
      onChange();
    });
  }

  /** Those whose topic begins with one text and ends with another. @param {string} prefix @param {string} [suffix] @returns {Latest[]} */
  under(prefix, suffix = "") {
    return [...this.all.values()].filter((each) => each.topic.startsWith(prefix) && each.topic.endsWith(suffix));
  }

  hide() {
    this.live.hide();
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
