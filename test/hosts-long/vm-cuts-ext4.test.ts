import { testCuts } from "../support/vm-cuts";

testCuts({ fileSystem: "ext4" });
