import { picture, size, textAt, type Style } from "./svg";

type Piece = [text: string, style?: Partial<Style>];

const unescaped = (html: string): string =>
  html.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** The pieces of a line of Markdown or of a summary: bold text, code, and the rest. */
function piecesOf(line: string): Piece[] {
  return line
    .replaceAll(/<\/?code>/g, "`")
    .split(/(\*\*[^*]+\*\*|`[^`]+`)/)
    .filter((part) => part !== "")
    .map((part): Piece => {
      const inside = unescaped(part.replaceAll(/^(\*\*|`)|(\*\*|`)$/g, ""));
      return part.startsWith("**")
        ? [inside, { bold: true }]
        : part.startsWith("`")
          ? [inside, { colour: "blue" }]
          : [inside];
    });
}

const lengthOf = (pieces: Piece[]): number => pieces.reduce((sum, [{ length }]) => sum + length, 0);

/** A line of a diff, in the colour of its sign. */
const diffLine = (line: string): Piece =>
  line.startsWith("+")
    ? [line, { colour: "green" }]
    : line.startsWith("-")
      ? [line, { colour: "red" }]
      : [line, { colour: line.startsWith("@@") ? "quiet" : "text" }];

/** Rows of a Markdown table, as pieces of each cell. */
const cellsOf = (line: string): Piece[][] =>
  line
    .replaceAll(/^\| | \|$/g, "")
    .split(" | ")
    .map((cell) => piecesOf(cell.replaceAll("\\|", "|")));

/** A line of the picture: its pieces and their columns (letters from the margin); a table's row has a rule below it. */
interface Line {
  parts: { column: number; pieces: Piece[] }[];
  rule?: boolean;
}

/** The lines that a reader sees of a comment that cli/preview/markdown.ts wrote: closed parts show their summary only. */
function linesOf(markdown: string): Line[] {
  const lines: Line[] = [];
  const add = (pieces: Piece[], column = 0): void => void lines.push({ parts: [{ column, pieces }] });
  const source = markdown.trimEnd().split("\n");
  const table = source.filter((line) => line.startsWith("| ") && !line.startsWith("| ---")).map(cellsOf);
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((cells) => lengthOf(cells[column] ?? []))));
  const start = (column: number): number => widths.slice(0, column).reduce((sum, width) => sum + width + 3, 0);
  let fence = "";
  let closed = false;
  for (const line of source) {
    const [, open, summary] = /^<details( open)?><summary>(.*)<\/summary>$/.exec(line) ?? [];
    if (line.startsWith("<!--") || line.startsWith("| ---")) continue;
    if (fence !== "") {
      if (line === fence) fence = "";
      else if (!closed) add([diffLine(line)], 2);
    } else if (line.startsWith("```")) fence = /^`+/.exec(line)?.[0] ?? "";
    else if (summary !== undefined) {
      closed = open === undefined;
      add([[closed ? "▸ " : "▾ "], ...piecesOf(summary)]);
    } else if (line === "</details>") closed = false;
    else if (line.startsWith("## ")) add(piecesOf(line.slice(3)).map(([text]): Piece => [text, { bold: true }]));
    else if (line.startsWith("| ")) {
      const bold = lines.at(-1)?.rule !== true;
      const parts = cellsOf(line).map((pieces, column) => ({
        column: start(column),
        pieces: bold ? pieces.map(([text]): Piece => [text, { bold }]) : pieces,
      }));
      lines.push({ parts, rule: true });
    } else if (line === "" && (closed || lines.at(-1)?.parts.length === 0)) continue;
    else if (line === "") lines.push({ parts: [] });
    else add(piecesOf(line));
  }
  return lines;
}

/** Draws the comment of a pull request, which is this program's Markdown, much as GitHub shows it. */
export function commentSvg(markdown: string): string {
  const lines = linesOf(markdown);
  const ends = lines.flatMap(({ parts }) => parts.map(({ column, pieces }) => column + lengthOf(pieces)));
  const wide = Math.ceil(Math.max(...ends) * size.letter) + 2 * size.margin;
  // A table's rows stand further apart, with their rule in between.
  let y = size.margin;
  const elements = lines.flatMap(({ parts, rule = false }) => {
    const top = y + (rule ? 3 : 0);
    y += rule ? size.line + 8 : size.line;
    return [
      ...parts.map(({ column, pieces }) => textAt(pieces, size.margin + column * size.letter, top)),
      ...(rule ? [`<rect x="${size.margin}" y="${y - 2}" width="${wide - 2 * size.margin}" height="0.5"/>`] : []),
    ];
  });
  return picture(wide, y + size.margin, elements);
}
