/**
 * Of stacks that were deployed when a resource of each host kept its state: the engine loads this once, to remove them.
 * There is nothing to do for it.
 */
export const provider = {};
