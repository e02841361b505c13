/** A table in Markdown; columns after the first are numbers, set to the right, unless `left` says so. */
export function markdownTable(head: string[], rows: string[][], left = 1): string {
  const line = (cells: string[]): string => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const rule = head.map((_, column) => (column < left ? "---" : "--:"));
  return [line(head), line(rule), ...rows.map(line)].join("\n");
}
