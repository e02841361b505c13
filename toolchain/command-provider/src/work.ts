/** The operations under way, so that they can be ended. */
export class Work {
  private readonly controllers = new Set<AbortController>();
  private ended: Error | undefined;
  private idle: (() => void)[] = [];

  /** Runs one operation; its signal aborts when `end` is called or after the given seconds (0: no limit). */
  async run<T>(seconds: number, operation: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const controller = new AbortController();
    if (this.ended) controller.abort(this.ended);
    const limit =
      seconds > 0
        ? setTimeout(() => {
            controller.abort(new Error(`timed out after ${seconds} s`));
          }, seconds * 1000)
        : undefined;
    this.controllers.add(controller);
    try {
      return await operation(controller.signal);
    } finally {
      clearTimeout(limit);
      this.controllers.delete(controller);
      if (this.controllers.size === 0)
        this.idle.splice(0).forEach((resolve) => {
          resolve();
        });
    }
  }

  /** Ends all operations, those still to come as well. */
  end(reason: Error): void {
    this.ended ??= reason;
    for (const controller of this.controllers) controller.abort(this.ended);
  }

  /** Resolves when nothing is under way. */
  async whenIdle(): Promise<void> {
    if (this.controllers.size === 0) return;
    await new Promise<void>((resolve) => this.idle.push(resolve));
  }
}
