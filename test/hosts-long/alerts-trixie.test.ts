import { testAlerts } from "../support/alerts-core";

// Debian 13 has a newer systemd, whose timers, times and results the alerts depend on.
testAlerts({ release: "trixie", hurried: false });
