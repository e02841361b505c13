/**
 * For stacks of an earlier version, which kept each host's state in a resource: the engine loads this once, to remove them.
 * It does nothing.
 */
export const provider = {};
