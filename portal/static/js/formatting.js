// What the formatting buttons and Enter do to a text, as pure functions of text and selection.
// An edit is { text, start, end }: the new text and where the selection then stands.

const MARKS = { bold: "**", italic: "_" };
const ITEM = /^(\s*)(\d{1,3})([.)])\s(.*)$/;

/** Puts the mark around the selection, or takes it away when it is there already. */
export function toggleMark(text, start, end, kind) {
  const mark = MARKS[kind];
  const size = mark.length;
  const chosen = text.slice(start, end);
  if (text.slice(start - size, start) === mark && text.slice(end, end + size) === mark) {
    return { text: text.slice(0, start - size) + chosen + text.slice(end + size), start: start - size, end: end - size };
  }
  return { text: text.slice(0, start) + mark + chosen + mark + text.slice(end), start: start + size, end: end + size };
}

const lineStart = (text, at) => text.lastIndexOf("\n", at - 1) + 1;

function lineEnd(text, at) {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

/** Numbers the lines of the selection, or takes the numbers away when all have one. */
export function toggleList(text, start, end) {
  const from = lineStart(text, start);
  const to = lineEnd(text, end);
  const lines = text.slice(from, to).split("\n");
  const numbered = lines.every((line) => ITEM.test(line));
  const changed = numbered
    ? lines.map((line) => line.replace(ITEM, "$1$4"))
    : lines.map((line, n) => `${n + 1}. ${line.replace(ITEM, "$4")}`);
  const middle = changed.join("\n");
  return { text: text.slice(0, from) + middle + text.slice(to), start: from + middle.length, end: from + middle.length };
}

/** Enter within a list: the next number; on an empty item the list ends. Null where there is no list. */
export function continueList(text, start, end) {
  const from = lineStart(text, start);
  const match = ITEM.exec(text.slice(from, lineEnd(text, start)));
  if (!match || start < from + match[1].length + match[2].length + 2) return null;
  const [, indent, number, point, words] = match;
  if (!words.trim()) {
    return { text: text.slice(0, from) + text.slice(lineEnd(text, end)), start: from, end: from };
  }
  const begun = `\n${indent}${Number(number) + 1}${point} `;
  return { text: text.slice(0, start) + begun + text.slice(end), start: start + begun.length, end: start + begun.length };
}
