/** Numbers and times in the language and time zone of the browser. */

const locale = navigator.languages?.length ? [...navigator.languages] : undefined;
const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayAndClock = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "medium" });
const numbers = new Map();

/** The time zone that all times are shown in. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
/** Its difference to UTC now, such as `UTC+1`. */
export const offset = new Intl.DateTimeFormat("en-GB", { timeZoneName: "shortOffset" }).formatToParts(new Date()).find((each) => each.type === "timeZoneName")?.value.replace("GMT", "UTC") ?? "";

/** @param {number | null | undefined} value @param {number} [digits] */
export function number(value, digits = 0) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  let format = numbers.get(digits);
  if (!format) numbers.set(digits, (format = new Intl.NumberFormat(locale, { minimumFractionDigits: digits, maximumFractionDigits: digits })));
  return format.format(value);
}

/** @param {number} bytes */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (bytes >= 1000 && unit < units.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${number(bytes, unit && bytes < 100 ? 1 : 0)} ${units[unit]}`;
}

/** An instant in seconds since 1970 or as RFC 3339. @param {number | string | null | undefined} at */
export function instant(at) {
  return at === null || at === undefined ? "–" : dayAndClock.format(typeof at === "number" ? at * 1000 : Date.parse(at));
}

const forms = new Map();

/** @param {number} ms since 1970 @param {boolean} seconds */
function short(ms, seconds) {
  const at = new Date(ms), sameYear = at.getFullYear() === new Date().getFullYear();
  const name = `${sameYear} ${seconds}`;
  let form = forms.get(name);
  if (!form) forms.set(name, (form = new Intl.DateTimeFormat(locale, { month: "short", day: "numeric", ...(sameYear ? {} : { year: "numeric" }), hour: "2-digit", minute: "2-digit", ...(seconds ? { second: "2-digit" } : {}) })));
  return form.format(at);
}

/** An instant in a table: the year is left out where it is this one. @param {number | string | null | undefined} at as for `instant` */
export function moment(at) {
  return at === null || at === undefined ? "–" : short(typeof at === "number" ? at * 1000 : Date.parse(at), true);
}

/** The same without seconds, for quarters of an hour. @param {number | string | null | undefined} at */
export function minute(at) {
  return at === null || at === undefined ? "–" : short(typeof at === "number" ? at * 1000 : Date.parse(at), false);
}

/** @param {number} at seconds since 1970 */
export function time(at) {
  return clock.format(at * 1000);
}

/** How long ago something was: `now`, `8 s`, `5 min`, `3 h`, `2 d`. @param {number} at seconds since 1970 */
export function age(at, now = Date.now() / 1000) {
  const s = Math.max(0, now - at);
  if (s < 1) return "now";
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86400)} d`;
}

/** A length of time in the unit that suits it. @param {number} seconds */
export function span(seconds) {
  if (seconds < 1) return `${number(1000 * seconds, seconds < 0.01 ? 1 : 0)} ms`;
  if (seconds < 120) return `${number(seconds, seconds < 10 ? 1 : 0)} s`;
  return seconds < 7200 ? `${number(seconds / 60)} min` : `${number(seconds / 3600, 1)} h`;
}

/** Messages per second. @param {number | undefined} rate */
export function rate(rate) {
  if (!rate || rate < 0.005) return "";
  return rate < 0.95 ? `${number(rate * 60, 0)}/min` : `${number(rate, rate < 10 ? 1 : 0)}/s`;
}
