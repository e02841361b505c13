import { setTimeout as sleep } from "node:timers/promises";

/**
 * Checks `condition` every 50 ms until it is true. Throws after `timeoutMs`, naming the condition, with `detail` (a log's tail) below.
 */
export async function until(
  what: string,
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
  detail: () => string | Promise<string> = () => "",
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) {
      const more = await detail();
      throw new Error(`Waited ${timeoutMs / 1000} s in vain until ${what}.${more === "" ? "" : `\n${more}`}`);
    }
    await sleep(50);
  }
}
