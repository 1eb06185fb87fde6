// Small things that every module needs: finding, posting with the page's token, saying something.

export const $ = (selector, root = document) => root.querySelector(selector);
export const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];

export const csrf = () => document.body.dataset.csrf;
export const me = () => document.body.dataset.me;
export const isPhone = () => matchMedia("(max-width: 699.98px)").matches;

/** Nodes of server-made HTML; scripts in it never run (a template's content is inert). */
export function fragment(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
}

let actedAt = Date.now();
for (const act of ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"]) {
  addEventListener(act, () => (actedAt = Date.now()), { capture: true, passive: true });
}

/** Somebody has moved, typed or scrolled a moment ago. What the page does by itself keeps nobody signed in. */
export const isAttended = () => Date.now() - actedAt < 60_000;

/** One request as the signed-in person. Resolves to the Response; a signed-out session leaves for the sign-in page. */
export async function request(url, { body, ...rest } = {}) {
  const response = await fetch(url, {
    method: body ? "POST" : "GET",
    body: body && new URLSearchParams(body),
    headers: { "HX-Request": "true", "X-CSRF-Token": csrf(), ...(isAttended() ? {} : { "X-Unattended": "1" }) },
    ...rest,
  });
  if (response.status === 401) signInAgain();
  return response;
}

let leaving = false;

/** The session is over: sign in, and come back to this very conversation. */
export function signInAgain() {
  if (leaving) return;
  leaving = true;
  location.assign(`/sign-in?ended=1&next=${encodeURIComponent(location.pathname)}`);
}

/** A line at the foot of the page that goes by itself; `verb` and `act`: what can be done about it. */
export function toast(words, { verb, act } = {}) {
  const line = document.createElement("div");
  line.className = "toast";
  const said = document.createElement("span");
  said.textContent = words;
  line.append(said);
  if (verb) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button is-small";
    button.textContent = verb;
    button.addEventListener("click", () => {
      line.remove();
      act();
    });
    line.append(button);
  }
  $("#toasts").append(line);
  setTimeout(() => line.remove(), verb ? 12_000 : 7000);
}
