import { testOnVm } from "../support/vm-core";

// Debian 13: kernel 6.12, systemd 257, rsync 3.5.
testOnVm({ release: "trixie" });
