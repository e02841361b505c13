/** What stands where a secret was; the engine writes the same. */
const MARK = "[secret]";

/** Shorter than this, a secret is not looked for: the text would become unreadable and no one the wiser. The engine's rule as well. */
const SHORTEST = 3;

/** A line of a secret of several lines is looked for by itself from this length on. */
const SHORTEST_LINE = 8;

/** A function that takes the given secrets, and the longer lines of those with several lines, out of a text. */
export function redactor(secrets: string[]): (text: string) => string {
  const needles = new Set<string>();
  for (const value of secrets) {
    if (value.trim().length >= SHORTEST) needles.add(value.trim());
    for (const line of value.split("\n")) {
      if (value.includes("\n") && line.trim().length >= SHORTEST_LINE) needles.add(line.trim());
    }
  }
  const longestFirst = [...needles].sort((left, right) => right.length - left.length);
  return (text) =>
    takeOut(
      text,
      longestFirst.filter((needle) => text.includes(needle)),
    );
}

/** Replaces each needle by the mark, from the left, so that nothing is looked for inside a mark. */
function takeOut(text: string, needles: string[]): string {
  let redacted = "";
  for (let rest = text; ;) {
    const [next] = needles
      .map((needle) => ({ needle, at: rest.indexOf(needle) }))
      .filter(({ at }) => at >= 0)
      .sort((left, right) => left.at - right.at);
    if (next === undefined) return redacted + rest;
    redacted += rest.slice(0, next.at) + MARK;
    rest = rest.slice(next.at + next.needle.length);
  }
}
