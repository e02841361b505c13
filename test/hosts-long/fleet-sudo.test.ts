import { testSudo } from "../support/sudo-core";

testSudo({
  release: "bookworm",
  // sudo's default, and its opposite.
  sudoers: "Defaults timestamp_timeout=0\\nDefaults lecture=always\\nDefaults !use_pty\\n",
  arrange: () => Promise.resolve(),
});
