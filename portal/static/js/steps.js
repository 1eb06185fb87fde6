// A dialog in steps: each is put over the one before, which stays as it was and comes back with "Back".
// A form is sent once, however often its button is pressed; what is refused is said where it was pressed.

import { $, $$, fragment, request, toast } from "./dom.js";

const steps = (dialog) => $$(":scope > .step", dialog);

function show(dialog) {
  const all = steps(dialog);
  all.forEach((step, n) => (step.hidden = n < all.length - 1));
  const top = all.at(-1);
  if (top?.dataset.step) dialog.setAttribute("aria-labelledby", top.dataset.step);
  return top;
}

export function push(dialog, html) {
  dialog.append(fragment(html));
  const top = show(dialog);
  htmx.process(top);
  top.dispatchEvent(new CustomEvent("ruh:step", { bubbles: true }));
  ($("[data-first], input:not([type=hidden]), textarea:not([hidden])", top) ?? $("button[type=submit], [data-back-step]", top))?.focus();
}

/** Back to the first step, or (`keep` 0) to none. */
export function clear(dialog, keep = 1) {
  steps(dialog).slice(keep).forEach((step) => step.remove());
  show(dialog);
}

function back(dialog) {
  steps(dialog).at(-1).remove();
  const top = show(dialog);
  ($("textarea, input", top) ?? $("button", top))?.focus();
}

export function refuse(step, words) {
  const line = $(".step-error", step);
  if (!line) return toast(words);
  line.textContent = words;
  line.hidden = !words;
}

/** Another page; or this one as it is now, where the address differs by its fragment only. */
function go(address) {
  const to = new URL(address, location.href);
  if (to.pathname + to.search !== location.pathname + location.search) return location.assign(to);
  location.hash = to.hash;
  location.reload();
}

/** Posts, and shows what comes of it: the next step, another page, or the words why not. */
export async function post(dialog, url, body) {
  const step = steps(dialog).at(-1);
  if (step.dataset.busy) return;
  step.dataset.busy = "1";
  refuse(step, "");
  try {
    const answer = await request(url, { body });
    const text = await answer.text();
    if (answer.status === 201) {
      step.dispatchEvent(new CustomEvent("ruh:done", { bubbles: true }));
      go(answer.headers.get("Location"));
      return;
    }
    if (!answer.ok) refuse(step, text.trim() || "Something went wrong on our side. Please try again in a moment.");
    else if (text) push(dialog, text);
    else {
      const says = $("[data-says]", step)?.dataset.says;
      dialog.close();
      if (says) toast(says);
    }
  } catch {
    refuse(step, "There is no connection at the moment. Nothing has been sent; please try again.");
  }
  delete step.dataset.busy;
}

/** The people whom a step names. */
export const named = (step) => $$(".names [data-person]", step).map((line) => line.dataset.person);

document.addEventListener("submit", (event) => {
  const form = event.target.closest?.("[data-step-form]");
  if (!form) return;
  event.preventDefault();
  form.dataset.act ??= crypto.randomUUID();
  const body = Object.fromEntries(new FormData(form, event.submitter));
  if ("names" in form.dataset) body.people = named(form).join(",");
  post(form.closest("dialog"), form.getAttribute("action"), { ...body, request_id: form.dataset.act });
});

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-back-step]");
  if (!button) return;
  const dialog = button.closest("dialog");
  if (steps(dialog).length > 1) back(dialog);
  else dialog.close();
});
