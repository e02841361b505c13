import { testAlerts } from "../support/alerts-core";

testAlerts({ release: "bookworm", hurried: true });
