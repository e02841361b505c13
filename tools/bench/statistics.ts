/** The value below which the given share (0 to 1) of the values lies, between the two nearest ones. NaN of none. */
export function quantile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? NaN;
  const high = sorted[Math.ceil(at)] ?? NaN;
  return low + (high - low) * (at - Math.floor(at));
}

/** The middle value. */
export const median = (values: number[]): number => quantile(values, 0.5);

/** The middle value, with the smallest and the largest around it. */
export interface Spread {
  median: number;
  least: number;
  most: number;
}

/** The middle and the ends of some values. */
export function spread(values: number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** The slope of the line through points with the least sum of squares: what one more of x costs in y. */
export function slope(points: { x: number; y: number }[]): number {
  const mean = (pick: (point: { x: number; y: number }) => number): number =>
    points.reduce((sum, point) => sum + pick(point), 0) / points.length;
  const [x, y] = [mean((point) => point.x), mean((point) => point.y)];
  const across = points.reduce((sum, point) => sum + (point.x - x) * (point.y - y), 0);
  return across / points.reduce((sum, point) => sum + (point.x - x) ** 2, 0);
}

/** A number with three significant digits at most, as 0.034, 3.4, 34 or 3400. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  const magnitude = Math.abs(value);
  if (magnitude >= 100 || value === 0) return value.toFixed(0);
  return value.toFixed(magnitude >= 10 ? 1 : magnitude >= 0.1 ? 2 : 3);
}

/** The middle value with the ends behind it, as `3.4 (3.1–4.0)`; the value alone when there is one. */
export function spreadText(values: number[]): string {
  const { median: middle, least, most } = spread(values);
  return values.length < 2 ? figure(middle) : `${figure(middle)} (${figure(least)}–${figure(most)})`;
}

/** A number of hosts, as `1 host` or `8 hosts`. */
export const hostsText = (count: number): string => `${count} host${count === 1 ? "" : "s"}`;
