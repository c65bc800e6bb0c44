/** Round values of an axis, about five. @param {number} least @param {number} most @returns {number[]} */
export function ticks(least, most) {
  const rough = (most - least) / 5, power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 2.5, 5, 10].find((each) => each * power >= rough) ?? 10);
  return Array.from({ length: 12 }, (_, index) => (Math.ceil(least / step) + index) * step).filter((each) => each <= most);
}
