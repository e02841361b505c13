import { escapeXml } from "../../cli/xml";

/** Bars in groups: for each group one of each series. */
export interface BarChart {
  title: string;
  /** The quantity of the bars, with its unit. */
  axis: string;
  groups: string[];
  /** A value for each group; undefined leaves its place empty. */
  series: { name: string; values: (number | undefined)[] }[];
}

// Okabe and Ito's colours, which people with colour blindness can distinguish.
const colours = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];
const size = { width: 760, height: 360, left: 56, right: 12, top: 64, bottom: 36 };

/** The distance between the lines of a scale that ends at or above `most`, in steps of 1, 2 or 5. */
export function step(most: number, lines = 5): number {
  const rough = most / lines;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10);
}

/** The chart as SVG, on white so that it can be read on any page. */
export function barChart({ title, axis, groups, series }: BarChart): string {
  const values = series.flatMap((one) => one.values.filter((value) => value !== undefined));
  const distance = step(Math.max(...values));
  const top = Math.ceil(Math.max(...values) / distance) * distance;
  const plot = { width: size.width - size.left - size.right, height: size.height - size.top - size.bottom };
  const y = (value: number): number => size.top + plot.height * (1 - value / top);
  const number = (value: number): string => String(Math.round(value * 100) / 100);
  const text = (x: number, at: number, content: string, more = ""): string =>
    `<text x="${number(x)}" y="${number(at)}" ${more}>${escapeXml(content)}</text>`;

  const scale = Array.from({ length: Math.round(top / distance) + 1 }, (_, index) => index * distance).flatMap(
    (value) => [
      `<line x1="${size.left}" x2="${size.width - size.right}" y1="${number(y(value))}" y2="${number(y(value))}" stroke="#ddd"/>`,
      text(size.left - 6, y(value) + 4, number(value), 'text-anchor="end"'),
    ],
  );
  const group = plot.width / groups.length;
  const bar = (group * 0.8) / series.length;
  const bars = groups.flatMap((name, at) => [
    ...series.flatMap(({ name: tool, values: own }, index) => {
      const value = own[at];
      if (value === undefined) return [];
      const x = size.left + group * at + group * 0.1 + bar * index;
      return [
        `<rect x="${number(x)}" y="${number(y(value))}" width="${number(bar - 1)}" height="${number(y(0) - y(value))}" fill="${colours[index % colours.length] ?? ""}">` +
          `<title>${escapeXml(`${tool}, ${name}: ${number(value)}`)}</title></rect>`,
        text(
          x + bar / 2,
          y(value) - 3,
          value >= 10 ? value.toFixed(0) : value.toFixed(1),
          'text-anchor="middle" font-size="9"',
        ),
      ];
    }),
    text(size.left + group * (at + 0.5), size.height - size.bottom + 18, name, 'text-anchor="middle"'),
  ]);
  const legend = series.flatMap(({ name }, index) => {
    const x = size.left + (plot.width / series.length) * index;
    return [
      `<rect x="${number(x)}" y="38" width="10" height="10" fill="${colours[index % colours.length] ?? ""}"/>`,
      text(x + 14, 47, name),
    ];
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" font-family="sans-serif" font-size="11" fill="#222" role="img" aria-label="${escapeXml(title)}">`,
    `<rect width="${size.width}" height="${size.height}" fill="#fff"/>`,
    text(size.left, 20, title, 'font-size="14" font-weight="bold"'),
    text(size.width - size.right, 20, axis, 'text-anchor="end"'),
    ...legend,
    ...scale,
    ...bars,
    "</svg>",
    "",
  ].join("\n");
}
