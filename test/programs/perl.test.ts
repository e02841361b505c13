import { readdirSync } from "node:fs";
import path from "node:path";
import { run } from "../../toolchain/run";
import { copierModules } from "../support/copier";
import { installTime, needPrograms } from "../support/programs";

// Tests of the Perl modules, written in Perl: test/programs/perl. `prove -I LIBRARY -I test/support FILE` runs one.

beforeAll(() => needPrograms("perl", "python3"), installTime);

const folder = path.join(__dirname, "perl");
for (const name of readdirSync(folder).filter((file) => file.endsWith(".t"))) {
  test(
    name,
    async () => {
      const include = copierModules.filter((argument) => argument !== "-MCopier");
      const { code, stdout, stderr } = await run("perl", [...include, path.join(folder, name)], { allowFailure: true });
      expect(stdout.split("\n").filter((line) => /^not ok(?!.*# TODO)/.test(line))).toEqual([]);
      // A missing plan at the end means that the file stopped early.
      expect([code, code === 0 ? "" : stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(/^1\.\.\d+$/m);
    },
    600_000,
  );
}
