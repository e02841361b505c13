import { perlTests } from "../support/tap";

describe("the gate's decisions", () => {
  perlTests("gate.t");
});
