/** Where the lines for the user go. */
export type Say = (line: string) => void;

/** How often a long step shows that it goes on, in milliseconds. */
const HEARTBEAT = 15_000;

/** Runs a long step; says what it is, that it goes on, and how it ended: "done" unless `ending` says otherwise. */
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
