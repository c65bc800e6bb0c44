/** Order of names as people expect it: `charger-2` before `charger-10`. */
const order = new Intl.Collator(undefined, { numeric: true });

/** @param {string} one @param {string} other */
export function natural(one, other) {
  return order.compare(one, other);
}
