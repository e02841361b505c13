import * as pulumi from "@pulumi/pulumi";

/** A resource as the program registered it. Secret inputs are plain here, and named in `secrets`. */
export interface Registered {
  type: string;
  name: string;
  inputs: Record<string, unknown>;
  /** Inputs that were marked as secret. */
  secrets: string[];
}

/** Everything that a fake engine saw, in order. */
export interface Seen {
  resources: Registered[];
  /** `begin NAME` and `end NAME`: a resource begins when all its dependencies have ended. */
  order: string[];
}

// The wire format of a secret input.
const signature = "4dabf18193072939515e22adb298388d";

const isSecret = (value: unknown): value is { value: unknown } =>
  typeof value === "object" && value !== null && signature in value;

/**
 * Puts an engine in place that deploys nothing and answers each remote command with `stdout`. It throws on everything
 * that this program has no business with.
 */
export async function fakeEngine(stdout: (name: string) => string): Promise<Seen> {
  const seen: Seen = { resources: [], order: [] };
  const mocks: pulumi.runtime.Mocks = {
    call: ({ token }) => {
      throw new Error(`unexpected call of ${token}`);
    },
    newResource: async ({ type, name, inputs }) => {
      if (!["command:remote:Command", "lsyncd:index:Mirror"].includes(type)) {
        throw new Error(`unexpected resource ${type} ${name}`);
      }
      const entries = Object.entries(inputs as Record<string, unknown>);
      seen.resources.push({
        type,
        name,
        inputs: Object.fromEntries(entries.map(([key, value]) => [key, isSecret(value) ? value.value : value])),
        secrets: entries.filter(([, value]) => isSecret(value)).map(([key]) => key),
      });
      seen.order.push(`begin ${name}`);
      // Long enough to let a step that does not wait overtake.
      await new Promise((resolve) => setTimeout(resolve, 10));
      seen.order.push(`end ${name}`);
      return { id: name, state: { stdout: stdout(name), stderr: "" } };
    },
  };
  await pulumi.runtime.setMocks(mocks, "lsyncd", "test", false, "organization");
  return seen;
}

/** The value of an output. */
export function valueOf<T>(output: pulumi.Output<T>): Promise<T> {
  return new Promise((resolve) => {
    output.apply(resolve);
  });
}
