// The pages beside the chat: settings, deleted messages, the audit trail. They work as plain forms; here is
// what asks first, and what a browser has to be asked for.

import "./asks.js";
import { $, signInAgain, toast } from "./dom.js";
import { confirm } from "./dialogs.js";
import { sayTimes } from "./times.js";

sayTimes();
document.addEventListener("htmx:after:swap", () => sayTimes());

document.addEventListener("htmx:after:request", (event) => {
  const { sourceElement, response } = event.detail.ctx ?? {};
  if (response?.status === 401) return signInAgain();
  const says = sourceElement?.dataset?.says;
  if (says && response?.raw?.ok) toast(says);
});

document.addEventListener("htmx:error", () => toast("There is no connection at the moment. Please try again."));

/** A form that asks first. */
document.addEventListener("submit", async (event) => {
  const form = event.target;
  const { confirms, words, verb, calm } = form.dataset;
  if (!confirms) return;
  event.preventDefault();
  if (await confirm({ title: confirms, words, verb, calm: calm !== undefined })) form.submit();
});

/** The browser is asked for notifications only when the person turns them on. */
const browser = $("[data-browser]");

function sayBrowser() {
  if (!("Notification" in window)) {
    browser.checked = false;
    browser.disabled = true;
    $("#browser-note").textContent = "This browser can’t show notifications.";
  } else if (Notification.permission === "denied") {
    browser.checked = false;
    $("#browser-note").textContent =
      "Your browser doesn’t allow notifications of this page. You can change that in the browser’s settings for it.";
  } else if (Notification.permission === "default") browser.checked = false;
}

if (browser) {
  sayBrowser();
  browser.addEventListener("change", async (event) => {
    if (!browser.checked || !("Notification" in window) || Notification.permission === "granted") return;
    event.stopPropagation();
    await Notification.requestPermission();
    sayBrowser();
    if (browser.checked) browser.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
