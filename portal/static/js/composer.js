// The message box: grows to eight lines, keeps its draft, formats a little, and lets nothing get lost.

import { $, $$ } from "./dom.js";
import { draftOf, keepDraft } from "./drafts.js";
import { continueList, toggleList, toggleMark } from "./formatting.js";
import { send } from "./sending.js";

const box = () => $("#message-box");
const form = () => $("#composer");
const hint = "Enter sends, Shift+Enter begins a new line";
let typing = { on: false, at: 0, stop: 0 };

/** Sets up the composer of the conversation that has just been put in place. */
export function enterComposer() {
  const area = box();
  if (!area) return;
  const draft = draftOf(form().dataset.conversation);
  area.value = draft.text;
  if (draft.replyTo) showReply(draft.replyTo);
  area.addEventListener("input", changed);
  area.addEventListener("keydown", pressed);
  form().addEventListener("submit", submit);
  grow();
  count();
}

function changed() {
  save();
  grow();
  count();
  $("#composer-error").hidden = true;
  sayTyping(box().value.trim() !== "");
}

function save() {
  keepDraft(form().dataset.conversation, box().value, replyTo());
}

/** Where the browser can't size a field by its content itself. */
function grow() {
  const area = box();
  area.style.blockSize = "auto";
  area.style.blockSize = `${area.scrollHeight}px`;
}

function count() {
  const limit = Number(form().dataset.limit);
  const left = limit - [...box().value.trim()].length;
  const line = $("#composer-hint");
  line.classList.toggle("is-over", left < 0);
  if (left > 300) line.textContent = hint;
  else if (left >= 0) line.textContent = `${left.toLocaleString("en-GB")} characters left`;
  else line.textContent = `${(-left).toLocaleString("en-GB")} too many; a message can have ${limit.toLocaleString("en-GB")}`;
}

function submit(event) {
  event.preventDefault();
  const text = box().value.trim();
  const limit = Number(form().dataset.limit);
  const over = [...text].length - limit;
  if (!text) return box().focus();
  if (over > 0) {
    return refuse(
      `A message can have up to ${limit.toLocaleString("en-GB")} characters. This one is ` +
        `${over.toLocaleString("en-GB")} too long; shorten it, or send it in two parts.`,
    );
  }
  const conversation = form().dataset.conversation;
  const reply = replyTo();
  box().value = "";
  stopReply();
  keepDraft(conversation, "");
  grow();
  count();
  sayTyping(false);
  send({ conversation, text, replyTo: reply?.id });
  box().focus({ preventScroll: true });
}

function refuse(words) {
  const line = $("#composer-error");
  line.textContent = words;
  line.hidden = false;
}

document.addEventListener("ruh:returned", (event) => {
  const { conversation, text, words } = event.detail;
  if (form()?.dataset.conversation !== conversation) {
    const draft = draftOf(conversation);
    keepDraft(conversation, draft.text ? `${text}\n${draft.text}` : text, draft.replyTo);
    return;
  }
  event.preventDefault();
  box().value = box().value ? `${text}\n${box().value}` : text;
  changed();
  refuse(words);
});

function edit(change) {
  const area = box();
  if (!change) return;
  area.focus();
  area.value = change.text;
  area.setSelectionRange(change.start, change.end);
  changed();
}

function pressed(event) {
  const { selectionStart: start, selectionEnd: end, value } = box();
  if (event.key === "Enter" && !event.isComposing) {
    const list = !event.ctrlKey && !event.metaKey && continueList(value, start, end);
    if (list) {
      event.preventDefault();
      edit(list);
    } else if (!event.shiftKey) {
      event.preventDefault();
      form().requestSubmit();
    }
  } else if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
    const kind = { b: "bold", i: "italic" }[event.key.toLowerCase()];
    if (kind) {
      event.preventDefault();
      edit(toggleMark(value, start, end, kind));
    }
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button");
  if (!button) return;
  if (button.dataset.format) {
    const { selectionStart: start, selectionEnd: end, value } = box();
    const kind = button.dataset.format;
    edit(kind === "list" ? toggleList(value, start, end) : toggleMark(value, start, end, kind));
  } else if (button.dataset.reply) {
    showReply({ id: button.dataset.reply, author: button.dataset.author, preview: button.dataset.preview });
    save();
    box().focus();
  } else if ("stopReply" in button.dataset) {
    stopReply();
    save();
    box().focus();
  }
});

function showReply(reply) {
  const line = $("#composer-reply");
  line.dataset.reply = JSON.stringify(reply);
  $("strong", line).textContent = `Replying to ${reply.author}`;
  $("p > span", line).textContent = reply.preview;
  line.hidden = false;
}

function replyTo() {
  const kept = $("#composer-reply").dataset.reply;
  return kept ? JSON.parse(kept) : null;
}

export function stopReply() {
  const line = $("#composer-reply");
  const was = Boolean(line && !line.hidden);
  if (line) {
    line.hidden = true;
    delete line.dataset.reply;
  }
  return was;
}

/** Tells the others at most every few seconds, and that it stopped after a while without a key. */
function sayTyping(on) {
  clearTimeout(typing.stop);
  const now = Date.now();
  if (on !== typing.on || (on && now - typing.at > 4000)) {
    typing.on = on;
    typing.at = now;
    document.dispatchEvent(new CustomEvent("ruh:typing", { detail: on }));
  }
  if (on) typing.stop = setTimeout(() => sayTyping(false), 6000);
}

export const hasDraftFocus = () => document.activeElement === box() && $$("dialog[open]").length === 0;
