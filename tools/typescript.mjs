// `node --import` this one, and Node reads TypeScript.
import { prepare } from "../infra/typescript.cjs";

const putBack = prepare();
await import("tsx");
putBack();
