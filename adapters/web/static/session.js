/** Who has signed in, and what that account does. */

import { connection } from "./connection.js";
import { timeWindow } from "./window.js";

class Session extends EventTarget {
  /** @type {string | null} Name of the account. */
  account = null;
  /** Whether the server shows nothing without signing in, as beyond its own machine. */
  required = false;
  /** @type {string | null} */
  token = null;

  /** Find out who has signed in. */
  async load() {
    try {
      this.take(await (await fetch("/session")).json());
    } catch {
      // the connection's alert says that the server cannot be reached
    }
  }

  /** @param {{account: string | null, token: string | null, required?: boolean}} found */
  take({ account, token, required }) {
    this.account = account;
    this.token = token;
    this.required = required ?? this.required;
    this.dispatchEvent(new Event("change"));
    if (account) connection.admitted();
  }

  /** Find out whether the server shows something, and ask to sign in if it does not. @returns {Promise<boolean>} */
  async isAdmitted() {
    await this.load();
    const admitted = !this.required || this.account !== null;
    if (!admitted) this.dispatchEvent(new Event("wanted"));
    return admitted;
  }

  /** @param {string} name @param {string} password */
  async signIn(name, password) {
    this.take(await this.post("/sign-in", { name, password }));
  }

  async signOut() {
    this.take(await this.post("/sign-out", {}));
  }

  /** @param {string} topic @param {string} payload @param {boolean} [retain] @returns {Promise<{acknowledged_ms: number}>} */
  publish(topic, payload, retain = false) {
    return this.post("/publish", { topic, payload, retain });
  }

  /**
   * Post JSON. Without a session the sign-in form is opened.
   * @param {string} path @param {object} body @returns {Promise<any>}
   */
  post(path, body) {
    return this.send(path, JSON.stringify(body), "application/json");
  }

  /** Post a text or a file. @param {string} path @param {BodyInit} body @param {string} type @returns {Promise<any>} */
  async send(path, body, type) {
    if (timeWindow.at !== null && !path.startsWith("/sign-")) throw new Error("The page shows the past, where nothing is published. Return to now first.");
    let response;
    try {
      response = await fetch(path, {
        method: "POST",
        headers: { "Content-Type": type, ...(this.token ? { "X-Scaup-Token": this.token } : {}) },
        body,
      });
    } catch {
      throw new Error("The web server cannot be reached.");
    }
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    if (response.status === 401 && path !== "/sign-in") {
      this.take({ account: null, token: null });
      this.dispatchEvent(new Event("wanted"));
    }
    throw new Error(answer.error ?? `the server answered ${response.status}`);
  }
}

export const session = new Session();
// On the server's own machine nothing has to be asked first. TLS is used beyond it.
if (location.protocol === "https:") connection.isAdmitted = () => session.isAdmitted();
