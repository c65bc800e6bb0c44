/** The screen of a bench: scan a serial number, fasten screw by screw, see at once whether each is in range. */
import { Element, html, nothing } from "../element.js";
import { Asked } from "../asked.js";
import { connection } from "../connection.js";
import { LatestMessages } from "../latest.js";
import { moment, number } from "../format.js";
import { natural } from "../sorted.js";
import { session } from "../session.js";
import { timeWindow } from "../window.js";
import "../torque-chart.js";

const JUDGED = ["in range", "out of range"];
const RUNNING = ["fastening", "reversing"];
/** What the operator does next, by the state of the job. */
const PROMPTS = { fastening: "Fasten the screw", reversing: "Out of range: loosen the screw", paused: "Paused", "paused out of range": "Paused: the screw is to be loosened", complete: "Job complete", idle: "Ready" };

class FasteningView extends Element {
  /** @type {LatestMessages} */
  latest;
  serials = new Asked("fastening.serials", () => this.update());
  results = new Asked("fastening.history", () => this.update());
  capability = new Asked("fastening.spc", () => this.update());
  torques = new Asked("fastening.torques", () => this.update());
  /** Serial number whose results are shown, null: that of the job. @type {string | null} */
  looked = null;
  /** Part and step whose torques are drawn: `part revision step`. @type {string | null} */
  step = null;
  /** @type {Map<string, any>} Last judgement of each job. */
  judged = new Map();
  /** @type {string | null} */
  error = null;

  begin() {
    this.latest = new LatestMessages(["fastening/+/job", "fastening/+/event", "torque/+/link"], () => this.arrived());
    // What was judged while the connection was lost is in the recording.
    this.listen(connection, "change", () => (connection.open ? this.results.ask() : this.judged.clear()));
    const events = connection.show({ show: "events", filters: ["fastening/+/event"] }, ({ events }) => this.judge(events ?? []));
    this.cleanups.push(() => this.latest.hide(), () => events.hide(), () => [this.serials, this.results, this.capability, this.torques].forEach((each) => each.stop()));
    this.serials.want({});
    this.capability.want({});
    requestAnimationFrame(() => requestAnimationFrame(() => this.focusSerial()));
    // A scanner types wherever the focus is.
    this.listen(document, "keydown", (event) => event.key.length === 1 && !event.ctrlKey && !event.metaKey && !event.altKey && this.focusSerial());
  }

  /** Make the field of the serial number ready, unless something else is in use. */
  focusSerial() {
    const used = document.activeElement;
    if (!used || used === document.body || used.localName === "main") /** @type {HTMLInputElement | null} */ (this.querySelector("#serial"))?.focus();
  }

  get drivers() {
    return this.latest.under("torque/", "/link").map((each) => each.levels[1]).sort(natural);
  }

  get driver() {
    return decodeURIComponent(location.pathname.split("/")[2] ?? "") || this.drivers[0] || "driver-1";
  }

  /** @returns {any} */
  get state() {
    return this.latest.all.get(`fastening/${this.driver}/job`)?.value ?? null;
  }

  arrived() {
    const job = this.state?.job;
    if (this.looked ?? job?.serial) this.results.want({ serial: this.looked ?? job.serial });
    const event = this.latest.all.get(`fastening/${this.driver}/event`);
    if (event && event.at !== this.seen) {
      this.seen = event.at;
      clearTimeout(this.soon);
      this.soon = setTimeout(() => { this.results.ask(); this.torques.ask(); if (event.value.event === "job complete") { this.serials.ask(); this.capability.ask(); } }, 300);
    }
    this.update();
    requestAnimationFrame(() => requestAnimationFrame(() => this.focusSerial()));
  }

  /** Remember the last judgement of each job: the controller's next event follows it at once. @param {{payload: string}[]} events */
  judge(events) {
    for (const { payload } of events) {
      const event = JSON.parse(payload);
      if (JUDGED.includes(event.event)) this.judged.set(event.job, event);
    }
    this.update();
  }

  /** The last judgement of a job: as it came, or from the recording after a reload. @param {string} job */
  judgement(job) {
    const now = timeWindow.at === null ? Infinity : timeWindow.at * 1000;
    const live = timeWindow.at === null ? this.judged.get(job) : null;
    return live ?? (this.results.rows ?? []).filter((each) => each.job === job && JUDGED.includes(each.event) && Date.parse(each.received_at) <= now).at(-1);
  }

