const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Does this when a signal ends the process, for what would go on without it: programs and mounts. Returns what takes that
 * back, for when it is done in order.
 */
export function whenInterrupted(cleanUp: () => Promise<void>): () => void {
  const end = (): void => {
    void cleanUp().finally(() => process.exit(1));
  };
  for (const signal of SIGNALS) process.once(signal, end);
  return () => {
    for (const signal of SIGNALS) process.off(signal, end);
  };
}
