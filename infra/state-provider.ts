import type { dynamic } from "@pulumi/pulumi";
import { differs, look, repaired, type HostState, type LookInputs } from "./drift";

/** The operations on a host's state; only `read`, which a refresh calls, goes to the host. */
export const provider: dynamic.ResourceProvider = {
  create: (inputs: LookInputs) => Promise.resolve({ id: "state", outs: { ...inputs, drift: [], revision: 0 } }),
  read: async (id, state?: HostState) => {
    if (state === undefined) throw new Error("the state of a host cannot be imported");
    const { state: props, note } = await look(state);
    if (note !== undefined) console.error(`${state.connection.host} was not looked at: ${note}`);
    return { id, props };
  },
  diff: (_id, old: HostState, next: LookInputs) => Promise.resolve({ changes: differs(old, next) }),
  update: (_id, old: HostState, next: LookInputs) => Promise.resolve({ outs: repaired(old, next) }),
};
