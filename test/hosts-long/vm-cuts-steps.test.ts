import { testCutSteps } from "../support/vm-steps";

testCutSteps({ fileSystem: "ext4" });
