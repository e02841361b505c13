import { testSudo } from "../support/sudo-core";

testSudo({
  release: "bookworm",
  // What sudo does by default, and the other way round.
  sudoers: "Defaults timestamp_timeout=0\\nDefaults lecture=always\\nDefaults !use_pty\\n",
  arrange: () => Promise.resolve(),
});
