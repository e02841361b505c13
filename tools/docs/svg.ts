import { escapeXml } from "../../cli/xml";

/** Pictures that a README can show, as SVG, readable on light and on dark pages: a terminal, and the parts of other pictures. */

/** The colours by name: on a light page, and on a dark one. GitHub's own, so that they have enough contrast on its pages. */
const colours = {
  page: ["#f6f8fa", "#151b23"],
  edge: ["#d1d9e0", "#3d444d"],
  text: ["#1f2328", "#f0f6fc"],
  quiet: ["#59636e", "#9198a1"],
  red: ["#d1242f", "#ff7b72"],
  green: ["#116329", "#7ee787"],
  yellow: ["#7d4e00", "#e3b341"],
  blue: ["#0969da", "#79c0ff"],
  magenta: ["#8250df", "#d2a8ff"],
  cyan: ["#1b7c83", "#76e3ea"],
} as const;
/** A colour by name. */
export type Colour = keyof typeof colours;

// The eight colours of a terminal (ECMA-48, SGR 30 to 37), in their order.
const ansi: Colour[] = ["text", "red", "green", "yellow", "blue", "magenta", "cyan", "text"];

/** Sizes in pixels. The letters of usual monospaced fonts are 0.6 em wide. */
export const size = { font: 13, letter: 7.8, line: 18, margin: 16 };

/** How a piece of text looks. */
export interface Style {
  colour: Colour;
  bold: boolean;
}
const plain: Style = { colour: "text", bold: false };

/** The style after the parameters of one escape sequence that selects it; what has no meaning here changes nothing. */
function restyled(style: Style, parameters: string): Style {
  const codes = parameters.split(";").map(Number);
  const [code = 0, kind, number = 0] = codes;
  if (code === 0) return plain;
  if (code === 1) return { ...style, bold: true };
  if (code === 2) return { ...style, colour: "quiet" };
  if (code === 39) return { ...style, colour: "text" };
  if (code === 38 && kind === 5) return { ...style, colour: number === 8 ? "quiet" : (ansi[number % 8] ?? "text") };
  if (code === 90) return { ...style, colour: "quiet" };
  const basic = code >= 90 ? code - 90 : code - 30;
  return { ...style, colour: ansi[basic] ?? style.colour };
}

const unescaped = (text: string): string =>
  text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

/** A line of text whose pieces have a style each, at a place in pixels: `y` is the top of the line. */
export function textAt(pieces: [text: string, style?: Partial<Style>][], x: number, y: number): string {
  const spans = pieces.map(([text, { colour = "text", bold = false } = {}]) => {
    const classes = [...(colour === "text" ? [] : [colour]), ...(bold ? ["bold"] : [])];
    return classes.length === 0 ? escapeXml(text) : `<tspan class="${classes.join(" ")}">${escapeXml(text)}</tspan>`;
  });
  return `<text x="${x}" y="${y + size.font}" xml:space="preserve">${spans.join("")}</text>`;
}

/** A line with its escape sequences as one SVG text. */
function textLine(line: string, number: number): string {
  let style = plain;
  const pieces = line.split(/(\x1b\[[\d;]*m)/).flatMap((part): [string, Style][] => {
    const parameters = /^\x1b\[([\d;]*)m$/.exec(part)?.[1];
    if (parameters !== undefined) {
      style = restyled(style, parameters);
      return [];
    }
    return part === "" ? [] : [[part, style]];
  });
  return textAt(pieces, size.margin, size.margin + size.line * number);
}

const rules = (shade: 0 | 1): string =>
  Object.entries(colours)
    .map(([name, shades]) => `.${name}{fill:${shades[shade]}}`)
    .join("")
    .replace(/\.page\{fill:(#\w+)\}\.edge\{fill:(#\w+)\}\.text\{fill:(#\w+)\}/, "rect{fill:$1;stroke:$2}text{fill:$3}");

const width = (line: string): number => line.replaceAll(/\x1b\[[\d;]*m/g, "").length;

/** A picture of that size in pixels, with a frame around its elements. */
export function picture(wide: number, high: number, elements: string[]): string {
  const fonts = "ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace";
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${wide} ${high}" width="${wide}" height="${high}" role="img">`,
    `<style>text{font:${size.font}px ${fonts}}.bold{font-weight:600}${rules(0)}`,
    `@media (prefers-color-scheme:dark){${rules(1)}}</style>`,
    `<rect x="0.5" y="0.5" width="${wide - 1}" height="${high - 1}" rx="6"/>`,
    ...elements,
    `</svg>`,
    "",
  ].join("\n");
}

/** Draws what a terminal shows, with the colours that its escape sequences ask for. */
export function terminalSvg(screen: string): string {
  const lines = screen.trimEnd().split("\n");
  const wide = Math.ceil(Math.max(...lines.map(width)) * size.letter) + 2 * size.margin;
  return picture(wide, lines.length * size.line + 2 * size.margin, lines.map(textLine));
}

/** The lines of text in a picture. */
export function linesOfSvg(svg: string): string[] {
  return [...svg.matchAll(/<text [^>]*>(.*)<\/text>/g)].map(([, inside = ""]) =>
    unescaped(inside.replaceAll(/<\/?tspan[^>]*>/g, "")),
  );
}
