// A message leaves once and in order. Each carries an id of its own, so that trying again after a lost
// answer is the same message; until the service has it, it stays in this list and in the browser's storage.

import { $, fragment, me, request, toast } from "./dom.js";
import { put, settle, toEnd } from "./timeline.js";

const KEY = () => `ruh.sending.${me()}`;
const queue = load();
let running = false;

function load() {
  try {
    return JSON.parse(localStorage.getItem(KEY())) ?? [];
  } catch {
    return [];
  }
}

function keep() {
  try {
    localStorage.setItem(KEY(), JSON.stringify(queue));
  } catch {
    // Storage is off: the list still lives as long as the page.
  }
}

/** Takes over a message: shows it at once, sends it as soon as that is possible. */
export function send({ conversation, text, replyTo }) {
  const item = { id: crypto.randomUUID(), conversation, text, replyTo, at: new Date().toISOString() };
  queue.push(item);
  keep();
  show(item);
  toEnd();
  run();
}

/** What is still waiting in the conversation that has just been opened. */
export function showWaiting() {
  queue.forEach(show);
}

function show(item) {
  const list = $("#messages");
  if (!list || item.conversation !== $("#conversation").dataset.conversation || $(`#pending-${item.id}`)) return;
  const line = fragment(
    `<li class="message is-own is-pending" tabindex="-1"><div class="bubble"><div class="words" dir="auto"></div></div>
     <p class="message-foot"><span class="mark"><svg class="icon" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="7.8"/><path d="M12 7.5V12l3 2"/></svg><span>Sending …</span></span></p></li>`,
  ).firstElementChild;
  line.id = `pending-${item.id}`;
  line.dataset.at = item.at;
  line.dataset.author = me();
  $(".words", line).textContent = item.text;
  list.append(line);
  settle();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export async function run() {
  if (running) return;
  running = true;
  let wait = 500;
  while (queue.length) {
    const item = queue[0];
    const outcome = await attempt(item);
    if (outcome === "again") {
      await pause(wait);
      wait = Math.min(wait * 2, 8000);
      continue;
    }
    wait = 500;
    queue.shift();
    keep();
    if (outcome !== "sent") giveBack(item, outcome);
  }
  running = false;
}

/** "sent", "again", or the words that say why it can't be sent. */
async function attempt(item) {
  let response;
  try {
    response = await request(`/chat/${item.conversation}/messages`, {
      body: { text: item.text, request_id: item.id, reply_to: item.replyTo ?? "" },
      signal: AbortSignal.timeout(15_000),
    });
  } catch {
    return "again";
  }
  if (response.status >= 500 || response.status === 429 || response.status === 401) return "again";
  const html = await response.text();
  if (!response.ok) return html.trim() || "This message could not be sent.";
  if ($("#conversation")?.dataset.conversation === item.conversation) {
    put(html, { quiet: true });
    settle();
  }
  return "sent";
}

/** It can't go like this: the text returns to where it was written, with the reason. */
function giveBack(item, words) {
  $(`#pending-${item.id}`)?.remove();
  const returned = new CustomEvent("ruh:returned", { detail: { ...item, words }, cancelable: true });
  if (document.dispatchEvent(returned)) toast(words);
}

addEventListener("online", run);
