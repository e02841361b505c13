const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * Runs a clean-up when a signal ends the process, for programs and mounts that would otherwise remain. Returns a function that
 * cancels it, for an orderly end.
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
