import { testAlerts } from "../support/alerts-core";

// Debian 13 has a newer systemd, and its timers, times and results are what alerts are made of.
testAlerts({ release: "trixie", hurried: false });
