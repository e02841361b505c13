/**
 * The engine writes the state once, at the end of an update. By default it writes all of it after each step, which takes most of
 * its time with many hosts. If the engine is killed, the next update repeats what it deployed, which changes nothing on the hosts:
 * each host records which stack it belongs to.
 */
export const stateOnce = { PULUMI_SKIP_CHECKPOINTS: "true" };
