/** The answer to a question, asked again when its parameters change, when the connection is back, and at a pause. */
import { connection } from "./connection.js";

export class Asked {
  /** @type {any[] | null} Null before the first answer. */
  rows = null;
  /** @type {string | null} */
  error = null;
  key = "";
  abort = new AbortController();

  /** @param {string} name @param {() => void} onChange */
  constructor(name, onChange) {
    this.name = name;
    this.onChange = onChange;
    this.back = () => { if (connection.open) this.ask(); };
    connection.addEventListener("change", this.back);
  }

  /** Ask, unless the same was asked already. @param {object} parameters */
  want(parameters) {
    const key = JSON.stringify(parameters);
    if (key === this.key) return;
    this.key = key;
    this.rows = null;
    this.ask();
  }

  /** Ask with other parameters; the rows stay until the answer. @param {object} parameters */
  refresh(parameters) {
    this.key = JSON.stringify(parameters);
    this.ask();
  }

  /** Ask again. */
  async ask() {
    if (!this.key || !connection.open) return;
    this.abort.abort();
    const { signal } = (this.abort = new AbortController());
    try {
      const { rows } = await connection.ask(this.name, JSON.parse(this.key), signal);
      this.rows = rows;
      this.error = null;
    } catch (error) {
      if (signal.aborted) return;
      this.error = /** @type {Error} */ (error).message;
    }
    this.onChange();
  }

  stop() {
    connection.removeEventListener("change", this.back);
    this.abort.abort();
  }
}
