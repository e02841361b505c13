import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../toolchain/run";
import { programs } from "../../tools/torture/settings";
import { needPrograms } from "../support/programs";

// lsyncd-log.lua in the real lsyncd of this machine.

beforeAll(() => needPrograms("lsyncd"));

it("a newline in a file name begins no line of the log; the lines of lsyncd's lists of paths stay", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lsyncd-log-"));
  try {
    const config = join(folder, "lsyncd.conf.lua");
    writeFileSync(
      config,
      `dofile("${join(programs, "lsyncd-log.lua")}")
log("Normal", "a list:\\n/first\\n/second\\nError: forged\\n/third", nil, 7, " end")
log("Normal", "alone")
log("Normal")
log("Function", "not printed")
os.exit(0)\n`,
    );
    const { stderr } = await run("lsyncd", ["-nodaemon", config]);
    expect(stderr).toBe(
      "Normal: a list:\n/first\n/second\\nError: forged\n/third(nil)7 end\nNormal: alone\nNormal: \n",
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
