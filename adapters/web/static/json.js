/** JSON with colours; a value that differs from the one before is marked. */
import { html } from "/vendor/lit-html.js";

/**
 * @param {string} text a payload @param {string} [before] the payload before it
 * @returns {unknown} a template, or the text itself if it is not JSON
 */
export function pretty(text, before) {
  try {
    const value = JSON.parse(text);
    if (typeof value !== "object" || value === null) return text;
    let earlier;
    try {
      earlier = before === undefined ? undefined : JSON.parse(before);
    } catch {
      earlier = undefined;
    }
    return show(value, earlier, before !== undefined, "");
  } catch {
    return text;
  }
}

/**
 * What is different between two payloads in JSON: a path and both values as text, undefined where there is none.
 * @param {string} text @param {string} before @returns {{path: string, before?: string, now?: string}[]}
 */
export function differences(text, before) {
  /** @type {{path: string, before?: string, now?: string}[]} */
  const found = [];
  const nested = (value) => typeof value === "object" && value !== null;
  /** @param {any} now @param {any} then @param {string} path */
  const walk = (now, then, path) => {
    if (nested(now) && nested(then) && Array.isArray(now) === Array.isArray(then)) {
      for (const key of new Set([...Object.keys(then), ...Object.keys(now)])) walk(now[key], then[key], path ? `${path}.${key}` : key);
    } else if (JSON.stringify(now) !== JSON.stringify(then)) found.push({ path, before: JSON.stringify(then), now: JSON.stringify(now) });
  };
  try {
    walk(JSON.parse(text), JSON.parse(before), "");
  } catch {
    if (text !== before) found.push({ path: "", before, now: text });
  }
  return found;
}

/** @param {any} value @param {any} before @param {boolean} compare @param {string} indent @returns {unknown} */
function show(value, before, compare, indent) {
  if (typeof value === "object" && value !== null) {
    const list = Array.isArray(value);
    const entries = list ? value.map((each, index) => [index, each]) : Object.entries(value);
    if (!entries.length) return list ? "[]" : "{}";
    const inner = indent + "  ";
    return html`${list ? "[" : "{"}
${entries.map(([key, each], index) => html`${inner}${list ? "" : html`<span class="json-key">"${key}"</span>: `}${show(each, before?.[key], compare, inner)}${index < entries.length - 1 ? "," : ""}
`)}${indent}${list ? "]" : "}"}`;
  }
  const kind = typeof value === "string" ? "json-string" : typeof value === "number" ? "json-number" : "json-word";
  return html`<span class="${kind}${compare && before !== value ? " changed" : ""}">${JSON.stringify(value)}</span>`;
}
