import { renderedChecks, sourceChecks, type Check } from "./lint/checks";
import { ensurePrograms } from "../toolchain/programs";
import { samples } from "./lint/samples";

const indented = (text: string): string => text.replaceAll(/^(?=.)/gm, "    ");

/** Runs a check; returns the line to print for it with its findings below, and whether all is well. */
async function report({ name, find }: Check): Promise<{ ok: boolean; text: string }> {
  const began = Date.now();
  const findings = await find().catch((error: unknown) => (error as Error).message);
  const line = `${findings === "" ? "ok    " : "failed"}  ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`;
  return findings === "" ? { ok: true, text: line } : { ok: false, text: `${line}\n${indented(findings)}` };
}

async function main(): Promise<void> {
  await ensurePrograms(["shellcheck", "perl", "luac5.3", "systemd-analyze"], (line) => {
    console.error(`lint: ${line}`);
  });
  const running = [...sourceChecks, ...renderedChecks(samples())].map(report);
  const results = [];
  for (const one of running) {
    const result = await one;
    console.log(result.text);
    results.push(result);
  }
  const failed = results.filter(({ ok }) => !ok).length;
  console.log(failed === 0 ? `${results.length} checks passed` : `${failed} of ${results.length} checks failed`);
  if (failed > 0) process.exitCode = 1;
}

main().catch((error: unknown) => {
  console.error(`lint: ${(error as Error).message}`);
  process.exitCode = 1;
});
