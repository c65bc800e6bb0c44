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
