/**
 * The websocket to the server. It reconnects by itself, and then shows again what was shown. A page that is not looked at shows
 * nothing: the server sends it no more than signs of life.
 * @typedef {{id: number, error?: string, [name: string]: any}} Content
 */

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 2000;
/** The server sends something twice a second: without it, the connection is dead although it is open. */
const SILENCE_MS = 1500;
const CHECK_MS = 200;
/** What the server sent while the page itself stood still is read first: it has so long. */
const GRACE_MS = 500;
/** A page that is hidden for so long shows nothing until it is looked at again. */
const HIDDEN_MS = 5000;
/** Code with which the server closes a page that it cannot serve now. */
const TRY_AGAIN_LATER = 1013;

class Connection extends EventTarget {
  constructor() {
    super();
    this.open = false;
    this.next = 1;
    /** @type {Map<number, {request: object, take: (content: Content) => void}>} */
    this.shown = new Map();
    /** @type {Map<number, {request: object, resolve: (content: Content) => void, reject: (error: Error) => void}>} */
    this.asked = new Map();
    this.pause = FIRST_PAUSE_MS;
    /** @type {WebSocket | null} */
    this.socket = null;
    this.heard = this.checked = Date.now();
    /** What keeps the page from being complete, in sentences. @type {string[]} */
    this.interruptions = [];
    /** Why the server does not serve this page. @type {string | null} */
    this.refusal = null;
    this.resting = false;
    /** Whether signing in is waited for. */
    this.barred = false;
    /** Resolves whether the server would show something. @type {() => Promise<boolean>} */
    this.isAdmitted = async () => true;
    document.addEventListener("visibilitychange", () => this.look());
    addEventListener("online", () => this.hurry());
  }

  async connect() {
    clearTimeout(this.again);
    const barred = !(await this.isAdmitted());
    if (barred !== this.barred) {
      this.barred = barred;
      this.dispatchEvent(new Event("change"));
    }
    if (!barred && !this.socket) this.dial();
  }

  /** Connect after signing in. */
  admitted() {
    if (this.barred) this.connect();
  }

  dial() {
    const socket = (this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`));
    this.heard = Date.now();
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.heard = Date.now();
      if (!this.open) this.begin();
      this.take(JSON.parse(event.data));
    };
    socket.onclose = (event) => {
      if (event.code === TRY_AGAIN_LATER) this.refusal = event.reason;
      this.lose(socket);
    };
    if (!this.watchdog) this.watchdog = setInterval(() => this.check(), CHECK_MS);
  }

  /** Begin, with the first message: a server that only accepts a connection is not there yet. */
  begin() {
    this.open = true;
    this.refusal = null;
    this.pause = FIRST_PAUSE_MS;
    this.showAll();
    for (const [id, { request }] of this.asked) this.send({ id, ...request });
    this.dispatchEvent(new Event("change"));
  }

  showAll() {
    if (!this.resting) for (const [id, { request }] of this.shown) this.send({ id, ...request });
  }

  /** Show nothing while the page is hidden, and all of it when it is looked at. */
  look() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.resting = true;
        for (const id of this.shown.keys()) this.send({ id, hide: true });
      }, HIDDEN_MS);
      return;
    }
    const rested = this.resting;
    this.resting = false;
    this.hurry();
    if (rested && this.open) this.showAll();
  }

  /** Connect now, if the next attempt is only waited for. */
  hurry() {
    if (this.socket || this.barred || !this.watchdog) return;
    this.pause = FIRST_PAUSE_MS;
    this.connect();
  }

  /** Give up a connection that is silent for too long, as after the machine slept: closing it may take a minute. */
  check() {
    const socket = this.socket, now = Date.now();
    const stoodStill = now - this.checked > 3 * CHECK_MS;
    this.checked = now;
    if (stoodStill) this.heard = Math.max(this.heard, now - SILENCE_MS + GRACE_MS);
    if (!socket || now - this.heard <= SILENCE_MS) return;
    this.lose(socket);
    socket.close();
  }

  /** @param {WebSocket} socket */
  lose(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    this.open = false;
    this.dispatchEvent(new Event("change"));
    this.again = setTimeout(() => this.connect(), this.refusal ? LONGEST_PAUSE_MS : this.pause);
    this.pause = Math.min(2 * this.pause, LONGEST_PAUSE_MS);
  }

  /** @param {Content} content */
  take(content) {
    if (content.id === 0) {
      if (content.interruptions?.join() !== this.interruptions.join()) {
        this.interruptions = content.interruptions ?? [];
        this.dispatchEvent(new Event("change"));
      }
      return;
    }
    const asked = this.asked.get(content.id);
    if (asked) {
      this.asked.delete(content.id);
      if (content.error) asked.reject(new Error(content.error));
      else asked.resolve(content);
      return;
    }
    this.shown.get(content.id)?.take(content);
  }

  /** @param {object} request */
  send(request) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(request));
  }

  /**
   * Show something live until it is hidden.
   * @param {object} request
   * @param {(content: Content) => void} take
   * @returns {{change: (request: object) => void, hide: () => void}}
   */
  show(request, take) {
    const id = this.next++;
    this.shown.set(id, { request, take });
    if (!this.resting) this.send({ id, ...request });
    return {
      change: (changed) => {
        this.shown.set(id, { request: changed, take });
        if (!this.resting) this.send({ id, ...changed });
      },
      hide: () => {
        this.shown.delete(id);
        this.send({ id, hide: true });
      },
    };
  }

  /**
   * Ask the recorder once.
   * @param {string} name @param {object} parameters @param {AbortSignal} [signal]
   * @returns {Promise<Content>}
   */
  ask(name, parameters, signal) {
    const id = this.next++;
    const request = { ask: name, with: parameters };
    return new Promise((resolve, reject) => {
      this.asked.set(id, { request, resolve, reject });
      this.send({ id, ...request });
      signal?.addEventListener("abort", () => {
        if (!this.asked.delete(id)) return;
        this.send({ id, cancel: true });
        reject(new DOMException("cancelled", "AbortError"));
      });
    });
  }
}

export const connection = new Connection();
