/**
 * The websocket to the server. It reconnects by itself, and then shows again what was shown.
 * @typedef {{id: number, error?: string, [name: string]: any}} Content
 */

const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 2000;
/** The server sends something at least this often: without it, the connection is dead although it is open. */
const SILENCE_MS = 2500;

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
    this.heard = 0;
    /** What keeps the page from being complete, in sentences. @type {string[]} */
    this.interruptions = [];
  }

  connect() {
    const socket = (this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`));
    this.heard = Date.now();
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.open = true;
      this.pause = FIRST_PAUSE_MS;
      this.heard = Date.now();
      for (const [id, { request }] of this.shown) this.send({ id, ...request });
      for (const [id, { request }] of this.asked) this.send({ id, ...request });
      this.dispatchEvent(new Event("change"));
    };
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.heard = Date.now();
      this.take(JSON.parse(event.data));
    };
    socket.onclose = () => this.lose(socket);
    if (!this.watchdog) this.watchdog = setInterval(() => this.check(), 500);
  }

  /** Give up a connection that is silent for too long, as after the machine slept: closing it may take a minute. */
  check() {
    const socket = this.socket;
    if (!socket || Date.now() - this.heard <= SILENCE_MS) return;
    this.lose(socket);
    socket.close();
  }

  /** @param {WebSocket} socket */
  lose(socket) {
    if (this.socket !== socket) return;
    this.socket = null;
    if (this.open) {
      this.open = false;
      this.dispatchEvent(new Event("change"));
    }
    setTimeout(() => this.connect(), this.pause);
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
    this.send({ id, ...request });
    return {
      change: (changed) => {
        this.shown.set(id, { request: changed, take });
        this.send({ id, ...changed });
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
