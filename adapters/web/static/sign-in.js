/** The account at the top of the page, and the form to sign in. */
import { Element, html, nothing } from "./element.js";
import { session } from "./session.js";

class SignIn extends Element {
  /** @type {string | null} */
  error = null;
  busy = false;

  begin() {
    this.listen(session, "change", () => this.update());
    this.listen(session, "wanted", () => this.open());
    session.load();
  }

  get dialog() {
    return /** @type {HTMLDialogElement | null} */ (this.querySelector("dialog"));
  }

  open() {
    this.error = null;
    this.update();
    if (this.dialog) this.dialog.showModal();
    else requestAnimationFrame(() => requestAnimationFrame(() => this.dialog?.showModal()));  // it is not rendered yet
  }

  /** @param {SubmitEvent} event */
  async submit(event) {
    event.preventDefault();
    const form = /** @type {HTMLFormElement} */ (event.target), data = new FormData(form);
    this.busy = true;
    this.error = null;
    this.update();
    try {
      await session.signIn(String(data.get("name")), String(data.get("password")));
      form.reset();
      this.dialog?.close();
    } catch (error) {
      this.error = /** @type {Error} */ (error).message;
    }
    this.busy = false;
    this.update();
  }

  template() {
    return html`${session.account
      ? html`<span class="soft small">${session.account}</span><button class="button" @click=${() => session.signOut().catch(() => session.load())}>Sign out</button>`
      : html`<button class="button" @click=${() => this.open()}>Sign in</button>`}
      <dialog aria-labelledby="sign-in-title">
        <form class="form" method="post" action="/sign-in" @submit=${(event) => this.submit(event)}>
          <h2 id="sign-in-title">Sign in</h2>
          <p class="soft small">With an account of the broker: <code>operator</code>, or one of <code>scaup account add</code>.</p>
          ${this.error ? html`<p class="alert" role="alert">${this.error}</p>` : nothing}
          <label>Name<input class="field" name="name" autocomplete="username" required autocapitalize="none" spellcheck="false"></label>
          <label>Password<input class="field" name="password" type="password" autocomplete="current-password" required></label>
          <div class="bar"><button class="button main" ?disabled=${this.busy}>Sign in</button>
            <button class="button plain" type="button" @click=${() => this.dialog?.close()}>Close</button></div>
        </form>
      </dialog>`;
  }
}

customElements.define("sign-in", SignIn);
