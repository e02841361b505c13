/** Prints a line for the user. */
export type Say = (line: string) => void;

/** How often a long step prints progress, in milliseconds. */
const HEARTBEAT = 15_000;

/** Runs a long step; prints its name, its progress and its result, which is "done" unless `ending` returns another. */
export async function step<T>(
  say: Say,
  what: string,
  work: () => Promise<T>,
  ending: (result: T) => string = () => "done",
): Promise<T> {
  const start = Date.now();
  const seconds = (): string => `${Math.round((Date.now() - start) / 1000)} s`;
  say(`${what} …`);
  const pulse = setInterval(() => {
    say(`${what}: ${seconds()} …`);
  }, HEARTBEAT);
  try {
    const result = await work();
    say(`${what}: ${ending(result)} (${seconds()})`);
    return result;
  } finally {
    clearInterval(pulse);
  }
}
