import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { programs } from "../../tools/torture/settings";

/**
 * Runs a file of Perl tests (Test::More) with the host's own modules, and reports each of its tests to jest. The file is
 * named without its folder, test/programs/perl.
 */
export function perlTests(file: string): void {
  const { stdout, stderr, status } = spawnSync("perl", ["-I", programs, join(__dirname, "../programs/perl", file)], {
    encoding: "utf8",
    maxBuffer: 1 << 26,
  });
  const results = [...stdout.matchAll(/^(not )?ok (\d+)(?: - (.*))?$/gm)];
  it.each(results.map(([, not, number, name]) => [name ?? `test ${String(number)}`, not === undefined]))(
    "%s",
    (_, ok) => {
      expect(ok ? "" : stderr).toBe("");
    },
  );
  it("runs all planned tests", () => {
    expect([status, status === 0 ? "" : stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^1\.\.\d+$/m);
  });
}
