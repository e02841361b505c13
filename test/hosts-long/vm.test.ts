import { testOnVm } from "../support/vm-core";

testOnVm({ release: "bookworm" });
