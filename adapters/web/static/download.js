/** Files that the browser saves. */

/** Save rows as CSV (RFC 4180), as `scaup -o csv` writes it. @param {string} name @param {Record<string, any>[]} rows at least one */
export function download(name, rows) {
  const columns = Object.keys(rows[0]);
  const lines = [columns, ...rows.map((row) => columns.map((each) => row[each]))].map((line) => line.map(cell).join(","));
  const address = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
  follow(address, name);
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/**
 * Save what the server writes, after it has found the rows. @param {string} address @returns {Promise<number>} the number of rows
 */
export async function save(address) {
  let found;
  try {
    found = await fetch(address, { method: "HEAD" });
  } catch {
    throw new Error("The web server cannot be reached.");
  }
  if (!found.ok) throw new Error((await (await fetch(address)).json().catch(() => ({}))).error ?? `the server answered ${found.status}`);
  follow(address, "");
  return Number(found.headers.get("X-Rows"));
}

/** @param {string} address @param {string} name empty: as the server names it */
function follow(address, name) {
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
}

/** @param {any} value */
function cell(value) {
  const text = value === null || value === undefined ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
