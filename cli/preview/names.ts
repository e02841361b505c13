/** A short list of host names: `sqlite-1 … sqlite-9` for consecutive numbers, commas between the rest. */
export function shortList(names: string[]): string {
  const numbered = names.map((name) => {
    const [, stem = name, digits = ""] = /^(.*?)(\d*)$/.exec(name) ?? [];
    return { name, stem, digits, number: digits === "" ? undefined : Number(digits) };
  });
  numbered.sort((a, b) => a.stem.localeCompare(b.stem) || (a.number ?? -1) - (b.number ?? -1));
  const runs: (typeof numbered)[] = [];
  for (const item of numbered) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    const follows =
      last?.number !== undefined &&
      last.stem === item.stem &&
      item.number === last.number + 1 &&
      // web-9 and web-10 are a row, web-09 and web-10 too, web-9 and web-010 are not.
      (item.digits.length === last.digits.length || !(item.digits.startsWith("0") || last.digits.startsWith("0")));
    if (run && follows) run.push(item);
    else runs.push([item]);
  }
  return runs
    .flatMap((run) =>
      run.length > 2 ? [`${run[0]?.name ?? ""} … ${run.at(-1)?.name ?? ""}`] : run.map(({ name }) => name),
    )
    .join(", ");
}

/** The same, with the number of hosts if a range hides it: `sqlite-1 … sqlite-9 (9 hosts)`. */
export function countedList(names: string[]): string {
  const list = shortList(names);
  return list.includes("…") ? `${list} (${names.length} hosts)` : list;
}