  /** @param {string} action @param {string} [serial] */
  async send(action, serial) {
    this.error = null;
    this.update();
    try {
      const request = { action, console: `${session.account ?? "page"} at the page`, ...(serial ? { serial } : {}) };
      const answer = await session.post("/request", { topic: `fastening/${this.driver}/request`, payload: JSON.stringify(request) });
      if (answer.error) this.error = answer.error.message;
    } catch (error) {
      this.error = /** @type {Error} */ (error).message;
    }
    this.update();
  }

  /** @param {SubmitEvent} event */
  start(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target);
    const serial = String(new FormData(form).get("serial") ?? "").trim();
    if (!serial) return;
    this.send("start", serial).then(() => this.error ?? form.reset());
  }

  template() {
    const driver = this.driver, state = this.state, job = state?.job, drivers = this.drivers;
    const link = this.latest.all.get(`torque/${driver}/link`)?.value;
    const running = job && RUNNING.includes(job.state);
    return html`<div class="stack">
      <form class="card bar bench-start" @submit=${(event) => this.start(event)}>
        ${drivers.length > 1 ? html`<nav class="group" aria-label="Drivers">${drivers.map((each) => html`<a class="button" href=${`/fastening/${encodeURIComponent(each)}`} aria-current=${each === driver ? "page" : nothing} aria-pressed=${each === driver}>${each}</a>`)}</nav>` : html`<b>${driver}</b>`}
        <span class="state ${link?.connected ? "ok" : "bad"}" title=${link?.error ?? ""}>${link ? (link.connected ? "connected" : "not connected") : "unknown"}</span>
        <label class="hidden-label" for="serial">Serial number</label>
        <input class="field grow large" id="serial" name="serial" role="textbox" placeholder="Scan or type a serial number" autocomplete="off" autocapitalize="characters" spellcheck="false" list="serials">
        <datalist id="serials">${(this.serials.rows ?? []).slice(0, 200).map((each) => html`<option value=${each.serial}></option>`)}</datalist>
        <button class="button main large">Start</button>
      </form>
      ${this.error ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
      ${job ? this.bench(job, state.console, running) : html`<p class="card empty">No job has run on ${driver} yet.</p>`}
      <div class="columns">${this.resultTable(job)}${this.capabilityTable(job)}</div>
    </div>`;
  }

  /** @param {any} job @param {string | null} holder @param {boolean} running */
  bench(job, holder, running) {
    const step = job.steps[Math.min(job.at, job.steps.length - 1)];
    const stored = new Map(job.results.map((each) => [each.step, each]));
    const event = this.latest.all.get(`fastening/${this.driver}/event`)?.value;
    const judged = this.judgement(job.id);
    return html`<section class="card bench" aria-label="Job"><header><h2>${job.serial}</h2><span class="soft">${job.part_number} revision ${job.revision}${holder ? ` · held by ${holder}` : ""}</span></header>
      <div class="body">
        <ol class="steps" aria-label="Steps">${job.steps.map((each, index) => { const result = stored.get(each.step); return html`<li class=${result ? "done" : index === job.at && job.state !== "complete" ? "now" : ""} aria-current=${index === job.at && job.state !== "complete" ? "step" : nothing}><span class="hidden-label">step</span>${each.step}${result ? html`<small>${result.torque_nm}</small>` : nothing}</li>`; })}</ol>
        <div class="bench-now" role="status" aria-live="polite">
          <p class="bench-prompt">${PROMPTS[job.state] ?? job.state}</p>
          ${job.state === "complete" ? html`<p class="verdict good">✓ All ${number(job.steps.length)} screws are in range</p>` : html`
            <p class="bench-torque"><b>${step.target_nm}</b> N·m <span class="soft">${step.min_nm} to ${step.max_nm}</span></p>
            <p class="soft">Step ${step.step} of ${job.steps.length}</p>
            ${judged ? html`<p class="verdict ${judged.event === "in range" ? "good" : "wrong"}">${judged.event === "in range" ? "✓ In range" : "✗ Out of range"}: ${judged.torque_nm} N·m <span class="soft">step ${judged.step}</span></p>` : nothing}
            ${event && event.event === "driver silent" ? html`<p class="verdict wrong">The driver does not answer: retry or cancel</p>` : nothing}`}
        </div>
        <div class="bar">${running ? html`<button class="button large" @click=${() => this.send("retry")}>Retry</button><button class="button large" @click=${() => this.send("pause")}>Pause</button><button class="button large" @click=${() => this.send("cancel")}>Cancel</button>` : nothing}
          ${String(job.state).startsWith("paused") ? html`<button class="button main large" @click=${() => this.send("start", job.serial)}>Resume</button>` : nothing}</div>
      </div></section>`;
  }

  /** Show the results of a serial number. @param {string} serial empty: that of the job */
  look(serial) {
    this.looked = serial || null;
    this.arrived();
  }

  /** @param {any} job */
  resultTable(job) {
    const rows = (this.results.rows ?? []).filter((each) => each.torque_nm !== null && before(each));
    return html`<section class="card"><header class="bar"><h2>Results</h2>
        <label class="hidden-label" for="looked">Results of</label>
        <input class="field" id="looked" list="serials" placeholder="Look up" autocomplete="off" spellcheck="false" .value=${this.looked ?? job?.serial ?? ""} @change=${(event) => this.look(event.target.value.trim())}></header>
      ${rows.length ? html`<div class="body"><torque-chart .label=${"Results"} .screws=${rows.map((each) => screw(each, String(each.step), `step ${each.step}`))}></torque-chart></div>` : nothing}
      <div class="table tall"><table aria-label="Results"><thead><tr><th class="number">Step</th><th class="number">Torque</th><th>Judgement</th><th class="number wide">Range</th><th class="wide">Recorded</th></tr></thead>
      <tbody>${[...rows].reverse().map((each) => html`<tr><td class="number">${each.step}</td><td class="number">${number(each.torque_nm, 3)} N·m</td>
        <td><span class="state ${each.event === "in range" ? "ok" : "bad"}">${each.event}</span></td><td class="number soft wide">${each.min_nm} to ${each.max_nm}</td><td class="nowrap soft wide">${moment(each.received_at)}</td></tr>`)}</tbody></table>
      ${rows.length ? nothing : html`<p class="empty">${this.results.error ?? "No screw was fastened yet."}</p>`}</div></section>`;
  }

  /** @param {any} job */
  capabilityTable(job) {
    const rows = this.capability.rows ?? [];
    const wanted = this.step ?? (job && key({ ...job, step: job.steps[Math.min(job.at, job.steps.length - 1)].step }));
    const drawn = rows.find((each) => key(each) === wanted) ?? rows[0];
    if (drawn) this.torques.want({ part: drawn.part_number, revision: drawn.revision, step: drawn.step });
    const torques = (this.torques.rows ?? []).filter(before).reverse();
    return html`<section class="card"><header><h2>Capability</h2><span class="soft small">of all recorded screws</span></header>
      ${drawn && torques.length ? html`<div class="body"><h3>${drawn.part_number} ${drawn.revision}, step ${drawn.step}: ${torques.length === 1 ? "the only screw" : `the last ${number(torques.length)} screws`}</h3>
        <torque-chart .label=${`Capability of step ${drawn.step}`} .screws=${torques.map((each, index) => screw(each, String(index + 1), each.serial))}></torque-chart></div>` : nothing}
      <div class="table tall"><table aria-label="Capability"><thead><tr><th>Part</th><th class="number">Step</th><th class="number">n</th><th class="number wide">Mean</th><th class="number">Cp</th><th class="number">Cpk</th><th class="number">Outside</th></tr></thead>
      <tbody>${rows.map((each) => html`<tr aria-selected=${each === drawn}><td class="nowrap">${each.part_number} ${each.revision}</td><td class="number"><button class="link" aria-label=${`Draw ${each.part_number} ${each.revision} step ${each.step}`} aria-pressed=${each === drawn} @click=${() => { this.step = key(each); this.update(); }}>${each.step}</button></td><td class="number">${number(each.n)}</td><td class="number wide">${number(each.mean_nm, 2)} N·m</td>
        <td class="number">${number(each.cp, 2)}</td><td class="number">${number(each.cpk, 2)}</td><td class="number">${number(each.out_of_range_pct, 1)} %</td></tr>`)}</tbody></table>
      ${rows.length ? nothing : html`<p class="empty">Nothing is recorded yet.</p>`}</div></section>`;
  }
}

/** @param {{part_number: string, revision: string, step: number}} of */
function key({ part_number, revision, step }) {
  return JSON.stringify([part_number, revision, step]);
}

/** Whether it is not after the instant that the page shows. @param {{received_at: string}} result */
function before({ received_at }) {
  return timeWindow.at === null || Date.parse(received_at) / 1000 <= timeWindow.at;
}

/** A result as the chart takes it. @param {any} result @param {string} label @param {string} name */
function screw(result, label, name) {
  const { torque_nm: torque, min_nm: min, max_nm: max, target_nm: target } = result;
  const inRange = result.in_range ?? result.event === "in range";
  return { label, title: `${name}: ${torque} N·m, ${inRange ? "in range" : "out of range"}`, torque, min, max, target, inRange };
}

customElements.define("fastening-view", FasteningView);
