import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { renderFiles } from "../../infra/files";
import { paths } from "../../infra/paths";
import { run } from "../../toolchain/run";
import { hostOf } from "../../tools/lint/samples";
import { OPTIONS } from "../support/copier";
import { readRecording, recording } from "../support/lsyncd-calls";
import { installTime, needPrograms } from "../support/programs";

// A real lsyncd with the configuration of a host still passes what was recorded. When it does not, the copier meets calls that no test
// knows: record them anew (record-lsyncd.sh), and let the copier's tests use them.

beforeAll(() => needPrograms("lsyncd", "perl", "python3"), installTime);

test("the options with which tests call the copier are those of the recording", () => {
  const sorted = OPTIONS.map((option) =>
    /^-\w/.test(option) ? `-${Array.from(option.slice(1)).sort().join("")}` : option,
  );
  for (const { step, options } of readRecording(recording))
    expect([step, sorted.filter((option) => !options.includes(option))]).toEqual([step, []]);
});

test("lsyncd calls rsync as it was recorded", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-calls-"));
  try {
    const [source, target] = [path.join(folder, "source"), path.join(folder, "target")];
    const config = renderFiles(hostOf({ source: `${source}/`, target: `${target}/` })).find(
      ({ path: at }) => at === paths.configFile,
    );
    const text = (config?.content ?? "")
      .replaceAll(paths.mirrorProgram, path.join(folder, "recorder"))
      .replaceAll(paths.guard, "/bin/true")
      .replaceAll(path.dirname(paths.logFile), folder);
    expect(text).toContain(`${folder}/recorder`);
    writeFileSync(path.join(folder, "lsyncd.conf.lua"), text);
    const script = path.join(__dirname, "../support/record-lsyncd.sh");
    const command = ["lsyncd", "-nodaemon", path.join(folder, "lsyncd.conf.lua")];
    const { stdout } = await run("bash", [script, folder, source, target, ...command]);
    expect(stdout).toBe(recording);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
