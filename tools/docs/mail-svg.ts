import { picture, size, textAt } from "./svg";

/**
 * Draws a mail as a mail program shows it: subject, sender, recipients and time, then the text. Takes a mail with its headers, as
 * `shownMail` returns it, and draws its first `most` lines of text.
 */
export function mailSvg(mail: string, most: number): string {
  const end = mail.indexOf("\n\n");
  const headers = mail.slice(0, end).replaceAll(/\n[ \t]+/g, " ");
  const header = (name: string): string => new RegExp(`^${name}: (.*)$`, "m").exec(headers)?.[1] ?? "";
  const text = mail.slice(end + 2).split("\n");
  const body = [...text.slice(0, most), ...(text.length > most ? ["…"] : [])];
  const fields = ["From", "To", "Date"].map((name) => [`${name}:`.padEnd(7), header(name)] as const);

  const shown = [header("Subject"), ...fields.map((field) => field.join("")), ...body];
  const longest = Math.max(...shown.map(({ length }) => length));
  const wide = Math.ceil(longest * size.letter) + 2 * size.margin;
  const row = (number: number): number => size.margin + number * size.line;
  const rule = row(fields.length + 1) + size.line / 2;
  return picture(wide, row(fields.length + 2 + body.length) + size.margin, [
    textAt([[header("Subject"), { bold: true }]], size.margin, row(0)),
    ...fields.map(([name, value], index) =>
      textAt([[name, { colour: "quiet" }], [value]], size.margin, row(index + 1)),
    ),
    `<rect x="0.5" y="${rule}" width="${wide - 1}" height="0.5"/>`,
    ...body.map((line, index) =>
      textAt([[line, { bold: /^[A-Z][A-Z ]+$/.test(line) }]], size.margin, row(fields.length + 2 + index)),
    ),
  ]);
}
