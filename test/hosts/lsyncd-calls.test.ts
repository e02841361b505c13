import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { run } from "../../toolchain/run";
import { OPTIONS } from "../support/copier";
import { prepareRecording, readRecording, recording } from "../support/lsyncd-calls";
import { installTime, needPrograms } from "../support/programs";

// A real lsyncd with the configuration of a host still passes what was recorded. When it does not, the copier meets calls that no test
// knows: record them anew (record-lsyncd.sh), and let the copier's tests use them.

beforeAll(() => needPrograms("lsyncd", "perl", "python3"), installTime);

test("the copier's tests use the recorded options", () => {
  const sorted = OPTIONS.map((option) =>
    /^-\w/.test(option) ? `-${Array.from(option.slice(1)).sort().join("")}` : option,
  );
  for (const { step, options } of readRecording(recording))
    expect([step, sorted.filter((option) => !options.includes(option))]).toEqual([step, []]);
});

test("lsyncd calls rsync exactly as recorded", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-calls-"));
  try {
    const script = path.join(__dirname, "../support/record-lsyncd.sh");
    const { stdout } = await run("bash", [script, ...prepareRecording(folder)]);
    expect(stdout).toBe(recording);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);

test("a burst of changes is one call, however many they are", async () => {
  const folder = mkdtempSync(path.join(tmpdir(), "lsyncd-calls-"));
  const at = (name: string): string => path.join(folder, name);
  // Longer than the burst takes on a slow machine.
  const [, source = "", target = "", program = "", ...args] = prepareRecording(folder, folder, { delay: 10 });
  for (const directory of [source, target]) mkdirSync(directory);
  // Counts the files in each list; the first call has none.
  const count = `tr '\\0' '\\n' | grep -c /file-`;
  const recorder = `case " $* " in *' --include-from=- '*) ${count} >>'${at("lists")}' ;; *) : >'${at("first")}' ;; esac`;
  writeFileSync(at("recorder"), `#!/bin/sh\n${recorder}\n`, { mode: 0o755 });
  const until = async (name: string): Promise<void> => {
    for (let i = 0; i < 600 && !existsSync(at(name)); i++) await sleep(100);
  };
  const lsyncd = spawn(program, args, { stdio: "ignore" });
  const ended = once(lsyncd, "exit");
  try {
    await until("first");
    for (let i = 0; i < 3000; i++) writeFileSync(path.join(source, `file-${i}`), "x");
    await until("lists");
    await sleep(3000);
    expect(readFileSync(at("lists"), "utf8")).toBe("3000\n");
  } finally {
    lsyncd.kill();
    await ended;
    rmSync(folder, { recursive: true, force: true });
  }
}, 300_000);
