/**
 * The engine writes the state once, at the end of an update, in place of all of it after each step: with many hosts that is most
 * of what it does. Whatever an engine that was killed has deployed, the next update deploys again, which changes nothing there:
 * each host knows which stack it belongs to.
 */
export const stateOnce = { PULUMI_SKIP_CHECKPOINTS: "true" };
